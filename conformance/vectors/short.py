"""Vectors of standards that no package has, a few of each, typed in."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from conformance.vectors.asymmetric import derive
from conformance.vectors.case import Attrs, Calls, Case, Group, same
from conformance.vectors.symmetric import Cases, both_ways, mac
from optemu.abi import cryp

_h = bytes.fromhex
_ALL_BYTES = bytes(range(256))

# --- ciphers and MACs ---------------------------------------------------------------------------------------------

_CHICKEN, _SOUP = (
    _h("636869636b656e207465726979616b69"),
    b"I would like the General Gau's Chicken, please, and wonton soup.",
)
_CTS = (
    (17, "c6353568f2bf8cb4d8a580362da7ff7f97"),
    (31, "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
    (32, "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
    (47, "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5"),
    (48, "97687268d6ecccc0c07b25e25ecfe5849dad8bbb96c4cdc03bc103e1a194bbd839312523a78662d5be7fcbcc98ebf5a8"),
)
"""RFC 3962, appendix B: octets of the soup, and what becomes of them."""


def _cts(_: Path) -> Iterator[Case]:
    for size, sealed in _CTS:
        algo, key_type = cryp.TEE_ALG_AES_CTS, cryp.TEE_TYPE_AES
        run = partial(both_ways, algo, key_type, _CHICKEN, b"", bytes(16), _SOUP[:size], _h(sealed))
        yield Case(f"{size} octets", run)


_DES_KEY, _DES_TEXT = _h("0123456789abcdef"), b"Now is the time for all "
_FIPS_81 = (
    (cryp.TEE_ALG_DES_ECB_NOPAD, b"", "3fa40e8a984d48156a271787ab8883f9893d51ec4b563b53"),
    (cryp.TEE_ALG_DES_CBC_NOPAD, _h("1234567890abcdef"), "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6"),
)


def _fips81(_: Path) -> Iterator[Case]:
    for algo, iv, sealed in _FIPS_81:
        run = partial(both_ways, algo, cryp.TEE_TYPE_DES, _DES_KEY, b"", iv, _DES_TEXT, _h(sealed))
        yield Case(f"0x{algo:x}", run)


_DAC = (cryp.TEE_ALG_DES_CBC_MAC_NOPAD, cryp.TEE_TYPE_DES, _DES_KEY)
_SAMPLE = b"Sample message for keylen<blocklen"
_AS_BLOCK = b"Sample message for keylen=blocklen"
_SM3_TEXT = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
_MACS = {
    "FIPS 113": (
        (*_DAC, b"7654321 Now is the time for ".ljust(32, b"\0"), "f1d30f6849312ca4"),
    ),
    "NIST's examples": (
        (cryp.TEE_ALG_HMAC_SHA1, cryp.TEE_TYPE_HMAC_SHA1, _ALL_BYTES[:64], _AS_BLOCK,
         "5fd596ee78d5553c8ff4e72d266dfd192366da29"),
        (cryp.TEE_ALG_HMAC_SHA224, cryp.TEE_TYPE_HMAC_SHA224, _ALL_BYTES[:64], _AS_BLOCK,
         "c7405e3ae058e8cd30b08b4140248581ed174cb34e1224bcc1efc81b"),
        (cryp.TEE_ALG_HMAC_SHA256, cryp.TEE_TYPE_HMAC_SHA256, _ALL_BYTES[:64], _AS_BLOCK,
         "8bb9a1db9806f20df7f77b82138c7914d174d59e13dc4d0169c9057b133e1d62"),
        (cryp.TEE_ALG_HMAC_SHA384, cryp.TEE_TYPE_HMAC_SHA384, _ALL_BYTES[:128], _AS_BLOCK,
         "63c5daa5e651847ca897c95814ab830bededc7d25e83eef9195cd45857a37f448947858f5af50cc2b1b730ddf29671a9"),
        (cryp.TEE_ALG_HMAC_SHA512, cryp.TEE_TYPE_HMAC_SHA512, _ALL_BYTES[:128], _AS_BLOCK,
         "fc25e240658ca785b7a811a8d3f7b4ca48cfa26a8a366bf2cd1f836b05fcb024"
         "bd36853081811d6cea4216ebad79da1cfcb95ea4586b8a0ce356596a55fb1347"),
        (cryp.TEE_ALG_HMAC_SHA3_224, cryp.TEE_TYPE_HMAC_SHA3_224, _ALL_BYTES[:28], _SAMPLE,
         "332cfd59347fdb8e576e77260be4aba2d6dc53117b3bfb52c6d18c04"),
        (cryp.TEE_ALG_HMAC_SHA3_256, cryp.TEE_TYPE_HMAC_SHA3_256, _ALL_BYTES[:32], _SAMPLE,
         "4fe8e202c4f058e8dddc23d8c34e467343e23555e24fc2f025d598f558f67205"),
        (cryp.TEE_ALG_HMAC_SHA3_384, cryp.TEE_TYPE_HMAC_SHA3_384, _ALL_BYTES[:48], _SAMPLE,
         "d588a3c51f3f2d906e8298c1199aa8ff6296218127f6b38a90b6afe2c5617725bc99987f79b22a557b6520db710b7f42"),
        (cryp.TEE_ALG_HMAC_SHA3_512, cryp.TEE_TYPE_HMAC_SHA3_512, _ALL_BYTES[:64], _SAMPLE,
         "4efd629d6c71bf86162658f29943b1c308ce27cdfa6db0d9c3ce81763f9cbce5"
         "f7ebe9868031db1a8f8eb7b6b95e5c5e3f657a8996c86a2f6527e307f0213196"),
    ),
    "GM/T 0042": (
        (cryp.TEE_ALG_HMAC_SM3, cryp.TEE_TYPE_HMAC_SM3, _ALL_BYTES[1:33], 2 * _SM3_TEXT,
         "ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a"),
        (cryp.TEE_ALG_HMAC_SM3, cryp.TEE_TYPE_HMAC_SM3, _ALL_BYTES[1:38], 50 * b"\xcd",
         "220bf579ded555393f0159f66c99877822a3ecf610d1552154b41d44b94db3ae"),
    ),
}  # fmt: skip


def _macs(source: str) -> Cases:
    def cases(_: Path) -> Iterator[Case]:
        for algo, key_type, key, data, wanted in _MACS[source]:
            yield Case(f"0x{algo:x}", partial(mac, algo, key_type, key, data, _h(wanted)))

    return cases


# --- SM2, GM/T 0003.5, appendices A to C ---------------------------------------------------------------------------

_X = _h("09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020")
_Y = _h("ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13")
_SM2_PUBLIC: Attrs = {cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: _X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: _Y}
_SM2_PAIR: Attrs = {
    **_SM2_PUBLIC,
    cryp.TEE_ATTR_ECC_PRIVATE_VALUE: _h("3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8"),
}
_DXY = (cryp.TEE_ATTR_ECC_PRIVATE_VALUE, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y)
_SM2_DIGEST = _h("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640")
_SM2_SIGNATURE = _h(
    "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
    "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
)
_SM2_SEALED = _h(
    "0404ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73"
    "e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0"
    "21886ca989ca9c7d58087307ca93092d651efa"
    "59983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766"
)


_SM2_ID = b"1234567812345678"
_SM2_SHARED = _h("6c89347354de2484c60b4ab1fde4c6e5")
_SM2_EXCHANGE = {
    "A": (
        "81eb26e941bb5af16df116495f90695272ae2cd63d6c4ae1678418be48230029",
        "160e12897df4edb61dd812feb96748fbd3ccf4ffe26aa6f6db9540af49c94232",
        "4a7dad08bb9a459531694beb20aa489d6649975e1bfcf8c4741b78b4b223007f",
    ),
    "of A, for once": (
        "d4de15474db74d06491c440d305e012400990f3e390c7e87153c12db2ea60bb3",
        "64ced1bdbc99d590049b434d0fd73428cf608a5db8fe5ce07f15026940bae40e",
        "376629c7ab21e7db260922499ddb118f07ce8eaae3e7720afef6a5cc062070c0",
    ),
    "B": (
        "785129917d45a9ea5437a59356b82338eaadda6ceb199088f14ae10defa229b5",
        "6ae848c57c53c7b1b5fa99eb2286af078ba64c64591b8b566f7357d576f16dfb",
        "ee489d771621a27b36c5c7992062e9cd09a9264386f3fbea54dff69305621c4d",
    ),
    "of B, for once": (
        "7e07124814b309489125eaed101113164ebf0f3458c5bd88335c1f9d596243d6",
        "acc27688a6f7b706098bc91ff3ad1bff7dc2802cdb14ccccdb0a90471f9bd707",
        "2fedac0494b2ffc4d6853876c79b8f301c6573ad0aa50f39fc87181e1a1b46fe",
    ),
}
"""Private value, x and y of each key."""


def _sm2(_: Path) -> Iterator[Case]:
    yield Case("signature", _sm2_signature)
    yield Case("ciphertext", _sm2_ciphertext)
    yield Case("key exchange, initiator", partial(_sm2_exchange, 0, "A", "B"))
    yield Case("key exchange, responder", partial(_sm2_exchange, 1, "B", "A"))


def _sm2_exchange(user: int, own: str, peer: str, calls: Calls) -> None:
    """The secret begins with the 16 octets: OP-TEE derives as many octets as the object may have bits."""
    pair, once = ({a: _h(v) for a, v in zip(_DXY, _SM2_EXCHANGE[k], strict=True)} for k in (own, f"of {own}, for once"))
    (_, x, y), (_, once_x, once_y) = ([_h(v) for v in _SM2_EXCHANGE[k]] for k in (peer, f"of {peer}, for once"))
    params: Attrs = {
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: x,
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: y,
        cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_X: once_x,
        cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_Y: once_y,
        cryp.TEE_ATTR_SM2_KEP_USER: user,
        cryp.TEE_ATTR_SM2_ID_INITIATOR: _SM2_ID,
        cryp.TEE_ATTR_SM2_ID_RESPONDER: _SM2_ID,
    }
    found = calls.derive(cryp.TEE_ALG_SM2_KEP, cryp.TEE_TYPE_SM2_KEP_KEYPAIR, 256, pair, params, 16, once)
    same(found[:16], _SM2_SHARED)


def _sm2_signature(calls: Calls) -> None:
    algo, pair, public = cryp.TEE_ALG_SM2_DSA_SM3, cryp.TEE_TYPE_SM2_DSA_KEYPAIR, cryp.TEE_TYPE_SM2_DSA_PUBLIC_KEY
    made = calls.operate(algo, cryp.TEE_MODE_SIGN, pair, 256, _SM2_PAIR, _SM2_DIGEST, {})
    for signature in (_SM2_SIGNATURE, made):
        calls.verify(algo, public, 256, _SM2_PUBLIC, _SM2_DIGEST, signature, {})


def _sm2_ciphertext(calls: Calls) -> None:
    algo, pair, public = cryp.TEE_ALG_SM2_PKE, cryp.TEE_TYPE_SM2_PKE_KEYPAIR, cryp.TEE_TYPE_SM2_PKE_PUBLIC_KEY
    message = b"encryption standard"
    made = calls.operate(algo, cryp.TEE_MODE_ENCRYPT, public, 256, _SM2_PUBLIC, message, {})
    for sealed in (_SM2_SEALED, made):
        same(calls.operate(algo, cryp.TEE_MODE_DECRYPT, pair, 256, _SM2_PAIR, sealed, {}), message)


# --- Ed25519 with a context and of digests, RFC 8032, 7.2 and 7.3 ----------------------------------------------------

_ED25519 = (
    (
        "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
        "dfc9425e4f968f7f0c29f0259cf5f9aed6851c2bb4ad8bfb860cfee0ab248292",
        "f726936d19c800494e3fdaff20b276a8",
        {cryp.TEE_ATTR_EDDSA_CTX: b"foo"},
        "55a4cc2f70a54e04288c5f4cd1e45a7bb520b36292911876cada7323198dd87a"
        "8b36950b95130022907a7fb7c4e9b2d5f6cca685a587b4b21f4b888e4e7edb0d",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "616263",
        {cryp.TEE_ATTR_EDDSA_PREHASH: 1},
        "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
        "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
    ),
)


def _ed25519(_: Path) -> Iterator[Case]:
    for secret, public, message, params, sig in _ED25519:
        run = partial(_ed25519_run, _h(secret), _h(public), _h(message), params, _h(sig))
        yield Case("with a context" if cryp.TEE_ATTR_EDDSA_CTX in params else "of a digest", run)


def _ed25519_run(secret: bytes, public: bytes, message: bytes, params: Attrs, sig: bytes, calls: Calls) -> None:
    algo = cryp.TEE_ALG_ED25519
    half: Attrs = {cryp.TEE_ATTR_ED25519_PUBLIC_VALUE: public}
    pair: Attrs = {**half, cryp.TEE_ATTR_ED25519_PRIVATE_VALUE: secret}
    same(calls.operate(algo, cryp.TEE_MODE_SIGN, cryp.TEE_TYPE_ED25519_KEYPAIR, 256, pair, message, params), sig)
    calls.verify(algo, cryp.TEE_TYPE_ED25519_PUBLIC_KEY, 256, half, message, sig, params)


# --- PBKDF2, RFC 7914, 11 --------------------------------------------------------------------------------------------

_PBKDF2 = (
    (b"passwd", b"salt", 1,
     "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
     "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"),
    (b"Password", b"NaCl", 80000,
     "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
     "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"),
)  # fmt: skip


def _pbkdf2(_: Path) -> Iterator[Case]:
    algo, key_type = cryp.TEE_ALG_PBKDF2_HMAC_SHA256_DERIVE_KEY, cryp.TEE_TYPE_PBKDF2_PASSWORD
    for password, salt, rounds, wanted in _PBKDF2:
        params: Attrs = {
            cryp.TEE_ATTR_PBKDF2_SALT: salt,
            cryp.TEE_ATTR_PBKDF2_ITERATION_COUNT: rounds,
            cryp.TEE_ATTR_PBKDF2_DKM_LENGTH: len(_h(wanted)),
        }
        attrs: Attrs = {cryp.TEE_ATTR_PBKDF2_PASSWORD: password}
        yield Case(
            f"{rounds} rounds", partial(derive, "valid", algo, key_type, 8 * len(password), attrs, params, _h(wanted))
        )


GROUPS = (
    Group("AES-CTS", "RFC 3962", (), _cts),
    Group("DES", "FIPS 81", (), _fips81),
    Group("DES CBC-MAC", "FIPS 113", (), _macs("FIPS 113")),
    Group("HMAC", "NIST's examples", (), _macs("NIST's examples")),
    Group("HMAC SM3", "GM/T 0042", (), _macs("GM/T 0042")),
    Group("SM2", "GM/T 0003.5", (), _sm2),
    Group("Ed25519ctx and Ed25519ph", "RFC 8032", (), _ed25519),
    Group("PBKDF2 SHA256", "RFC 7914", (), _pbkdf2),
)

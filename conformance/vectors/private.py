"""Private keys at work: they sign and open, and what is signed and sealed here is verified and opened again."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from conformance.vectors.asymmetric import big, bits_of, curve_of, digest_of, dsa_algo, number_of, rsa_public, sha_of
from conformance.vectors.case import Attrs, Calls, Case, Group, same
from conformance.vectors.readers import Record, commented, records
from conformance.vectors.symmetric import Cases, octets
from optemu.abi import cryp

_CV = "cryptography_vectors/asymmetric/"
_RSA_FIELDS = {
    cryp.TEE_ATTR_RSA_MODULUS: "MODULUS",
    cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT: "PUBLIC EXPONENT",
    cryp.TEE_ATTR_RSA_PRIVATE_EXPONENT: "EXPONENT",
    cryp.TEE_ATTR_RSA_PRIME1: "PRIME 1",
    cryp.TEE_ATTR_RSA_PRIME2: "PRIME 2",
    cryp.TEE_ATTR_RSA_EXPONENT1: "PRIME EXPONENT 1",
    cryp.TEE_ATTR_RSA_EXPONENT2: "PRIME EXPONENT 2",
    cryp.TEE_ATTR_RSA_COEFFICIENT: "COEFFICIENT",
}


def _rsa_pair(record: Record) -> tuple[int, Attrs, Attrs]:
    """Size, the pair, its public half. A modulus counts as OP-TEE counts it, by octets: 1025 bits need 1032."""
    pair = {attr: big(record[field].replace(" ", "")) for attr, field in _RSA_FIELDS.items()}
    public = rsa_public(pair[cryp.TEE_ATTR_RSA_MODULUS], pair[cryp.TEE_ATTR_RSA_PUBLIC_EXPONENT])
    return 8 * len(pair[cryp.TEE_ATTR_RSA_MODULUS]), pair, public


# --- ciphertexts --------------------------------------------------------------------------------------------------


def _ciphertexts(algo: int, params: Attrs) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for n, record in enumerate(commented(file, "ENCRYPTION")):
            run = partial(
                _opened, algo, *_rsa_pair(record), octets(record, "MESSAGE"), octets(record, "ENCRYPTION"), params
            )
            yield Case(f"{n}", run)

    return cases


def _opened(
    algo: int, bits: int, pair: Attrs, public: Attrs, message: bytes, sealed: bytes, params: Attrs, calls: Calls
) -> None:
    again = calls.operate(algo, cryp.TEE_MODE_ENCRYPT, cryp.TEE_TYPE_RSA_PUBLIC_KEY, bits, public, message, params)
    for ciphertext in (sealed, again):
        found = calls.operate(algo, cryp.TEE_MODE_DECRYPT, cryp.TEE_TYPE_RSA_KEYPAIR, bits, pair, ciphertext, params)
        same(found, message)


def _oaep(file: Path) -> Iterator[Case]:
    """oaep-MGF-DIGEST.txt."""
    mgf, digest = file.stem.upper().split("-")[1:]
    algo, mgf_algo = number_of(f"RSAES_PKCS1_OAEP_MGF1_{digest}"), number_of(mgf)
    assert algo is not None
    assert mgf_algo is not None
    params: Attrs = {} if mgf == digest else {cryp.TEE_ATTR_RSA_OAEP_MGF_HASH: mgf_algo.to_bytes(4, "little")}
    return _ciphertexts(algo, params)(file)


# --- signatures ---------------------------------------------------------------------------------------------------


def _rsa_signatures(algo: int, params: Attrs) -> Cases:
    def cases(file: Path) -> Iterator[Case]:
        for n, record in enumerate(commented(file, "SIGNATURE")):
            digest = digest_of("SHA1", octets(record, "MESSAGE TO BE SIGNED"))
            assert digest is not None
            bits, pair, public = _rsa_pair(record)
            types = cryp.TEE_TYPE_RSA_KEYPAIR, cryp.TEE_TYPE_RSA_PUBLIC_KEY
            run = partial(_signed, algo, bits, types, pair, public, digest, octets(record, "SIGNATURE"), params)
            yield Case(f"{n}", run)

    return cases


def _signed(
    algo: int,
    bits: int,
    types: tuple[int, int],
    pair: Attrs,
    public: Attrs,
    digest: bytes,
    sig: bytes,
    params: Attrs,
    calls: Calls,
) -> None:
    """The signature verifies, and so does one made here: where nothing is random about it, it is the same."""
    # DSA signs no more of a digest than is as long as q, and leaves the cutting to the caller.
    signed = digest[: len(sig) // 2] if types[0] == cryp.TEE_TYPE_DSA_KEYPAIR else digest
    made = calls.operate(algo, cryp.TEE_MODE_SIGN, types[0], bits, pair, signed, params)
    if algo == cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA1:
        same(made, sig)
    for signature in (sig, made):
        calls.verify(algo, types[1], bits, public, digest, signature, params)


def _signature(record: Record, size: int) -> bytes:
    return b"".join(big(record[field]).rjust(size, b"\0") for field in "RS")


def _dsa(file: Path) -> Iterator[Case]:
    for record in records(file, "MSG"):
        public = {
            cryp.TEE_ATTR_DSA_PRIME: big(record["P"]),
            cryp.TEE_ATTR_DSA_SUBPRIME: big(record["Q"]),
            cryp.TEE_ATTR_DSA_BASE: big(record["G"]),
            cryp.TEE_ATTR_DSA_PUBLIC_VALUE: big(record["Y"]),
        }
        pair = {**public, cryp.TEE_ATTR_DSA_PRIVATE_VALUE: big(record["X"])}
        bits, digest = bits_of(public[cryp.TEE_ATTR_DSA_PRIME]), digest_of(sha_of(record), octets(record, "MSG"))
        algo = dsa_algo(sha_of(record), bits)
        run = None
        if algo is not None and digest is not None:
            types = cryp.TEE_TYPE_DSA_KEYPAIR, cryp.TEE_TYPE_DSA_PUBLIC_KEY
            sig = _signature(record, len(public[cryp.TEE_ATTR_DSA_SUBPRIME]))
            run = partial(_signed, algo, bits, types, pair, public, digest, sig, {})
        yield Case(record["[]"], run)


def _ecdsa(file: Path) -> Iterator[Case]:
    for record in records(file, "MSG"):
        curve = curve_of(record["[]"].partition(",")[0])
        digest = digest_of(sha_of(record), octets(record, "MSG"))
        run = None
        if curve is not None and digest is not None:
            algo = number_of(f"ECDSA_{curve[2]}")
            assert algo is not None
            public: Attrs = {
                cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: big(record["QX"]),
                cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: big(record["QY"]),
                cryp.TEE_ATTR_ECC_CURVE: curve[0],
            }
            pair = {**public, cryp.TEE_ATTR_ECC_PRIVATE_VALUE: big(record["D"])}
            types = cryp.TEE_TYPE_ECDSA_KEYPAIR, cryp.TEE_TYPE_ECDSA_PUBLIC_KEY
            sig = _signature(record, (curve[1] + 7) // 8)
            run = partial(_signed, algo, curve[1], types, pair, public, digest, sig, {})
        yield Case(record["[]"], run)


_VEC, _RSA = f"{_CV}RSA/pkcs-1v2-1d2-vec/", f"{_CV}RSA/"
_PKCS1, _OAEP = _ciphertexts(cryp.TEE_ALG_RSAES_PKCS1_V1_5, {}), cryp.TEE_ALG_RSAES_PKCS1_OAEP_MGF1_SHA1
_V1_5, _PSS = cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA1, cryp.TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA1

GROUPS = (
    Group("RSA PKCS#1 v1.5, both ways", "RSA Laboratories", [f"{_RSA}pkcs1v15crypt-vectors.txt"], _PKCS1),
    Group("RSA OAEP, both ways", "RSA Laboratories", [f"{_VEC}oaep-vect.txt"], _ciphertexts(_OAEP, {})),
    Group("RSA OAEP, both ways", "pyca, each two digests", [f"{_RSA}oaep-custom/*.txt"], _oaep),
    Group("RSA PKCS#1 v1.5, sign", "RSA Laboratories", [f"{_RSA}pkcs1v15sign-vectors.txt"], _rsa_signatures(_V1_5, {})),
    Group("RSA PSS, sign", "RSA Laboratories", [f"{_VEC}pss-vect.txt"], _rsa_signatures(_PSS, {})),
    Group("DSA, sign", "NIST CAVP", [f"{_CV}DSA/FIPS_186-[23]/SigGen.txt"], _dsa),
    Group("ECDSA, sign", "NIST CAVP", [f"{_CV}ECDSA/FIPS_186-[23]/SigGen.txt"], _ecdsa),
)

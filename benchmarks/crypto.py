"""Cryptography of a TA behind the gate, one invoke for each buffer, beside the same calls of ``cryptography`` here."""

import hashlib
from collections.abc import Callable
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from benchmarks.common import Built, measure, through_the_gate
from optemu.abi import cryp

SPEED = UUID("5f1b7c3e-92d4-4e67-a80d-1c64e53b97f2")
DATA, SIGN, VERIFY, KEYGEN, CALLS = range(5)
COUNT, REPEATS = 2000, 1000
KIB: Final = 1 << 10
IV, KEY = bytes(16), hashlib.sha256(b"a key").digest()
CBC = cryp.TEE_ALG_AES_CBC_NOPAD
REFERENCE: Final = {KIB: 1.5, 16 * KIB: 10, 64 * KIB: 17}
"""MiB/s of AES-128-CBC on the real OP-TEE: ``xtest --aes-perf`` in QEMU, by size of the buffer."""
SINGLE: Final = {"bare": 0, "hash update of 0 bytes": 1, "TEE_GetObjectInfo1": 2, "TEE_ResetOperation": 3}


def _native(algorithm: int) -> Callable[[bytes], object]:
    """The library call that the TA's call comes down to."""
    aes = algorithms.AES(KEY[:16])
    if algorithm == cryp.TEE_ALG_SHA256:

        def sha256(data: bytes) -> bytes:
            ctx = hashes.Hash(hashes.SHA256())
            ctx.update(data)
            return ctx.finalize()

        return sha256
    if algorithm == cryp.TEE_ALG_AES_GCM:

        def gcm(data: bytes) -> object:
            ctx = Cipher(aes, modes.GCM(IV[:12])).encryptor()
            return ctx.update(data), ctx.finalize(), ctx.tag

        return gcm
    if algorithm == cryp.TEE_ALG_AES_XTS:
        xts = algorithms.AES(KEY)
        return lambda data: Cipher(xts, modes.XTS(IV)).encryptor().update(data)
    mode = modes.CTR(IV) if algorithm == cryp.TEE_ALG_AES_CTR else modes.CBC(IV)
    return Cipher(aes, mode).encryptor().update


def report_data(built: Built) -> None:
    invoke = through_the_gate(built, SPEED, CALLS, SINGLE["bare"], 0, 64 * KIB)
    print(
        f"\n{'one invoke per buffer; us':<30} {'TA':>10} {'library':>10} {'invoke':>10}"
        f"  {'MiB/s':>8}  library / TA  times the reference"
    )
    cases = [
        ("AES-CBC", CBC, KIB),
        ("AES-CBC", CBC, 16 * KIB),
        ("AES-CBC", CBC, 64 * KIB),
        ("AES-CTR", cryp.TEE_ALG_AES_CTR, 64 * KIB),
        ("AES-XTS", cryp.TEE_ALG_AES_XTS, 64 * KIB),
        ("AES-GCM", cryp.TEE_ALG_AES_GCM, 64 * KIB),
        ("SHA-256", cryp.TEE_ALG_SHA256, 64 * KIB),
    ]
    for name, algorithm, size in cases:
        call, data = _native(algorithm), bytes(size)
        native = measure(lambda call=call, data=data: call(data), COUNT)  # type: ignore[misc]
        ours = through_the_gate(built, SPEED, DATA, algorithm, 0, size, count=COUNT)
        mib = size / ours.p50 * 1e6 / (1 << 20)
        reference = f"{mib / REFERENCE[size]:>8.1f}" if algorithm == CBC else ""
        print(
            f"{f'{name} {size // KIB} KiB':<30} {ours.p50:>10.1f} {native.p50:>10.1f} {invoke.p50:>10.1f}"
            f"  {mib:>8.0f}  {native.p50 / ours.p50:>12.2f}  {reference}".rstrip()
        )


def report_asymmetric(built: Built) -> None:
    invoke = through_the_gate(built, SPEED, CALLS, SINGLE["bare"], 0, 0)
    digest, prehashed = hashlib.sha256(b"").digest(), utils.Prehashed(hashes.SHA256())
    key, curve = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    pkcs1, ecdsa = padding.PKCS1v15(), ec.ECDSA(prehashed)
    signed, ec_signed = key.sign(digest, pkcs1, prehashed), curve.sign(digest, ecdsa)
    public, ec_public = key.public_key(), curve.public_key()
    rsa_alg, ec_alg = cryp.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256, cryp.TEE_ALG_ECDSA_SHA256
    cases: list[tuple[str, int, int, int, int, Callable[[], object]]] = [
        ("RSA-2048 sign", SIGN, rsa_alg, 2048, 300, lambda: key.sign(digest, pkcs1, prehashed)),
        ("RSA-2048 verify", VERIFY, rsa_alg, 2048, 1000, lambda: public.verify(signed, digest, pkcs1, prehashed)),
        ("RSA-2048 keygen", KEYGEN, cryp.TEE_TYPE_RSA_KEYPAIR, 2048, 40, lambda: rsa.generate_private_key(65537, 2048)),
        ("ECDSA P-256 sign", SIGN, ec_alg, 256, 1000, lambda: curve.sign(digest, ecdsa)),
        ("ECDSA P-256 verify", VERIFY, ec_alg, 256, 1000, lambda: ec_public.verify(ec_signed, digest, ecdsa)),
    ]
    print(f"\n{'us':<42} {'TA':>10} {'library':>10} {'invoke':>10}  TA / (library + invoke)")
    for name, command, a, b, count, call in cases:
        native = measure(call, count)
        ours = through_the_gate(built, SPEED, command, a, b, 0, count=count)
        ratio = ours.p50 / (native.p50 + invoke.p50)
        print(f"{name:<42} {ours.p50:>10.1f} {native.p50:>10.1f} {invoke.p50:>10.1f}  {ratio:>8.2f}")


def report_single(built: Built) -> None:
    """Of a thousand calls in one invoke, less an invoke without any; both at their best."""
    print(f"\n{'us of one call without data':<42} {'us':>10} {'beyond the bare call':>22}")
    bare = 0.0
    for name, which in SINGLE.items():
        none = through_the_gate(built, SPEED, CALLS, which, 0, 0, count=200)
        many = through_the_gate(built, SPEED, CALLS, which, REPEATS, 0, count=50)
        each = (many.low - none.low) / REPEATS
        bare = bare or each
        print(f"{name:<42} {each:>10.2f} {each - bare:>22.2f}")


def report(built: Built) -> None:
    report_data(built)
    report_asymmetric(built)
    report_single(built)

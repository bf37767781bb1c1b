"""AES in the core, over and over, for whoever measures it. Mirrors core/pta/tests/aes_perf.c."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from optemu.abi import cryp, gp
from optemu.secure_world.core.pseudo_ta import PtaCall, PtaMemref
from optemu.secure_world.crypto.authenc import AUTHENCS
from optemu.secure_world.crypto.cipher import CIPHERS

if TYPE_CHECKING:
    from optemu.secure_world.core.pseudo_ta import PseudoTa

# PTA_INVOKE_TESTS_AES_ECB, _CBC, _CTR, _XTS, _GCM
_ALGORITHMS: Final = (
    cryp.TEE_ALG_AES_ECB_NOPAD,
    cryp.TEE_ALG_AES_CBC_NOPAD,
    cryp.TEE_ALG_AES_CTR,
    cryp.TEE_ALG_AES_XTS,
    cryp.TEE_ALG_AES_GCM,
)
_KEY: Final = bytes(range(32))
_KEY2: Final = bytes(range(32, 64))
_IV: Final = bytes(range(0xA0, 0xB0))
_TAG_SIZE: Final = 16


def aes_perf(pta: "PseudoTa", call: PtaCall) -> int:
    """[in] value: key bits, and a bit above the lowest 16 to decrypt; algorithm. [in] value: rounds, octets at once.
    [inout] memref: what goes in. [inout] memref: what comes out."""
    what, how, src, dst = call.params
    bits, rounds, unit = what.a & 0xFFFF, how.a, how.b
    too_long = bits % 8 or bits // 8 > len(_KEY)
    if too_long or what.b >= len(_ALGORITHMS) or src.size > dst.size or not unit:
        return gp.TEE_ERROR_BAD_PARAMETERS
    mode = cryp.TEE_MODE_DECRYPT if what.a >> 16 else cryp.TEE_MODE_ENCRYPT
    update = _update(_ALGORITHMS[what.b], mode, bits // 8, src.size)
    for _ in range(rounds):
        if call.thread.abandoned:
            break
        _through(update, src, dst, unit)
    return gp.TEE_SUCCESS


def _update(algo: int, mode: int, key_size: int, payload: int) -> Callable[[bytes], bytes]:
    key = _KEY[:key_size]
    if algo in AUTHENCS:
        return AUTHENCS[algo](mode, key, _IV, _TAG_SIZE, 0, payload).update_payload
    key2 = _KEY2[:key_size] if algo == cryp.TEE_ALG_AES_XTS else b""
    iv = b"" if algo == cryp.TEE_ALG_AES_ECB_NOPAD else _IV
    cipher = CIPHERS[algo](mode, key, key2, iv)
    return lambda data: cipher.update(data, False)


def _through(update: Callable[[bytes], bytes], src: PtaMemref, dst: PtaMemref, unit: int) -> None:
    if src.buffer is None or dst.buffer is None:
        return
    for at in range(0, src.size, unit):
        out = update(bytes(src.buffer[at : at + min(unit, src.size - at)]))
        dst.buffer[at : at + len(out)] = out

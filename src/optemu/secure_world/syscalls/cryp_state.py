"""Operations: allocate, copy, free. Mirrors syscall_cryp_state_* of core/tee/tee_svc_cryp.c and core/crypto/crypto.c.

What an operation does is in cryp_hash.py, cryp_cipher.py, cryp_authenc.py, cryp_asymm.py and cryp_derive.py. What its
key may be used for is not checked here: as upstream, that is the work of the TA's own runtime.
"""

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from optemu.abi import cryp, gp
from optemu.abi.obj import TEE_HANDLE_FLAG_INITIALIZED
from optemu.errors import TeeError
from optemu.secure_world.core.tee_cryp_state import TeeCrypState
from optemu.secure_world.core.tee_obj import TeeObj, tee_obj_close
from optemu.secure_world.crypto.acipher import load_key
from optemu.secure_world.crypto.algorithms import COMPAT, Algorithm, algorithm
from optemu.secure_world.crypto.authenc import AUTHENCS
from optemu.secure_world.crypto.cipher import CIPHERS
from optemu.secure_world.crypto.hash import HASHES
from optemu.secure_world.crypto.mac import MACS
from optemu.secure_world.syscalls.cryp_attr import BOUNCE_BUFFER_SIZE

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_U32 = struct.Struct("<I")

_CONTEXTS: Final[dict[int, tuple[Mapping[int, Callable[..., Any]], int]]] = {
    cryp.TEE_OPERATION_CIPHER: (CIPHERS, gp.TEE_ERROR_NOT_IMPLEMENTED),
    cryp.TEE_OPERATION_AE: (AUTHENCS, gp.TEE_ERROR_NOT_IMPLEMENTED),
    cryp.TEE_OPERATION_MAC: (MACS, gp.TEE_ERROR_NOT_SUPPORTED),
    cryp.TEE_OPERATION_DIGEST: (HASHES, gp.TEE_ERROR_NOT_IMPLEMENTED),
}
"""crypto_*_alloc_ctx by class: what makes a context, and the TEE_Result for algorithms that are not there."""
_WITHOUT_CONTEXT: Final = (
    cryp.TEE_OPERATION_ASYMMETRIC_CIPHER,
    cryp.TEE_OPERATION_ASYMMETRIC_SIGNATURE,
    cryp.TEE_OPERATION_KEY_DERIVATION,
)


def _key(ta: "UserTaCtx", alg: Algorithm, mode: int, handle: int) -> TeeObj | None:
    """The object ``handle`` (0: none), which must be free and of a type that ``alg`` takes."""
    if not handle:
        return None
    o = ta.objs.of(handle)
    if o.busy:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"object 0x{handle:x} is the key of another operation")
    if alg.key_types is None or o.object_type not in alg.key_types.of(mode):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"an object of type 0x{o.object_type:x} is no key of {alg.name}")
    return o


def _factory(alg: Algorithm, keys: tuple[bool, bool]) -> Callable[..., Any] | None:
    """What makes the contexts of ``alg``; TeeError unless it has as many keys as it needs and is there."""
    contexts, absent = _CONTEXTS.get(alg.op_class, (None, 0))
    if contexts is None and alg.op_class not in _WITHOUT_CONTEXT:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"{alg.name} is of class {alg.op_class}, which there is not")
    if keys != (alg.keys > 0, alg.keys > 1):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{alg.name} takes {alg.keys} keys")
    if contexts is None:
        return None
    factory = contexts.get(alg.number)
    if factory is None:
        raise TeeError(absent, f"there is no {alg.name}")
    return factory


def syscall_cryp_state_alloc(ta: "UserTaCtx", algo: int, mode: int, key1: int, key2: int, state: int) -> int:
    algo, mode = algo & 0xFFFFFFFF, mode & 0xFFFFFFFF
    alg = algorithm(COMPAT.get(algo, algo))
    o1, o2 = _key(ta, alg, mode, key1), _key(ta, alg, mode, key2)
    ta.cryp_states.room()
    cs = TeeCrypState(alg, mode, _factory(alg, (key1 != 0, key2 != 0)))
    ta.space.copy_to_user_private(state, _U32.pack(cs.handle))
    ta.cryp_states.add(cs.handle, cs)
    if o1 is not None:
        o1.busy, cs.key1 = True, o1.handle
    if o2 is not None:
        o2.busy, cs.key2 = True, o2.handle
    return gp.TEE_SUCCESS


def syscall_cryp_state_copy(ta: "UserTaCtx", dst: int, src: int) -> int:
    """The work done so far, not the keys: the TA has given both the same."""
    to, of = ta.cryp_states.of(dst), ta.cryp_states.of(src)
    if to.alg.number != of.alg.number or to.mode != of.mode:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{of.alg.name} cannot go on as {to.alg.name}, or in another mode")
    if of.alg.op_class not in _CONTEXTS:
        raise TeeError(gp.TEE_ERROR_BAD_STATE, f"{of.alg.name} has no state to copy")
    to.ctx = of.ctx.copy() if of.ctx is not None else None
    to.initialized = of.initialized
    return gp.TEE_SUCCESS


def syscall_cryp_state_free(ta: "UserTaCtx", state: int) -> int:
    """Its keys are closed with it."""
    assert ta.thread is not None
    cs = ta.cryp_states.of(state)
    del ta.cryp_states[cs.handle]
    for key in (cs.key1, cs.key2):
        o = ta.objs.get(key)
        if o is not None:
            tee_obj_close(ta, ta.thread, o)
    return gp.TEE_SUCCESS


# --- for the calls that work with an operation -------------------------------------------------------------------


def secret_key(ta: "UserTaCtx", handle: int) -> bytearray:
    """The octets of a symmetric key; TEE_ERROR_BAD_STATE without a key, TEE_ERROR_BAD_PARAMETERS for one not set."""
    o = initialized_key(ta, handle, gp.TEE_ERROR_BAD_PARAMETERS)
    for value in o.attrs.values():  # it has no other attribute
        if isinstance(value, bytearray):
            return value
    return bytearray()


def initialized_key(ta: "UserTaCtx", handle: int, absent: int) -> TeeObj:
    """An operation's key; TEE_ERROR_BAD_STATE without one, ``absent`` for one that has no attributes yet."""
    o = ta.objs.of(handle)
    if not o.handle_flags & TEE_HANDLE_FLAG_INITIALIZED:
        raise TeeError(absent, f"object 0x{handle:x} has no key in it")
    return o


def native_key(o: TeeObj) -> Any:
    """The provider's key of an object, made once for it and its copies."""
    if o.native.key is None:
        o.native.key = load_key(o.object_type, o.attrs)
    return o.native.key


def bb_memdup_user(ta: "UserTaCtx", va: int, size: int) -> bytes:
    """A copy of a few bytes of the TA; TEE_ERROR_OUT_OF_MEMORY for more than upstream's bounce buffer holds."""
    if size > BOUNCE_BUFFER_SIZE:
        raise TeeError(gp.TEE_ERROR_OUT_OF_MEMORY, f"{size} bytes where the core takes {BOUNCE_BUFFER_SIZE}")
    copy: bytes = ta.space.copy_from_user(va, size)
    return copy

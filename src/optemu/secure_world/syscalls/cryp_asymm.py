"""Asymmetric encryption and signatures. Mirrors syscall_asymm_* of core/tee/tee_svc_cryp.c."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from optemu.abi import cryp, gp
from optemu.errors import TeeError
from optemu.secure_world.core.tee_cryp_state import TeeCrypState
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.crypto import acipher
from optemu.secure_world.crypto.algorithms import (
    MAIN_ALGO_DSA,
    MAIN_ALGO_ECDSA,
    MAIN_ALGO_ED25519,
    MAIN_ALGO_RSA,
    MAIN_ALGO_SM2_DSA_SM3,
    digest_hash_to_algo,
    get_main_alg,
    internal_hash_to_algo,
)
from optemu.secure_world.crypto.hash import digest_size
from optemu.secure_world.crypto.provider import Rng
from optemu.secure_world.syscalls.cryp_attr import TeeAttribute, copy_in_attrs
from optemu.secure_world.syscalls.cryp_state import initialized_key, native_key

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_KEYPAIR: Final = 1 << 24
_INT_MAX: Final = (1 << 31) - 1
_CTX_MAX_LENGTH: Final = 255
_PKE_POINT_SIZE, _PKE_OVERHEAD = 65, 97


class _Call(NamedTuple):
    """What an operation is done with: ``room`` octets are there for its output."""

    ta: "UserTaCtx"
    cs: TeeCrypState
    o: TeeObj
    params: list[TeeAttribute]
    src: bytes
    room: int

    @property
    def key(self) -> Any:
        """The provider's key."""
        return native_key(self.o)

    @property
    def private_key(self) -> Any:
        """The same for algorithms that sign in any mode: upstream takes a public key for a key pair then."""
        if not self.o.object_type & _KEYPAIR:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{self.cs.alg.name} signs with key pairs only")
        return native_key(self.o)

    @property
    def rng(self) -> Rng:
        return self.ta.tee.board.entropy

    def need(self, size: int) -> None:
        """For algorithms that look at the buffer before they work."""
        if self.room < size:
            raise _ShortBuffer(size)


class _ShortBuffer(Exception):
    """TEE_ERROR_SHORT_BUFFER: ``size`` octets are needed."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


# --- encrypt, decrypt, sign --------------------------------------------------------------------------------------


def _wrong_mode(code: int, cs: TeeCrypState) -> TeeError:
    return TeeError(code, f"{cs.alg.name} cannot do this in mode {cs.mode}")


def _rsanopad(c: _Call) -> bytes:
    if c.cs.mode == cryp.TEE_MODE_ENCRYPT:
        return acipher.rsanopad_encrypt(c.key, c.src)
    if c.cs.mode == cryp.TEE_MODE_DECRYPT:
        return acipher.rsanopad_decrypt(c.key, c.src)
    raise _wrong_mode(gp.TEE_ERROR_GENERIC, c.cs)


def _sm2_pke(c: _Call) -> bytes:
    if c.cs.mode == cryp.TEE_MODE_ENCRYPT:
        if c.room < _PKE_POINT_SIZE:
            raise TeeError(gp.TEE_ERROR_BAD_STATE, "the buffer is too small for the point alone")
        c.need(len(c.src) + _PKE_OVERHEAD)
        return acipher.sm2_pke_encrypt(c.key, c.src, c.rng)
    if c.cs.mode == cryp.TEE_MODE_DECRYPT:
        return acipher.sm2_pke_decrypt(c.key, c.src)[: c.room]  # as upstream: what does not fit is lost
    raise _wrong_mode(gp.TEE_ERROR_GENERIC, c.cs)


def _rsaes(c: _Call) -> bytes:
    algo = c.cs.alg.number
    label, mgf_algo = _oaep_params(c)
    if c.cs.mode == cryp.TEE_MODE_ENCRYPT:
        c.need(c.key.size)
        return acipher.rsaes_encrypt(algo, c.key, label, mgf_algo, c.src, c.rng)
    if c.cs.mode == cryp.TEE_MODE_DECRYPT:
        return acipher.rsaes_decrypt(algo, c.key, label, mgf_algo, c.src)
    raise _wrong_mode(gp.TEE_ERROR_BAD_PARAMETERS, c.cs)


def _oaep_params(c: _Call) -> tuple[bytes, int]:
    """Label, and the digest of MGF1: upstream looks for it in front of the label only."""
    mgf_algo = 0
    for attr_id, buffer, length in c.params:
        if attr_id == cryp.TEE_ATTR_RSA_OAEP_LABEL:
            label = c.ta.space.copy_from_user(buffer, length)
            break
        if attr_id == cryp.TEE_ATTR_RSA_OAEP_MGF_HASH and c.cs.alg.number != cryp.TEE_ALG_RSAES_PKCS1_V1_5:
            if length != 4:
                raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a digest is named by 4 bytes, not {length}")
            mgf_algo = int.from_bytes(c.ta.space.copy_from_user(buffer, 4), "little")
    else:
        label = b""
    return label, mgf_algo or internal_hash_to_algo(c.cs.alg.number)


def _salt_len(params: list[TeeAttribute], default: int) -> int:
    """pkcs1_get_salt_len: by the first attribute that says it, or as long as the digest."""
    for attr_id, a, _ in params:
        if attr_id == cryp.TEE_ATTR_RSA_PSS_SALT_LENGTH:
            return a if a < _INT_MAX else default
    return default


def _rsassa(c: _Call) -> bytes:
    if c.cs.mode != cryp.TEE_MODE_SIGN:
        raise _wrong_mode(gp.TEE_ERROR_BAD_PARAMETERS, c.cs)
    alg = c.cs.alg
    if alg.digest and len(c.src) != digest_size(alg.digest):
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{alg.name} does not sign {len(c.src)} bytes")
    c.need(c.key.size)
    return acipher.rsassa_sign(alg.number, c.key, _salt_len(c.params, len(c.src)), c.src, c.rng)


def _dsa(c: _Call) -> bytes:
    return acipher.dsa_sign(c.cs.alg.number, c.private_key, c.src, c.rng)


def _ecc(c: _Call) -> bytes:
    return acipher.ecc_sign(c.cs.alg.number, c.private_key, c.src, c.rng)


def _ed25519_params(ta: "UserTaCtx", params: list[TeeAttribute]) -> tuple[bool, bytes]:
    """tee_svc_obj_ed25519_parse_params: Ed25519ph?, and the context."""
    prehash, context = False, b""
    for attr_id, a, b in params:
        if attr_id == cryp.TEE_ATTR_EDDSA_PREHASH:
            if b or a > 1:
                raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"TEE_ATTR_EDDSA_PREHASH is neither 0 nor 1: {a}, {b}")
            prehash = bool(a)
        elif attr_id == cryp.TEE_ATTR_EDDSA_CTX:
            if context or b > _CTX_MAX_LENGTH or (b and not a):
                raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "a second context, or one that is too long or nowhere")
            context = ta.space.copy_from_user(a, b)
        else:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"attribute 0x{attr_id:x} is none of Ed25519")
    return prehash, context


def _ed25519(c: _Call) -> bytes:
    prehash, context = _ed25519_params(c.ta, c.params)
    c.need(64)
    return acipher.ed25519_sign(c.private_key, c.src, prehash, context)


_OPERATE: Final[dict[str, Callable[[_Call], bytes]]] = {
    "rsanopad": _rsanopad,
    "sm2_pke": _sm2_pke,
    "rsaes": _rsaes,
    "rsassa": _rsassa,
    "dsa": _dsa,
    "ecc": _ecc,
    "ed25519": _ed25519,
}
"""By the table's ``provider``."""


def _operate(c: _Call) -> bytes:
    work = _OPERATE.get(c.cs.alg.provider)
    if work is None:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{c.cs.alg.name} does not encrypt, decrypt or sign")
    out = work(c)
    c.need(len(out))
    return out


def syscall_asymm_operate(
    ta: "UserTaCtx", state: int, params: int, num_params: int, src: int, src_len: int, dst: int, dst_len: int
) -> int:
    """Encrypt, decrypt or sign, whichever the operation is; output and its size, or the size that is needed."""
    cs = ta.cryp_states.of(state)
    space = ta.space
    data = bytes(space.source(src, src_len))
    room = space.get_user_u64(dst_len)
    out = space.target(dst, room)
    attrs = copy_in_attrs(ta, params, num_params)
    o = initialized_key(ta, cs.key1, gp.TEE_ERROR_GENERIC)
    try:
        result = _operate(_Call(ta, cs, o, attrs, data, room))
    except _ShortBuffer as e:
        space.put_user_u64(dst_len, e.size)
        return gp.TEE_ERROR_SHORT_BUFFER
    out[: len(result)] = result
    space.put_user_u64(dst_len, len(result))
    return gp.TEE_SUCCESS


# --- verify ------------------------------------------------------------------------------------------------------


def _verify_rsa(c: _Call, sig: bytes) -> None:
    salt_len = 0
    if c.cs.alg.number != cryp.TEE_ALG_RSASSA_PKCS1_V1_5:
        size = digest_size(digest_hash_to_algo(c.cs.alg.number))
        if len(c.src) != size:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{c.cs.alg.name} is of {size} bytes, not {len(c.src)}")
        salt_len = _salt_len(c.params, size)
    acipher.rsassa_verify(c.cs.alg.number, c.key, salt_len, c.src, sig)


def _verify_dsa(c: _Call, sig: bytes) -> None:
    size = digest_size(digest_hash_to_algo(c.cs.alg.number))
    if len(c.src) not in (size, c.key.size):  # as upstream, the digest may be given as long as q
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{c.cs.alg.name} is of {size} bytes, not {len(c.src)}")
    acipher.dsa_verify(c.cs.alg.number, c.key, c.src, sig)


def _verify_ed25519(c: _Call, sig: bytes) -> None:
    prehash, context = _ed25519_params(c.ta, c.params)
    acipher.ed25519_verify(c.key, c.src, sig, prehash, context)


def _verify_ecc(c: _Call, sig: bytes) -> None:
    acipher.ecc_verify(c.cs.alg.number, c.key, c.src, sig)


_VERIFY: Final[dict[int, Callable[[_Call, bytes], None]]] = {
    MAIN_ALGO_RSA: _verify_rsa,
    MAIN_ALGO_DSA: _verify_dsa,
    MAIN_ALGO_ED25519: _verify_ed25519,
    MAIN_ALGO_ECDSA: _verify_ecc,
    MAIN_ALGO_SM2_DSA_SM3: _verify_ecc,
}


def syscall_asymm_verify(
    ta: "UserTaCtx", state: int, params: int, num_params: int, data: int, data_len: int, sig: int, sig_len: int
) -> int:
    """TEE_SUCCESS when the signature is right; TEE_ERROR_SIGNATURE_INVALID."""
    cs = ta.cryp_states.of(state)
    if cs.mode != cryp.TEE_MODE_VERIFY:
        raise _wrong_mode(gp.TEE_ERROR_BAD_PARAMETERS, cs)
    message = bytes(ta.space.source(data, data_len))
    signature = bytes(ta.space.source(sig, sig_len))
    attrs = copy_in_attrs(ta, params, num_params)
    o = initialized_key(ta, cs.key1, gp.TEE_ERROR_BAD_PARAMETERS)
    verify = _VERIFY.get(get_main_alg(cs.alg.number))
    if verify is None:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"{cs.alg.name} verifies nothing")
    verify(_Call(ta, cs, o, attrs, message, 0), signature)
    return gp.TEE_SUCCESS

"""Keys derived from keys. Mirrors syscall_cryp_derive_key of core/tee/tee_svc_cryp.c."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from optemu.abi import cryp, gp
from optemu.abi.obj import TEE_HANDLE_FLAG_INITIALIZED
from optemu.errors import TeeError
from optemu.secure_world.core.tee_cryp_state import TeeCrypState
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.crypto import acipher, kdf
from optemu.secure_world.syscalls.cryp_attr import TeeAttribute, copy_in_attrs, set_attrs
from optemu.secure_world.syscalls.cryp_state import bb_memdup_user, initialized_key, native_key, secret_key
from optemu.secure_world.syscalls.cryp_types import find_type_props

if TYPE_CHECKING:
    from optemu.secure_world.core.user_ta import UserTaCtx

_SECRET: Final = cryp.TEE_ATTR_SECRET_VALUE
_CONFIRMATION_SIZE: Final = 32
PBKDF2_COUNT_MAX: Final = 1 << 24
"""Iterations that are done, in some seconds and without a chance to end the TA meanwhile; upstream does them all."""


class _Call(NamedTuple):
    """What is derived with: ``room`` are the octets that the new key's type has room for."""

    ta: "UserTaCtx"
    cs: TeeCrypState
    params: list[TeeAttribute]
    so: TeeObj
    room: int

    def key(self, handle: int) -> Any:
        """The provider's key; upstream takes one that is not set for zeros."""
        return native_key(initialized_key(self.ta, handle, gp.TEE_ERROR_BAD_PARAMETERS))

    def public(self, *wanted: int) -> list[bytes]:
        """The octets of exactly these attributes, in this order; TEE_ERROR_BAD_PARAMETERS."""
        if tuple(p.attr_id for p in self.params) != wanted:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{self.cs.alg.name} takes the other side's public value")
        return [bb_memdup_user(self.ta, p.a, p.b) for p in self.params]

    def fitting(self, length: int) -> int:
        """TEE_ERROR_BAD_PARAMETERS for more octets than the new key has room for."""
        if length > self.room:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{length} bytes do not fit a key of {self.room}")
        return length


# --- agreement -----------------------------------------------------------------------------------------------------


def _dh(c: _Call) -> bytes:
    (public,) = c.public(cryp.TEE_ATTR_DH_PUBLIC_VALUE)
    return acipher.dh_shared_secret(c.key(c.cs.key1), public)


def _ecdh(c: _Call) -> bytes:
    wanted = (cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y)
    x, y = c.public(*wanted)
    o = initialized_key(c.ta, c.cs.key1, gp.TEE_ERROR_NOT_IMPLEMENTED)
    curve = o.attrs[cryp.TEE_ATTR_ECC_CURVE]
    assert isinstance(curve, int)
    acipher.verify_ecc_public_key(curve, x, y)
    return acipher.ecc_shared_secret(native_key(o), x, y)


def _montgomery(attr_id: int, size: int, shared_secret: Callable[[Any, bytes], bytes]) -> Callable[[_Call], bytes]:
    def derive(c: _Call) -> bytes:
        if len(c.params) == 1 and c.params[0].b != size:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"a public value of {c.params[0].b} bytes, not {size}")
        (public,) = c.public(attr_id)
        key = c.key(c.cs.key1)
        c.fitting(size)
        return shared_secret(key, public)

    return derive


# --- SM2 key exchange ----------------------------------------------------------------------------------------------

_KEP_ALIASES: Final = {
    cryp.OPTEE_SM2_KEP_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_X: cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_X,
    cryp.OPTEE_SM2_KEP_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_Y: cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_Y,
}
_KEP_NEEDED: Final = frozenset(
    {
        cryp.TEE_ATTR_SM2_KEP_USER,
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X,
        cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y,
        cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_X,
        cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_Y,
        cryp.TEE_ATTR_SM2_ID_INITIATOR,
        cryp.TEE_ATTR_SM2_ID_RESPONDER,
    }
)
_KEP_CONFIRMATIONS: Final = (cryp.TEE_ATTR_SM2_KEP_CONFIRMATION_IN, cryp.TEE_ATTR_SM2_KEP_CONFIRMATION_OUT)


def _sm2_kep(c: _Call) -> bytes:
    """get_sm2_kep_params and the exchange. Our confirmation goes where the TA wants it; upstream forgets it there."""
    values: dict[int, bytes] = {}
    numbers: dict[int, int] = {}
    confirmation: TeeAttribute | None = None
    for p in c.params:
        attr_id = _KEP_ALIASES.get(p.attr_id, p.attr_id)
        if attr_id not in _KEP_NEEDED and attr_id not in _KEP_CONFIRMATIONS:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"attribute 0x{attr_id:x} is none of {c.cs.alg.name}")
        if attr_id == cryp.TEE_ATTR_SM2_KEP_USER:
            numbers[attr_id] = p.a
            continue
        values[attr_id] = bb_memdup_user(c.ta, p.a, p.b)
        if attr_id == cryp.TEE_ATTR_SM2_KEP_CONFIRMATION_OUT:
            confirmation = p
    if not values.keys() | numbers.keys() >= _KEP_NEEDED:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"an attribute of {c.cs.alg.name} is missing")
    if confirmation is not None and confirmation.b < _CONFIRMATION_SIZE:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"the confirmation has {_CONFIRMATION_SIZE} bytes")
    out, ours = acipher.sm2_kep_derive(
        c.key(c.cs.key1),
        c.key(c.cs.key2),
        _peer(values, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y),
        _peer(values, cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_X, cryp.TEE_ATTR_ECC_EPHEMERAL_PUBLIC_VALUE_Y),
        acipher.Sm2KepParms(
            # Upstream takes the bits that the object may have for octets.
            out_len=c.fitting(c.so.max_object_size),
            is_initiator=not numbers[cryp.TEE_ATTR_SM2_KEP_USER],
            initiator_id=values[cryp.TEE_ATTR_SM2_ID_INITIATOR],
            responder_id=values[cryp.TEE_ATTR_SM2_ID_RESPONDER],
            conf_in=values.get(cryp.TEE_ATTR_SM2_KEP_CONFIRMATION_IN),
            want_conf_out=confirmation is not None,
        ),
    )
    if confirmation is not None and ours is not None:
        c.ta.space.copy_to_user(confirmation.a, ours)
    return out


def _peer(values: dict[int, bytes], x: int, y: int) -> Any:
    attrs = {cryp.TEE_ATTR_ECC_PUBLIC_VALUE_X: values[x], cryp.TEE_ATTR_ECC_PUBLIC_VALUE_Y: values[y]}
    return acipher.load_key(cryp.TEE_TYPE_SM2_KEP_PUBLIC_KEY, attrs)


# --- derivation functions ------------------------------------------------------------------------------------------


def _gather(c: _Call, octets: dict[int, str], numbers: dict[int, str]) -> dict[str, Any]:
    """The first of each attribute by what it stands for, octets copied; TEE_ERROR_BAD_PARAMETERS for any other."""
    found: dict[str, Any] = {}
    for p in c.params:
        if p.attr_id in octets:
            name = octets[p.attr_id]
            if name not in found:
                found[name] = bb_memdup_user(c.ta, p.a, p.b)
        elif p.attr_id in numbers:
            found.setdefault(numbers[p.attr_id], p.a)
        else:
            raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"attribute 0x{p.attr_id:x} is none of {c.cs.alg.name}")
    return found


def _missing(c: _Call) -> TeeError:
    return TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{c.cs.alg.name} is not told how much to derive")


_HKDF_OCTETS: Final = {
    cryp.OPTEE_TEE_ATTR_HKDF_SALT: "salt",
    cryp.TEE_ATTR_HKDF_SALT: "salt",
    cryp.OPTEE_ATTR_HKDF_INFO: "info",
    cryp.TEE_ATTR_HKDF_INFO: "info",
}
_HKDF_NUMBERS: Final = {
    cryp.TEE_ATTR_KDF_KEY_SIZE: "length",
    cryp.TEE_ATTR_HKDF_OKM_LENGTH: "length",
    cryp.TEE_ATTR_HKDF_HASH_ALGORITHM: "hash",
}


def _hkdf(c: _Call) -> bytes:
    given = _gather(c, _HKDF_OCTETS, _HKDF_NUMBERS)
    if "length" not in given:
        raise _missing(c)
    length = c.fitting(given["length"])
    hash_algo = c.cs.alg.digest or given.get("hash", cryp.TEE_ALG_SHA256)
    ikm = bytes(secret_key(c.ta, c.cs.key1))
    return kdf.hkdf(hash_algo, ikm, given.get("salt", b""), given.get("info", b""), length)


def _concat_kdf(c: _Call) -> bytes:
    given = _gather(c, {cryp.TEE_ATTR_CONCAT_KDF_OTHER_INFO: "info"}, {cryp.TEE_ATTR_CONCAT_KDF_DKM_LENGTH: "length"})
    if "length" not in given:
        raise _missing(c)
    z = bytes(secret_key(c.ta, c.cs.key1))
    return kdf.concat_kdf(c.cs.alg.digest, z, given.get("info", b""), c.fitting(given["length"]))


def _pbkdf2(c: _Call) -> bytes:
    numbers = {cryp.TEE_ATTR_PBKDF2_DKM_LENGTH: "length", cryp.TEE_ATTR_PBKDF2_ITERATION_COUNT: "count"}
    given = _gather(c, {cryp.TEE_ATTR_PBKDF2_SALT: "salt"}, numbers)
    if "length" not in given or "count" not in given:
        raise _missing(c)
    length = c.fitting(given["length"])
    if given["count"] > PBKDF2_COUNT_MAX:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, f"{given['count']} iterations; at most {PBKDF2_COUNT_MAX} are done")
    password = bytes(secret_key(c.ta, c.cs.key1))
    return kdf.pbkdf2(c.cs.alg.digest, password, given.get("salt", b""), given["count"], length)


_DERIVE: Final[dict[str, Callable[[_Call], bytes]]] = {
    "dh": _dh,
    "ecdh": _ecdh,
    "x25519": _montgomery(cryp.TEE_ATTR_X25519_PUBLIC_VALUE, 32, acipher.x25519_shared_secret),
    "x448": _montgomery(cryp.TEE_ATTR_X448_PUBLIC_VALUE, 56, acipher.x448_shared_secret),
    "sm2_kep": _sm2_kep,
    "hkdf": _hkdf,
    "concat_kdf": _concat_kdf,
    "pbkdf2": _pbkdf2,
}
"""By the table's ``provider``."""


def syscall_cryp_derive_key(ta: "UserTaCtx", state: int, params: int, count: int, derived_key: int) -> int:
    """A secret of ``derived_key``'s type, made of the operation's key and of what ``params`` say."""
    cs = ta.cryp_states.of(state)
    attrs = copy_in_attrs(ta, params, count)
    ta.objs.of(cs.key1)
    so = ta.objs.of(derived_key)
    props = find_type_props(so.object_type)
    if props is None or props.attrs[0].attr_id != _SECRET:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"an object of type 0x{so.object_type:x} is no plain secret")
    derive = _DERIVE.get(cs.alg.provider)
    if derive is None:
        raise TeeError(gp.TEE_ERROR_NOT_SUPPORTED, f"{cs.alg.name} derives no keys")
    call = _Call(ta, cs, attrs, so, props.secret_size)
    secret = derive(call)
    call.fitting(len(secret))
    set_attrs(so, {_SECRET: bytearray(secret)}, so.have_attrs | 1)
    so.handle_flags |= TEE_HANDLE_FLAG_INITIALIZED
    return gp.TEE_SUCCESS

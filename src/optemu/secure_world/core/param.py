"""The parameters of a call inside the core: struct tee_ta_param of core/include/kernel/tee_ta_manager.h."""

from optemu.abi import gp
from optemu.secure_world.core.mobj import Mobj

MEMREF_TYPES = frozenset(
    (gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT, gp.TEE_PARAM_TYPE_MEMREF_INOUT)
)


class Value:
    """A value parameter: two 32-bit numbers (the message carries 64 bits; a TA sees what its word holds)."""

    __slots__ = ("a", "b")

    def __init__(self, a: int = 0, b: int = 0) -> None:
        self.a = a
        self.b = b


class Memref:
    """``size`` bytes at ``offs`` of ``mobj``; ``mobj`` is None for the NULL memory reference.

    ``size`` becomes what the callee wrote back and may then exceed what was lent: ``lent`` stays.
    """

    __slots__ = ("lent", "mobj", "offs", "size")

    def __init__(self, mobj: Mobj | None, offs: int, size: int) -> None:
        self.mobj = mobj
        self.offs = offs
        self.size = size
        self.lent = size


Param = Value | Memref | None


class TaParams:
    """``types`` is TEE_PARAM_TYPES(...); ``u`` the four parameters, None where the type is NONE."""

    __slots__ = ("types", "u")

    def __init__(self, types: int = 0, u: list[Param] | None = None) -> None:
        self.types = types
        self.u: list[Param] = u if u is not None else [None, None, None, None]


def param_type(types: int, n: int) -> int:
    """TEE_PARAM_TYPE_GET."""
    return types >> (4 * n) & 0xF


def param_types(*types: int) -> int:
    """TEE_PARAM_TYPES."""
    return sum(t << (4 * n) for n, t in enumerate(types))

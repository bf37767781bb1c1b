"""How recorded arguments read: one function for each kind that a Point may name.

To add a kind: a function from what was recorded to text, and its row in KINDS; what has names only, by number, is a
row of ``_names``. No function needs to guard itself: what it cannot read is shown by ``_plain`` instead.
"""

import errno
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from optemu.abi import gp, optee_msg, optee_rpc_cmd, optee_smc, syscalls, tee_ioctl, utee

Kind = Callable[[Any], str]
Field = tuple[str, str, int | str | bytes | None]
"""label, what is shown, what was recorded (None when it was neither number nor string nor bytes)."""

_SHORT: Final = 16
_LONGEST: Final = 200
LOGIN_NAMES: Final = {
    number: name.removeprefix("TEE_LOGIN_") for name, number in vars(gp).items() if name.startswith("TEE_LOGIN_")
}
SYSCALL_NAMES: Final = {
    number: "syscall_" + name.removeprefix("TEE_SCN_").lower()
    for name, number in vars(syscalls).items()
    if name.startswith("TEE_SCN_")
}


def printable(text: str, longest: int = _LONGEST) -> str:
    """``text`` fit for a terminal: controls escaped (it may come from a client or a TA), cut when very long."""
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _hex(value: int) -> str:
    return f"0x{value:x}" if value >= 0 else f"-0x{-value:x}"


def _u32(value: int) -> str:
    return str(value & 0xFFFFFFFF)


def _dec(value: int) -> str:
    return f"{value:d}"


def _size(value: int) -> str:
    """Bytes: exact, and round numbers of KiB as such."""
    if value >= 4096 and value % 1024 == 0:
        return f"{value // 1024} KiB"
    return f"{value:d} B"


def _str(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        value = bytes(value[:_LONGEST]).decode("utf-8", "replace").rstrip("\n\0")
    return str(value) if str(value) else '""'


def _bytes(value: bytes) -> str:
    more = "…" if len(value) > _SHORT else ""
    return f"[{len(value)}] {value[:_SHORT].hex(' ', -4)}{more}".rstrip()


def _uuid(value: bytes) -> str:
    if len(value) != 16:
        raise ValueError
    return gp.uuid_str(bytes(value))


def _errno_rc(value: int) -> str:
    return f"-{errno.errorcode[-value]}" if -value in errno.errorcode else f"{value:d}"


def _param_types(value: int) -> str:
    """The four nibbles of a TEE_PARAM_TYPES, the trailing unused ones left out."""
    types = [value >> 4 * n & 0xF for n in range(gp.TEE_NUM_PARAMS)]
    while types and not types[-1]:
        types.pop()
    return ",".join(gp.PARAM_TYPE_NAMES.get(t) or _hex(t) for t in types) or "none"


def _msg_params(value: Any) -> str:
    """Parameters of a message, each (attr, a, b, c)."""
    return " ".join(_msg_param(*p) for p in value) or "none"


def _msg_param(attr: int, a: int, b: int, c: int) -> str:
    name = optee_msg.ATTR_TYPE_NAMES.get(attr & optee_msg.OPTEE_MSG_ATTR_TYPE_MASK) or _hex(attr)
    if name == "none":
        return "-"
    inside = f"{a:#x},{b:#x},{c:#x}" if name.startswith("value") else f"{b:d} B at {a:#x} of shm {c:#x}"
    return f"{name}({inside})"


def _rpc_func(value: int) -> str:
    """The RPC function a secure thread left with, bare or as the SMC's whole return value."""
    return optee_smc.RETURN_NAMES.get(0xFFFF0000 | value & 0xFFFF) or _hex(value)


def _names(table: Mapping[int, str]) -> Kind:
    return lambda value: table.get(value) or _hex(value)


KINDS: Final[dict[str, Kind]] = {
    "u32": _u32,
    "u64": _dec,
    "dec": _dec,
    "hex": _hex,
    "ptr": _hex,
    "size": _size,
    "bool": lambda value: "yes" if value else "no",
    "str": _str,
    "bytes": _bytes,
    "uuid": _uuid,
    "tee_result": gp.result_name,
    "origin": _names(gp.ORIGIN_NAMES),
    "login": _names(LOGIN_NAMES),
    "param_types": _param_types,
    "errno_rc": _errno_rc,
    "ioctl": _names(tee_ioctl.IOCTL_NAMES),
    "msg_cmd": _names(optee_msg.CMD_NAMES),
    "msg_params": _msg_params,
    "smc": _names(optee_smc.SMC_NAMES),
    "smc_return": _names(optee_smc.RETURN_NAMES),
    "rpc_func": _rpc_func,
    "rpc_cmd": _names(optee_rpc_cmd.RPC_CMD_NAMES),
    "rpc_fs": _names(optee_rpc_cmd.RPC_FS_NAMES),
    "rpc_socket": _names(optee_rpc_cmd.RPC_SOCKET_NAMES),
    "syscall": _names(SYSCALL_NAMES),
    "entry_func": _names(utee.ENTRY_FUNC_NAMES),
}


def _plain(value: Any) -> str:
    """What has no kind, or does not fit the one it has."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return _hex(value)
    return _bytes(value) if isinstance(value, bytes) else _str(value)


@lru_cache(maxsize=4096)
def _compile(spec: str) -> tuple[tuple[str, Kind], ...]:
    parts = (word.partition(":") for word in spec.split())
    return tuple((label, KINDS.get(kind, _plain)) for label, _, kind in parts)


def decode(spec: str, args: tuple[Any, ...]) -> tuple[Field, ...]:
    """``args`` as ``spec`` (a Point's ``args`` or ``result``) names them. Never raises: odd arguments look odd."""
    rows = _compile(spec)
    if len(args) > len(rows):
        rows += tuple((f"arg{n}", _plain) for n in range(len(rows), len(args)))
    return tuple(_field(label, kind, value) for (label, kind), value in zip(rows, args, strict=False))


def _field(label: str, kind: Kind, value: Any) -> Field:
    try:
        text = kind(value)
    except Exception:
        try:
            text = _plain(value)
        except Exception as e:
            text = f"<{type(value).__name__}: {type(e).__name__}>"
    return label, printable(text), value if isinstance(value, int | str | bytes) else None

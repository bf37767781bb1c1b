"""What the driver may ask of the supplicant: one row per command. Mirrors process_one_request()."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from optemu.abi import optee_rpc_cmd as rpc
from optemu.normal_world.supplicant.handlers import (
    Services,
    fs,
    ftrace,
    gprof,
    load_ta,
    plugin,
    rpmb,
    shm_alloc,
    shm_free,
    socket,
)
from optemu.normal_world.supplicant.params import Param, uuid_octets
from optemu.normal_world.supplicant.plugins import plugin_uuid
from optemu.trace import EL, Point, World

Handler = Callable[[Services, list[Param]], int]
"""Serves a request, its answer in the parameters: a TEE_Result, or raises TeeError."""
Seen = Callable[[Param, Param], tuple[int | bytes, ...]]
"""What the trace shows of a request, of its first two parameters (empty ones where there are none)."""


@dataclass(frozen=True, slots=True)
class Row:
    """``handler`` None: answered TEE_ERROR_NOT_SUPPORTED. ``args`` names what ``seen`` gives to the trace.

    What ``blocks`` waits for the world outside, and is never served on the thread of whoever asks.
    """

    cmd: int
    name: str
    handler: Handler | None
    note: str
    args: str = "a:u64 b:u64 c:u64"
    seen: Seen = lambda first, second: (first.a, first.b, first.c)
    blocks: bool = False


ROWS: Final = (
    Row(
        rpc.OPTEE_RPC_CMD_LOAD_TA,
        "OPTEE_RPC_CMD_LOAD_TA",
        load_ta,
        "TA image by UUID: size, then bytes",
        "uuid:uuid size:u64",
        lambda uuid, image: (uuid_octets(uuid), image.b),
    ),
    Row(
        rpc.OPTEE_RPC_CMD_RPMB,
        "OPTEE_RPC_CMD_RPMB",
        rpmb,
        "frames of the eMMC's RPMB partition",
        "request:size response:size",
        lambda request, response: (request.b, response.b),
    ),
    Row(
        rpc.OPTEE_RPC_CMD_FS,
        "OPTEE_RPC_CMD_FS",
        fs,
        "files of the REE file system",
        "op:rpc_fs file:u64 offset:u64",
    ),
    Row(
        rpc.OPTEE_RPC_CMD_SHM_ALLOC,
        "OPTEE_RPC_CMD_SHM_ALLOC",
        shm_alloc,
        "memory shared with the TEE",
        "size:u64",
        lambda size, _: (size.b,),
    ),
    Row(
        rpc.OPTEE_RPC_CMD_SHM_FREE,
        "OPTEE_RPC_CMD_SHM_FREE",
        shm_free,
        "end of that memory",
        "shm:u64",
        lambda shm, _: (shm.b,),
    ),
    Row(
        rpc.OPTEE_RPC_CMD_GPROF,
        "OPTEE_RPC_CMD_GPROF",
        gprof,
        "profiles of TAs",
        "file:u64",
        lambda request, _: (request.a,),
    ),
    Row(
        rpc.OPTEE_RPC_CMD_SOCKET,
        "OPTEE_RPC_CMD_SOCKET",
        socket,
        "TCP and UDP for TAs",
        "op:rpc_socket instance:u64 handle:u64",
        blocks=True,
    ),
    Row(
        rpc.OPTEE_RPC_CMD_FTRACE,
        "OPTEE_RPC_CMD_FTRACE",
        ftrace,
        "function traces of TAs",
        "file:u64",
        lambda request, _: (request.a,),
    ),
    Row(
        rpc.OPTEE_RPC_CMD_SUPP_PLUGIN,
        "OPTEE_RPC_CMD_SUPP_PLUGIN",
        plugin,
        "plugins of the supplicant",
        "uuid:uuid cmd:u64",
        lambda request, rest: (plugin_uuid(request, rest), rest.c),
        blocks=True,
    ),
)
BY_CMD: Final = {row.cmd: row for row in ROWS}


def point(row: Row) -> Point:
    where, upstream = "supplicant/table.py ROWS", "tee-supplicant/src/tee_supplicant.c"
    return Point(row.name, World.NORMAL, EL.EL0, "supplicant", row.args, "ret:tee_result", where, upstream)


POINTS: Final = {row.cmd: point(row) for row in ROWS}


def unknown(cmd: int) -> Row:
    """A row for a command that has none."""
    return Row(cmd, f"OPTEE_RPC_CMD_{cmd}", None, "")

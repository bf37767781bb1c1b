"""Static TAs: Python classes in the core. Mirrors core/kernel/pseudo_ta.c.

    @pseudo_ta(uuid="...", name="demo.pta")
    class Demo(PseudoTa):
        def invoke_command(self, thread, session, cmd, types, params): ...

or, better when there are several commands with parameters of their own, a table:

        commands = (PtaCommand(0, "ADD", param_types(TEE_PARAM_TYPE_VALUE_INOUT), add), ...)

One object serves all sessions of the TA; what belongs to a session is returned by ``open_session`` and handed
back as ``session``. Parameters are mutable: write ``a``/``b`` of a value, ``buffer[:]`` and ``size`` of a memref.
``thread.session`` is the calling TA's session (ts_get_calling_session), None for the normal world.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from optemu.abi import gp
from optemu.abi.ta_head import (
    TA_FLAG_CONCURRENT,
    TA_FLAG_DEVICE_ENUM,
    TA_FLAG_DEVICE_ENUM_SUPP,
    TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE,
    TA_FLAG_INSTANCE_KEEP_ALIVE,
    TA_FLAG_MULTI_SESSION,
    TA_FLAG_SECURE_DATA_PATH,
    TA_FLAG_SINGLE_INSTANCE,
)
from optemu.errors import TeeError
from optemu.secure_world.core import points
from optemu.secure_world.core.param import Memref, TaParams, Value
from optemu.secure_world.core.session import Identity, Session, TaCtx
from optemu.secure_world.core.tee_ta_manager import InitSession
from optemu.secure_world.core.thread import Thread

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

log = logging.getLogger("optemu.core")

PTA_MANDATORY_FLAGS = TA_FLAG_SINGLE_INSTANCE | TA_FLAG_MULTI_SESSION | TA_FLAG_INSTANCE_KEEP_ALIVE
PTA_ALLOWED_FLAGS = (
    PTA_MANDATORY_FLAGS
    | TA_FLAG_SECURE_DATA_PATH
    | TA_FLAG_CONCURRENT
    | TA_FLAG_DEVICE_ENUM
    | TA_FLAG_DEVICE_ENUM_SUPP
    | TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE
)
PTA_DEFAULT_FLAGS = PTA_MANDATORY_FLAGS


class PtaMemref:
    """A memory reference as a static TA sees it: ``buffer`` is the caller's memory itself, None for NULL.

    ``pa`` is its physical address, ``secure`` the kind of memory there.
    """

    __slots__ = ("buffer", "pa", "secure", "size")

    def __init__(self, buffer: memoryview | None, size: int, pa: int = 0, secure: bool = False) -> None:
        self.buffer = buffer
        self.size = size
        self.pa = pa
        self.secure = secure

    def read(self) -> bytes:
        """A copy of the bytes: what is decided on must not change meanwhile."""
        return b"" if self.buffer is None else bytes(self.buffer)

    def give(self, data: bytes) -> int:
        """``data`` where it fits, its size in any case: TEE_SUCCESS or TEE_ERROR_SHORT_BUFFER."""
        room, self.size = self.size, len(data)
        if room < len(data):
            return gp.TEE_ERROR_SHORT_BUFFER
        if self.buffer is not None:
            self.buffer[: len(data)] = data
        return gp.TEE_SUCCESS


PtaParam = Value | PtaMemref | None


@dataclass(frozen=True, slots=True)
class PtaCall:
    """A command under way: ``session`` is the static TA's own, ``params`` are of the classes that ``types`` says."""

    thread: Thread
    session: Any
    types: int
    params: list[Any]


@dataclass(frozen=True, slots=True)
class PtaCommand:
    """One row of a static TA's table of commands.

    ``types`` None: the handler judges the parameter types itself. ``handler`` gets the static TA and the call, and
    returns a TEE_Result, or None for success; without one the command is not supported, and ``note`` says why.
    """

    number: int
    name: str
    types: int | None
    handler: Callable[[Any, PtaCall], int | None] | None
    note: str = ""


class PseudoTa:
    """Base of all static TAs: the five entry points (struct pseudo_ta_head).

    A static TA has either a table of ``commands`` or an ``invoke_command`` of its own.
    """

    uuid: bytes
    name: str
    flags: int
    commands: tuple[PtaCommand, ...] = ()
    unknown_command = gp.TEE_ERROR_NOT_IMPLEMENTED
    """What a command is answered that the table does not have."""

    def __init__(self, tee: "Tee") -> None:
        self.tee = tee
        self._by_number = {row.number: row for row in self.commands}

    def create(self) -> None:
        """Before the first session opens. TeeError refuses."""

    def destroy(self) -> None:
        """After the last session has closed."""

    def open_session(self, thread: Thread, client: Identity, types: int, params: list[PtaParam]) -> object:
        """A session opens for ``client``; what is returned belongs to it. TeeError refuses."""
        return None

    def close_session(self, thread: Thread, session: object) -> None:
        """A session closes; None is one that ``open_session`` refused, for that is closed as well."""

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        """Do ``cmd``: a TEE_Result, or None for success. TeeError is the same as returning its code."""
        row = self._by_number.get(cmd)
        if row is None:
            return self.unknown_command
        if row.types is not None and types != row.types:
            return gp.TEE_ERROR_BAD_PARAMETERS
        if row.handler is None:
            log.info("%s: %s is not supported: %s", self.name, row.name, row.note)
            return gp.TEE_ERROR_NOT_SUPPORTED
        return row.handler(self, PtaCall(thread, session, types, params))


P = TypeVar("P", bound=type[PseudoTa])
_registered: list[type[PseudoTa]] = []


def pseudo_ta(*, uuid: str, name: str, flags: int = PTA_DEFAULT_FLAGS) -> Callable[[P], P]:
    """pseudo_ta_register: enter a class in the table of static TAs."""

    def register(cls: P) -> P:
        cls.uuid, cls.name, cls.flags = gp.uuid_octets(uuid), name, flags
        _registered.append(cls)
        return cls

    return register


def registered() -> tuple[type[PseudoTa], ...]:
    """The table, in the order of registration."""
    return tuple(_registered)


def verify_conformance(table: tuple[type[PseudoTa], ...]) -> None:
    """verify_pseudo_tas_conformance, at boot: ValueError says which TA is wrong and how."""
    seen: dict[bytes, str] = {}
    for ta in table:
        if not hasattr(ta, "uuid"):
            raise ValueError(f"static TA {ta.__name__!r} has no UUID: register it with @pseudo_ta(uuid=..., name=...)")
        who = f"static TA {ta.name or ta.__name__!r} ({gp.uuid_str(ta.uuid)})"
        if ta.uuid in seen:
            raise ValueError(f"{who} has the UUID of {seen[ta.uuid]!r}")
        if not ta.name:
            raise ValueError(f"{who} has no name")
        if ta.flags & PTA_MANDATORY_FLAGS != PTA_MANDATORY_FLAGS:
            raise ValueError(f"{who} must be single instance, multi session and kept alive; flags 0x{ta.flags:x}")
        if ta.flags & ~PTA_ALLOWED_FLAGS:
            raise ValueError(f"{who} has flags a static TA cannot have: 0x{ta.flags & ~PTA_ALLOWED_FLAGS:x}")
        if ta.invoke_command is PseudoTa.invoke_command and not ta.commands:
            raise ValueError(f"{who} has no invoke_command and no commands")
        seen[ta.uuid] = ta.name


class PseudoTaCtx(TaCtx):
    """A static TA in use."""

    def __init__(self, ta: PseudoTa) -> None:
        super().__init__(ta.uuid, ta.flags)
        self._ta = ta

    def enter_open_session(self, thread: Thread, session: Session) -> int:
        trace = self._ta.tee.trace
        if trace.on:
            trace.enter(points.PTA_OPEN, self._ta.name)
        ret = self._create(session) or self._call(
            session, lambda types, params: self._open(thread, session, types, params)
        )
        if trace.on:
            trace.exit(points.PTA_OPEN, ret)
        return ret

    def _create(self, session: Session) -> int:
        """Before the parameters are looked at: ``destroy`` follows even when those are refused."""
        session.err_origin = gp.TEE_ORIGIN_TRUSTED_APP
        try:
            if self.ref_count == 1:
                self._ta.create()
        except TeeError as e:
            log.debug("%s", e)
            return e.code
        return gp.TEE_SUCCESS

    def _open(self, thread: Thread, session: Session, types: int, params: list[PtaParam]) -> None:
        session.user_ctx = self._ta.open_session(thread, session.clnt_id, types, params)

    def enter_invoke_cmd(self, thread: Thread, session: Session, cmd: int) -> int:
        trace = self._ta.tee.trace
        if trace.on:
            trace.enter(points.PTA_INVOKE, self._ta.name, cmd)
        invoke, user_ctx = self._ta.invoke_command, session.user_ctx
        ret = self._call(session, lambda types, params: invoke(thread, user_ctx, cmd, types, params))
        if trace.on:
            trace.exit(points.PTA_INVOKE, ret)
        return ret

    def enter_close_session(self, thread: Thread, session: Session) -> None:
        trace = self._ta.tee.trace
        if trace.on:
            trace.enter(points.PTA_CLOSE, self._ta.name)
        self._ta.close_session(thread, session.user_ctx)
        if self.ref_count == 1:
            self._ta.destroy()
        if trace.on:
            trace.exit(points.PTA_CLOSE)

    @staticmethod
    def _call(session: Session, entry: Callable[[int, list[PtaParam]], int | None]) -> int:
        """copy_in_param, the entry point, update_out_param."""
        param = session.param or TaParams()
        try:
            params = _copy_in(param)
        except TeeError as e:
            session.err_origin = gp.TEE_ORIGIN_TEE
            return e.code
        session.err_origin = gp.TEE_ORIGIN_TRUSTED_APP
        try:
            ret = entry(param.types, params) or gp.TEE_SUCCESS
        except TeeError as e:
            log.debug("%s", e)
            ret = e.code
        for p, seen in zip(param.u, params, strict=True):
            if isinstance(p, Memref) and isinstance(seen, PtaMemref):
                p.size = seen.size
        return ret


def _copy_in(param: TaParams) -> list[PtaParam]:
    """The same value objects, and memory references turned into the memory they name."""
    params: list[PtaParam] = []
    for p in param.u:
        if isinstance(p, Memref):
            params.append(_map(p))
            continue
        if isinstance(p, Value):
            # A message of the normal world has room for 64 bits, struct param_val has not.
            p.a &= 0xFFFFFFFF
            p.b &= 0xFFFFFFFF
        params.append(p)
    return params


def _map(p: Memref) -> PtaMemref:
    if p.mobj is None:
        return PtaMemref(None, p.size)
    buffer = p.mobj.get_va(p.offs, p.size)
    if buffer is None:
        raise TeeError(gp.TEE_ERROR_BAD_PARAMETERS, "the pages of a memory reference are not contiguous")
    pa, secure = p.mobj.get_pa(p.offs)
    return PtaMemref(buffer, p.size, pa, secure)


class PseudoTas(InitSession):
    """The static TAs of one TEE."""

    def __init__(self, tee: "Tee", table: tuple[type[PseudoTa], ...] | None = None) -> None:
        table = registered() if table is None else table
        verify_conformance(table)
        self._by_uuid = {cls.uuid: cls(tee) for cls in table}

    def all(self) -> list[PseudoTa]:
        return list(self._by_uuid.values())

    def find(self, uuid: bytes) -> TaCtx | None:
        ta = self._by_uuid.get(uuid)
        return PseudoTaCtx(ta) if ta else None

"""Sessions and TA contexts, as data. Mirrors core/include/kernel/tee_ta_manager.h."""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass

from optemu.abi import gp
from optemu.secure_world.core.gprof import SampleBuf
from optemu.secure_world.core.param import TaParams
from optemu.secure_world.core.sync import Condvar
from optemu.secure_world.core.thread import Thread

NEVER = 1 << 64
_urefs = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Identity:
    """TEE_Identity: who opened a session. ``uuid`` is 16 octets."""

    login: int
    uuid: bytes


KERN_IDENTITY = Identity(-1, gp.NIL_UUID)
"""The core itself: may do anything with any session."""
NSAPP_IDENTITY = Identity(-2, gp.NIL_UUID)
"""The normal world: may use every session but those opened by TAs."""


class TaCtx(ABC):
    """A loaded TA (struct tee_ta_ctx) and its operations (struct ts_ops)."""

    def __init__(self, uuid: bytes, flags: int) -> None:
        self.uuid = uuid
        self.flags = flags
        self.ref_count = 1
        self.busy = False
        self.busy_cv = Condvar()
        self.panicked = False
        self.panic_code = 0
        self.is_initializing = False
        self.is_releasing = False

    @abstractmethod
    def enter_open_session(self, thread: Thread, session: "Session") -> int: ...

    @abstractmethod
    def enter_invoke_cmd(self, thread: Thread, session: "Session", cmd: int) -> int: ...

    @abstractmethod
    def enter_close_session(self, thread: Thread, session: "Session") -> None: ...

    def dump_mem_stats(self, thread: Thread, session: "Session") -> int:
        """Heap figures into the session's parameters; only user TAs have a heap of their own."""
        return gp.TEE_ERROR_NOT_SUPPORTED

    def stop(self) -> None:
        """From any core: interrupt what the TA executes right now."""

    def release_state(self, thread: Thread) -> None:
        """Give back what a dead context still holds, though sessions still refer to it."""

    def destroy(self, thread: Thread) -> None:
        """The last session is gone."""


class SessionList(dict[int, "Session"]):
    """The sessions one client holds (struct tee_ta_session_head), by id, oldest first."""

    __slots__ = ("last_id",)

    def __init__(self) -> None:
        super().__init__()
        self.last_id = 0

    def new_id(self) -> int:
        """new_session_id: an id not in use; 0 is none."""
        while True:
            self.last_id = (self.last_id + 1) & 0xFFFFFFFF
            if self.last_id and self.last_id not in self:
                return self.last_id


class Session:
    """An open session (struct tee_ta_session)."""

    __slots__ = (
        "cancel",
        "cancel_mask",
        "cancel_time",
        "clnt_id",
        "ctx",
        "err_origin",
        "id",
        "lock_cv",
        "lock_thread",
        "param",
        "ref_count",
        "refc_cv",
        "sbuf",
        "unlink",
        "uref",
        "user_ctx",
    )

    def __init__(self, session_id: int, thread: Thread) -> None:
        self.id = session_id
        self.ctx: TaCtx | None = None
        self.clnt_id = KERN_IDENTITY
        self.cancel = False
        self.cancel_mask = True
        self.cancel_time = NEVER
        """Nanoseconds of the board's counter after which the operation counts as cancelled."""
        self.param: TaParams | None = None
        self.err_origin = gp.TEE_ORIGIN_TEE
        self.ref_count = 1
        self.refc_cv = Condvar()
        self.lock_thread: Thread | None = thread
        self.lock_cv = Condvar()
        self.unlink = False
        self.uref = next(_urefs)
        """What a user TA is told as the session's name; unlike ``id`` unique over all clients."""
        self.sbuf: SampleBuf | None = None
        """Where samples of the TA's program counter go while it has itself profiled."""
        self.user_ctx: object | None = None
        """What a static TA keeps for this session."""

    def is_cancelled(self, now: int) -> bool:
        """tee_ta_session_is_cancelled, at counter ``now`` (ns)."""
        return not self.cancel_mask and (self.cancel or now >= self.cancel_time)

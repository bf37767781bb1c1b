"""A TA that makes any system call with any arguments."""

import struct
from pathlib import Path
from random import Random
from uuid import UUID

from tas.constants import PROBE, PROBE_UUID

from campaigns.campaign import Campaign, edge
from optemu.abi import syscalls as scn
from optemu.machine import Machine
from optemu.normal_world.libteec import TEEC_ERROR_TARGET_DEAD, Session, TeecError, TempMemref, Value

RAW_SYSCALL = PROBE["PROBE_CMD_RAW_SYSCALL"]
_NOT = (scn.TEE_SCN_RETURN, scn.TEE_SCN_WAIT)  # ends the call; waits as long as it is told
_INTERESTING = (0x3FFF_F000, 0x4000_0000, 0x4010_0000, 0x4010_4000, 0x9000_0000, 0xA000_0000, 0xFFFF_F000)


class Syscalls(Campaign):
    """Pointers to the stack, the code, shared memory, the core, and nowhere."""

    name, share = "syscalls", 10

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.context = self.machine.connect()
        self.session: Session | None = None
        self.calls = 0

    def make_machine(self, scratch: Path) -> Machine:
        return Machine(ta_dirs=[scratch])

    def one(self, rng: Random) -> None:
        if self.session is None or self.calls > 200:
            self._close()
            self.session, self.calls = self.context.OpenSession(UUID(PROBE_UUID)), 0
        self.calls += 1
        number = rng.randrange(75) if rng.randrange(20) else edge(rng, 32)
        if number in _NOT:
            return
        raw = struct.pack("<8Q", *[edge(rng, 64, self.secret.base, *_INTERESTING) for _ in range(8)])
        try:
            self.session.invoke(RAW_SYSCALL, Value.input(number), TempMemref.input(raw), Value.output())
        except TeecError as e:
            if e.code == TEEC_ERROR_TARGET_DEAD:
                self._close()
        assert self.machine.tee.threads.busy == 0

    def _close(self) -> None:
        if self.session is not None:
            self.session.CloseSession()
            self.session = None

    def check(self) -> None:
        super().check()
        self._close()
        assert not self.machine.tee.open_sessions
        assert not any(not ctx.flags & 4 for ctx in self.machine.tee.manager.contexts), "a TA was left"

    def close(self) -> None:
        self._close()
        self.context.FinalizeContext()
        super().close()

"""A TA that makes any system call with any arguments."""

import struct
from random import Random
from uuid import UUID

from tas.constants import PROBE, PROBE_UUID

from campaigns.campaign import TaCampaign, edge
from optemu.abi import syscalls as scn
from optemu.normal_world.libteec import TEEC_ERROR_TARGET_DEAD, TeecError, TempMemref, Value

RAW_SYSCALL = PROBE["PROBE_CMD_RAW_SYSCALL"]
_NOT = (scn.TEE_SCN_RETURN, scn.TEE_SCN_WAIT)  # ends the call; waits as long as it is told
_INTERESTING = (0x3FFF_F000, 0x4000_0000, 0x4010_0000, 0x4010_4000, 0x9000_0000, 0xA000_0000, 0xFFFF_F000)


class Syscalls(TaCampaign):
    """Pointers to the stack, the code, shared memory, the core, and nowhere."""

    name, share = "syscalls", 10

    def one(self, rng: Random) -> None:
        if self.session is None or self.calls > 200:
            self.end_session()
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
                self.end_session()
        assert self.machine.tee.threads.busy == 0

    def check(self) -> None:
        super().check()
        assert not any(not ctx.flags & 4 for ctx in self.machine.tee.manager.contexts), "a TA was left"

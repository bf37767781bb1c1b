"""Campaigns of TA images: headers nobody should believe, ELF files that want to hurt."""

from pathlib import Path
from random import Random
from uuid import UUID

from tas.constants import QUIET_UUID

from campaigns.campaign import Campaign, damaged
from optemu import sign
from optemu.abi import shdr
from optemu.abi.optee_smc import OPTEMU_SMC_ABANDON
from optemu.errors import TeeError
from optemu.machine import Machine
from optemu.normal_world.libteec import TeecError, Value

UUID_OCTETS = UUID(QUIET_UUID).bytes


class Headers(Campaign):
    """A signed image with anything changed is refused, or it is the image that was signed."""

    name, share = "headers", 5

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.image = (scratch / f"{QUIET_UUID}.ta").read_bytes()
        self.payload = bytes(self.machine.tee.verify(self.image, UUID_OCTETS).payload)
        self.head = len(self.image) - len(self.payload)

    def one(self, rng: Random) -> None:
        image = self.image
        if rng.randrange(4):
            image = damaged(rng, image[: self.head]) + image[self.head :]
        else:
            image = damaged(rng, image)
        try:
            signed = self.machine.tee.verify(image, UUID_OCTETS)
        except TeeError:
            return
        assert bytes(signed.payload) == self.payload, "an image that nobody signed was believed"


class Elfs(Campaign):
    """ELF files with anything changed, signed by a key that is trusted: loaded and run, or refused."""

    name, share = "elf", 1

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        image = (scratch / f"{QUIET_UUID}.ta").read_bytes()
        self.elf = bytes(self.machine.tee.verify(image, UUID_OCTETS).payload)
        self.key = sign.load_private_key(sign.DEV_KEY)
        self.context = self.machine.connect()

    def make_machine(self, scratch: Path) -> Machine:
        self.directory = scratch / "elf"
        self.directory.mkdir(exist_ok=True)
        return Machine(ta_dirs=[self.directory])

    def one(self, rng: Random) -> None:
        elf = damaged(rng, self.elf)
        if rng.randrange(2):  # where the structure is
            elf = damaged(rng, self.elf[:0x200]) + self.elf[0x200:]
        image = sign.sign_ta(elf, UUID_OCTETS, self.key, shdr.TEE_ALG_RSASSA_PKCS1_V1_5_SHA256)
        (self.directory / f"{QUIET_UUID}.ta").write_bytes(image)
        try:
            with self.context.OpenSession(UUID(QUIET_UUID)) as session:
                session.invoke(0, Value.inout(1))
        except TeecError:
            pass
        tee = self.machine.tee
        assert not tee.open_sessions
        assert not tee.manager.contexts, "a TA was left"
        assert tee.threads.busy == 0

    def late(self) -> None:
        """The damaged code loops for ever, as code may: have it killed, as is done when a client has died."""
        for ctx in list(self.machine.device.contexts):
            for call in list(ctx.calls):
                self.machine.monitor.smc(OPTEMU_SMC_ABANDON, *call.call[1:])

    def check(self) -> None:
        super().check()
        self.machine.tee.user_tas.power_off([])  # or each of the images would stay in memory

    def close(self) -> None:
        self.context.FinalizeContext()
        super().close()

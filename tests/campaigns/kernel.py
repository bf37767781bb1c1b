"""A normal-world kernel that means no good: it owns some pages, and makes any SMC."""

import struct
from random import Random

from campaigns.campaign import SECRET, edge
from optemu.abi import optee_msg
from optemu.abi import optee_smc as smc
from optemu.machine import Machine

PAGE = 4096
MOST_RPCS = 5000
_HEAD = optee_msg.MSG_ARG
_PARAM = optee_msg.MSG_PARAM
_META_VALUE = optee_msg.OPTEE_MSG_ATTR_META | optee_msg.OPTEE_MSG_ATTR_TYPE_VALUE_INPUT
_PAGES_OUT = optee_msg.OPTEE_MSG_ATTR_TYPE_TMEM_OUTPUT | optee_msg.OPTEE_MSG_ATTR_NONCONTIG


class Kernel:
    """``pages`` are its own; it knows where secure memory lies, and would like to have it."""

    def __init__(self, machine: Machine, secret_pa: int) -> None:
        self.machine = machine
        self.smc = machine.monitor.smc
        self.region = machine.board.memory.allocate(8 * PAGE, secure=False)
        self.pages = tuple(range(self.region.base, self.region.base + self.region.size, PAGE))
        self.addresses = (*self.pages, secret_pa, secret_pa + PAGE, self.region.base + self.region.size)
        self.cookies = (0x1000, 0x2000, 0xFFFF_8000_0000_0000)

    def write(self, page: int, data: bytes) -> None:
        at = page * PAGE
        self.region.view[at : at + len(data)] = data

    def call(self, rng: Random, a0: int, a1: int, a2: int, a3: int = 0) -> int:
        """A standard call to its end: every RPC is answered with rubbish."""
        r0, r1, r2, r3, *_ = self.smc(a0, a1, a2, a3)
        for _ in range(MOST_RPCS):
            if not smc.is_rpc(r0):
                break
            if rng.randrange(4) == 0 and r0 == smc.OPTEE_SMC_RETURN_RPC_CMD:
                self._scribble(rng)
            answer = [edge(rng, 64, *self.addresses, *self.cookies) for _ in range(4)]
            if rng.randrange(2):
                page = rng.choice(self.pages)
                answer = [page >> 32, page & 0xFFFFFFFF, 0, rng.choice(self.cookies) & 0xFFFFFFFF]
            number = r3 if rng.randrange(8) else edge(rng, 64)
            r0, r1, r2, r4, *_ = self.smc(
                smc.OPTEE_SMC_CALL_RETURN_FROM_RPC, answer[0], answer[1], number, answer[2], answer[3]
            )
            if r0 == smc.OPTEE_SMC_RETURN_ERESUME:
                r0, r1, r2, r4, *_ = self.smc(smc.OPTEE_SMC_CALL_RETURN_FROM_RPC, 0, 0, r3)
            r3 = r4 if smc.is_rpc(r0) else r3
        assert not smc.is_rpc(r0), "the secure world asks and asks"
        self.expect_no_secret()
        return r0

    def _scribble(self, rng: Random) -> None:
        at = rng.randrange(self.region.size - 64)
        self.region.view[at : at + 64] = rng.randbytes(64)

    def expect_no_secret(self) -> None:
        """Nothing of the secure world's in our pages."""
        assert SECRET[:16] not in bytes(self.region.view), "secure memory was read"

    def message(self, rng: Random, cmd: int, session: int, uuids: tuple[bytes, ...]) -> bytes:
        """A message as it should be, with up to three of its words replaced."""
        params: list[tuple[int, int, int, int]] = []
        if cmd == optee_msg.OPTEE_MSG_CMD_OPEN_SESSION:
            uuid = struct.unpack("<QQ", rng.choice(uuids))
            params = [(_META_VALUE, *uuid, 0), (_META_VALUE, 0, 0, 0)]
        if cmd in (optee_msg.OPTEE_MSG_CMD_OPEN_SESSION, optee_msg.OPTEE_MSG_CMD_INVOKE_COMMAND):
            params += [self._param(rng) for _ in range(rng.randrange(5))]
        elif cmd == optee_msg.OPTEE_MSG_CMD_REGISTER_SHM:
            params = [(_PAGES_OUT, rng.choice(self.pages[:2]), rng.choice((1, PAGE, 3 * PAGE)), self.cookies[1])]
        elif cmd == optee_msg.OPTEE_MSG_CMD_UNREGISTER_SHM:
            params = [(optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT, 0, 0, rng.choice(self.cookies))]
        message = bytearray(_HEAD.pack(cmd, rng.randrange(5), session, 0, 0, 0, 0, len(params)))
        message += b"".join(_PARAM.pack(*p) for p in params)
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            size = rng.choice((4, 8))
            at = rng.randrange(0, len(message), size)
            value = edge(rng, 8 * size, *self.addresses, *self.cookies, *range(12))
            message[at : at + size] = value.to_bytes(size, "little")
        return bytes(message)

    def _param(self, rng: Random) -> tuple[int, int, int, int]:
        kind = rng.choice((1, 2, 3, 5, 6, 7, 9, 10, 11))
        if kind >= 9 and rng.randrange(2):
            return kind, 0, 0, 0
        if kind >= 9:
            attr = kind | optee_msg.OPTEE_MSG_ATTR_NONCONTIG
            return attr, rng.choice(self.pages[:2]) + rng.choice((0, 8)), rng.choice((1, 100, PAGE)), 0x77
        if kind >= 5:
            return kind, rng.randrange(PAGE), rng.randrange(PAGE), self.cookies[0]
        return kind, edge(rng, 32), edge(rng, 32), 0

    def page_list(self, rng: Random, count: int) -> None:
        """Page 0 and 1: a list of page addresses that ends in another page, in itself, or nowhere."""
        entries = [rng.choice(self.pages) if rng.randrange(12) else edge(rng, 64, *self.addresses) for _ in range(511)]
        if rng.randrange(2):
            entries[: min(count, 511)] = [self.pages[n % 8] for n in range(min(count, 511))]
        link = rng.choice((self.pages[1], self.pages[0], edge(rng, 64, *self.addresses)))
        self.write(rng.randrange(2), struct.pack("<512Q", *entries, link))

"""TAs that do what they must not, images nobody should believe, clients that die."""

import gc
import logging
import os
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tas.constants import PROBE, PROBE_UUID, QUIET_UUID

from optemu import sign
from optemu.machine import Machine
from optemu.normal_world.gate import Gate
from optemu.normal_world.libteec import (
    TEEC_ERROR_TARGET_DEAD,
    TEEC_ORIGIN_TEE,
    Context,
    Session,
    TeecError,
    TempMemref,
    Value,
)

UNTIL_DEAD = [
    "WRITE_NULL",
    "WRITE_RODATA",
    "WRITE_CODE",
    "JUMP_NULL",
    "JUMP_HEAP",
    "RECURSE",
    "UNDEFINED",
    "BREAKPOINT",
]


def command(name: str) -> int:
    return PROBE["PROBE_CMD_" + name]


def outcome(session: Session, cmd: int, *params: object) -> tuple[int, int]:
    try:
        session.invoke(cmd, *params)  # type: ignore[arg-type]
    except TeecError as e:
        return e.code, e.origin
    return 0, 4


@pytest.fixture
def dump(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("optemu.ta")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("name", [*UNTIL_DEAD, "PANIC"])
def test_a_ta_that_dies(context: Context, probe_uuid: UUID, dump: pytest.LogCaptureFixture, name: str) -> None:
    """TARGET_DEAD from the TEE, for this call and the next; a new session gets a new TA; the log says where."""
    session = context.OpenSession(probe_uuid)
    params = (Value.input(0xABCD),) if name == "PANIC" else ()
    assert outcome(session, command(name), *params) == (TEEC_ERROR_TARGET_DEAD, TEEC_ORIGIN_TEE)
    assert outcome(session, command("RETURN"), Value.input(0)) == (TEEC_ERROR_TARGET_DEAD, TEEC_ORIGIN_TEE)
    session.CloseSession()
    with context.OpenSession(probe_uuid) as again:
        assert outcome(again, command("RETURN"), Value.input(0)) == (0, 4)
    log = dump.text
    head = r"TA panicked with code 0xabcd" if name == "PANIC" else r"User mode [a-z]+(-abort)? at address 0x[0-9a-f]+"
    assert re.search(head, log)
    assert re.search(r"region +[0-9]+: va 0x[0-9a-f]+ pa 0x[0-9a-f]+ size 0x[0-9a-f]+ flags [r-][w-][x-]s", log)
    assert re.search(r"\[0\] " + str(probe_uuid) + r" @ 0x[0-9a-f]+", log)
    assert re.search(r"Call stack:\n.* 0x[0-9a-f]+", log)


@pytest.mark.parametrize("number", range(75))
def test_wild_pointers_to_every_syscall(context: Context, probe_uuid: UUID, number: int) -> None:
    """Every argument of every syscall out of the TA's memory: an error or a panic, never more."""
    if number in (0, 12):  # ends the call; waits as long as it is told
        return
    for wild in (0, 1, 0x1000, 0x4010_0000, 0xFFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFF0):
        session = context.OpenSession(probe_uuid)
        result = Value.output()
        code, origin = outcome(
            session,
            command("RAW_SYSCALL"),
            Value.input(number),
            TempMemref.input(struct.pack("<8Q", *[wild] * 8)),
            result,
        )
        assert (code, origin) in ((0, 4), (TEEC_ERROR_TARGET_DEAD, TEEC_ORIGIN_TEE))
        session.CloseSession()
    with context.OpenSession(probe_uuid) as alive:
        assert outcome(alive, command("RETURN"), Value.input(0)) == (0, 4)


def _opens(image: bytes, directory: Path, uuid: str = QUIET_UUID) -> int:
    (directory / f"{uuid}.ta").write_bytes(image)
    with Machine(ta_dirs=[directory]) as m, m.connect() as c:
        try:
            c.OpenSession(UUID(uuid)).CloseSession()
        except TeecError as e:
            assert e.origin == TEEC_ORIGIN_TEE
            assert not m.tee.user_tas._images, "something was mapped"
            assert not m.tee.manager.contexts
            return e.code
    return 0


def test_every_flipped_byte_is_refused(built: Path, tmp_path: Path) -> None:
    """One machine, one bit at a time over the whole image; refused before anything is mapped."""
    image = (built / f"{QUIET_UUID}.ta").read_bytes()
    assert _opens(image, tmp_path) == 0
    path = tmp_path / f"{QUIET_UUID}.ta"
    with Machine(ta_dirs=[tmp_path]) as m:
        from optemu.errors import TeeError

        for at in range(len(image)):
            flipped = bytearray(image)
            flipped[at] ^= 1 << at % 8
            with pytest.raises(TeeError):
                m.tee.verify(bytes(flipped), UUID(QUIET_UUID).bytes)
    # The same through the whole road, here and there.
    for at in range(0, len(image), len(image) // 7):
        flipped = bytearray(image)
        flipped[at] ^= 0x80
        path.unlink()
        assert _opens(bytes(flipped), tmp_path) != 0


@pytest.mark.parametrize("size", [0, 1, 19, 20, 100, 600, 2000])
def test_truncated_images_are_refused(built: Path, tmp_path: Path, size: int) -> None:
    assert _opens((built / f"{QUIET_UUID}.ta").read_bytes()[:size], tmp_path) != 0


def _signed(elf: bytes) -> bytes:
    return sign.sign_ta(elf, UUID(QUIET_UUID).bytes, sign.load_private_key(sign.DEV_KEY))


def _elf_of(image: bytes) -> bytearray:
    return bytearray(image[image.index(b"\x7fELF") :])


def _damage(elf: bytearray, what: str) -> None:
    phdr = struct.unpack_from("<Q", elf, 32)[0]
    if what == "machine":
        struct.pack_into("<H", elf, 18, 62)
    elif what == "huge":
        struct.pack_into("<Q", elf, phdr + 40, 1 << 40)
    elif what == "negative":
        struct.pack_into("<Q", elf, phdr + 16, (1 << 64) - 4096)
    elif what == "overlap":
        struct.pack_into("<Q", elf, phdr + 56 + 16, 0)
    elif what == "offset":
        struct.pack_into("<Q", elf, phdr + 8, 1 << 62)
    elif what == "entry":
        struct.pack_into("<Q", elf, 24, 0xDEAD_0000)
    elif what == "truncated":
        del elf[200:]


BAD_FORMAT, LDELF_PANIC = 0xFFFF0005, 0xFFFF0000


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("machine", BAD_FORMAT),
        ("huge", LDELF_PANIC),
        ("negative", LDELF_PANIC),
        ("overlap", LDELF_PANIC),
        ("offset", LDELF_PANIC),
        ("entry", BAD_FORMAT),
        ("truncated", BAD_FORMAT),
    ],
)
def test_signed_but_broken_elf_files(built: Path, tmp_path: Path, what: str, expected: int) -> None:
    """Our own key is no reason to believe an ELF file."""
    elf = _elf_of((built / f"{QUIET_UUID}.ta").read_bytes())
    assert _opens(_signed(bytes(elf)), tmp_path) == 0
    (tmp_path / f"{QUIET_UUID}.ta").unlink()
    _damage(elf, what)
    assert _opens(_signed(bytes(elf)), tmp_path) == expected


def _leftovers(m: Machine) -> tuple[int, int, int, int, int]:
    return (
        len(m.tee.open_sessions),
        len(m.tee.manager.contexts),
        sum(1 for ctx in m.device.contexts if not ctx.privileged),
        m.device.shm_count(),
        m.tee.threads.busy,
    )


@pytest.mark.parametrize("where", ["open", "LOOP", "WAIT", "ECHO", "idle"])
def test_a_client_that_is_killed_leaves_nothing(built: Path, tmp_path: Path, where: str) -> None:
    """SIGKILL at several points of several calls: the server lives, and nothing of the client stays."""
    ready = tmp_path / "ready"
    code = f"""
import sys; sys.path[:] = {[*sys.path]!r}
import os, time, uuid
from optemu.normal_world.libteec import Context, Value, TempMemref
from optemu.normal_world.device import KernelDevice
c = Context(KernelDevice("/dev/tee0")); shm = c.AllocateSharedMemory(65536)
def opened(): return c.OpenSession(uuid.UUID({PROBE_UUID!r}))
where = {where!r}
s = opened() if where != "open" else None
open({str(ready) + ".new"!r}, "w").write(str(os.getpid())); os.rename({str(ready) + ".new"!r}, {str(ready)!r})
while True:
    if where == "open": opened().CloseSession()
    elif where == "LOOP": s.invoke({command("LOOP")})
    elif where == "WAIT": s.invoke({command("WAIT")}, Value.input(600000, 1))
    elif where == "ECHO": s.invoke({command("ECHO")}, TempMemref.inout(bytearray(10000)))
    else: time.sleep(1)
"""
    with Machine(ta_dirs=[built]) as m, Gate(m.device) as gate:
        killer = threading.Thread(target=_kill_when_ready, args=(ready,))
        killer.start()
        assert gate.run([sys.executable, "-c", code]) == -9
        killer.join()
        deadline = time.monotonic() + 20
        while _leftovers(m) != (0, 0, 0, 0, 0) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert _leftovers(m) == (0, 0, 0, 0, 0)
        with m.connect() as c, c.OpenSession(UUID(PROBE_UUID)) as session:
            assert outcome(session, command("RETURN"), Value.input(0)) == (0, 4)


def _kill_when_ready(ready: Path) -> None:
    """The file holds the process id; the client has begun when it is there."""
    deadline = time.monotonic() + 20
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(int(ready.read_text()), 9)


def test_machines_leave_nothing_behind(built: Path) -> None:
    def count() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    def cycle() -> None:
        with Machine(ta_dirs=[built]) as m, m.connect() as c, c.OpenSession(UUID(PROBE_UUID)) as session:
            session.invoke(command("ECHO"), TempMemref.inout(bytearray(5000)))

    cycle()
    before = count()
    for _ in range(3):
        cycle()
    assert count() == before


def test_upstreams_numbers_for_the_device(built: Path) -> None:
    """/dev/tee0 answers TEE_IOC_VERSION to any program."""
    code = "import os,fcntl; fd=os.open('/dev/tee0',2); print(fcntl.ioctl(fd,0x800CA400,bytes(12)).hex())"
    done = subprocess.run(
        [sys.executable, "-m", "optemu", "run", "--", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "010000000100000009000000"

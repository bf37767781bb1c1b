"""From a UUID to an instance: what the normal world may answer when it is asked for an image."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from core_fakes import PAGE, Recorder, Threads, fake_engines, image, shared

from optemu.abi import gp
from optemu.board.board import Board
from optemu.errors import TeeError
from optemu.secure_world.core import ldelf_loader
from optemu.secure_world.core.mobj import Mobj
from optemu.secure_world.core.param import TaParams
from optemu.secure_world.core.session import Identity, SessionList
from optemu.secure_world.core.ta_store import MAX_IMAGE_SIZE, rpc_load
from optemu.secure_world.core.tee import Tee
from optemu.secure_world.core.thread import RpcParam

UUID = bytes(range(16))
IMAGE = b"signed image" * 1000
PUBLIC = Identity(gp.TEE_LOGIN_PUBLIC, gp.NIL_UUID)
Answer = tuple[int, int]
"""A TEE_Result, and the size the normal world claims."""


class Storing:
    """A secure thread whose normal world has IMAGE; ``answers`` are for its first and its second request."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.board = Board()
        self.requests: list[tuple[int, int, int, int | None]] = []
        self.lent: list[Mobj] = []
        self.freed: list[Mobj] = []
        self.content = IMAGE

    def rpc_cmd(self, cmd: int, params: list[RpcParam]) -> int:
        uuid, memory = params
        assert (cmd, uuid.attr, memory.attr) == (0, 1, 6)
        size = memory.b if memory.mobj is not None else None
        self.requests.append((uuid.a, uuid.b, memory.a, size))
        if memory.mobj is not None:
            memory.mobj.write(0, self.content[: memory.mobj.size])
        ret, memory.b = self.answers.pop(0)
        return ret

    def rpc_alloc(self, size: int) -> Mobj:
        self.lent.append(shared(self.board.memory, size))
        return self.lent[-1]

    def rpc_free_mobj(self, mobj: Mobj) -> None:
        self.freed.append(mobj)


def load(*answers: Answer) -> tuple[Any, Storing]:
    """What rpc_load comes to: the bytes, or the code of the error."""
    thread = Storing(*answers)
    try:
        return rpc_load(thread, UUID), thread  # type: ignore[arg-type]
    except TeeError as e:
        return e.code, thread


def test_its_size_first_and_then_its_bytes() -> None:
    size = len(IMAGE)
    got, thread = load((0, size), (0, size))
    assert got == IMAGE
    low, high = int.from_bytes(UUID[:8], "little"), int.from_bytes(UUID[8:], "little")
    assert thread.requests == [(low, high, 0, None), (low, high, 0, size)]
    assert thread.freed == thread.lent


def test_the_copy_is_ours() -> None:
    got, thread = load((0, 100), (0, 100))
    thread.lent[0].write(0, bytes(100))
    assert got == IMAGE[:100]


@pytest.mark.parametrize("code", [gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_COMMUNICATION, 0x1234])
def test_what_it_cannot_give(code: int) -> None:
    got, thread = load((code, 0))
    assert (got, thread.lent) == (code, [])
    got, thread = load((0, 100), (code, 100))
    assert got == code
    assert thread.freed == thread.lent != []


def test_sizes_nobody_should_believe() -> None:
    for size in (MAX_IMAGE_SIZE + 1, (1 << 64) - 1):
        got, thread = load((0, size))
        assert (got, thread.lent) == (gp.TEE_ERROR_OUT_OF_MEMORY, []), "refused before memory is asked for"
    for size in (101, (1 << 64) - 1):
        got, thread = load((0, 100), (0, size))
        assert got == gp.TEE_ERROR_SHORT_BUFFER
        assert thread.freed == thread.lent
    assert load((0, 100), (0, 60))[0] == IMAGE[:60], "shorter than it said: whoever verifies it will see"


# --- what a session makes of it -----------------------------------------------------------------------------------------


class NoRecords:
    """No TA is installed in secure storage, and no version was seen yet."""

    def open(self, thread: Any, uuid: bytes) -> Any:
        raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)

    def check_update_versions(self, thread: Any, image: Any) -> None: ...


@pytest.fixture
def tee(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tee]:
    """Images are believed when they are IMAGE, and are ELF files of the TA that ``uuid_of`` says."""
    with fake_engines():
        tee = Tee(Board(trace=Recorder()), ())

        def verify(raw: bytes, uuid: bytes) -> Any:
            if raw != IMAGE:
                raise TeeError(gp.TEE_ERROR_SECURITY, "wrong signature")
            return SimpleNamespace(hash=b"hash", payload=raw)

        monkeypatch.setattr(tee, "verify", verify)
        monkeypatch.setattr(tee, "ta_records", NoRecords())
        monkeypatch.setattr(ldelf_loader, "map_elf", lambda payload: SimpleNamespace(needed=(), uuid=b""))
        monkeypatch.setattr(ldelf_loader, "load_modules", lambda modules, gap: image(tee, UUID).elf)
        yield tee


def opening(tee: Tee, storing: Storing) -> tuple[int, int, int]:
    def call(thread: Any) -> tuple[int, int, int]:
        for name in ("rpc_cmd", "rpc_alloc", "rpc_free_mobj"):
            setattr(thread, name, getattr(storing, name))
        return tee.manager.open_session(thread, SessionList(), UUID, PUBLIC, 0xFFFFFFFF, TaParams())

    result: tuple[int, int, int] = Threads().start(call).result
    return result


def test_an_image_is_loaded_once(tee: Tee, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    load: Callable[..., Any] = ldelf_loader.load_modules
    monkeypatch.setattr(
        ldelf_loader, "load_modules", lambda modules, gap: loaded.append(len(modules)) or load(modules, gap)
    )
    size = len(IMAGE)
    for _ in range(3):
        assert opening(tee, Storing((0, size), (0, size)))[0] == 0
    assert loaded == [1], "fetched and verified each time, mapped once"
    assert len(tee.manager.contexts) == 3
    tee.user_tas.power_off(tee.manager.contexts)
    assert tee.user_tas.idle_instances == 0


@pytest.mark.parametrize(
    ("answers", "content", "code"),
    [
        ([(gp.TEE_ERROR_ITEM_NOT_FOUND, 0)], IMAGE, gp.TEE_ERROR_ITEM_NOT_FOUND),
        ([(0, len(IMAGE)), (0, len(IMAGE))], IMAGE[:-1] + b"x", gp.TEE_ERROR_SECURITY),
        ([(0, 10), (0, 10)], IMAGE, gp.TEE_ERROR_SECURITY),
    ],
)
def test_images_that_do_not_become_a_ta(tee: Tee, answers: list[Answer], content: bytes, code: int) -> None:
    storing = Storing(*answers)
    storing.content = content
    used = tee.board.memory.count(secure=True)
    assert opening(tee, storing) == (code, gp.TEE_ORIGIN_TEE, 0)
    assert tee.manager.contexts == []
    assert tee.board.memory.count(secure=True) == used


def test_a_board_without_memory_left(tee: Tee) -> None:
    size = len(IMAGE)
    window = tee.board.memory._windows[True]
    for left in (0, 2 * PAGE):  # for nothing at all; for the code, but for no instance
        window.end = window.next + left
        assert opening(tee, Storing((0, size), (0, size)))[0] == gp.TEE_ERROR_OUT_OF_MEMORY
        assert tee.manager.contexts == []
    window.end = window.next + 100 * PAGE
    assert opening(tee, Storing((0, size), (0, size)))[0] == 0


def test_an_image_under_the_name_of_another(
    tee: Tee, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As upstream: what is signed decides, and here nothing that is signed names the TA."""
    monkeypatch.setattr(ldelf_loader, "load_modules", lambda modules, gap: image(tee, bytes(PAGE)[:16]).elf)
    size = len(IMAGE)
    assert opening(tee, Storing((0, size), (0, size)))[0] == 0
    assert f"TA {gp.uuid_str(UUID)} calls itself 00000000-0000" in caplog.text

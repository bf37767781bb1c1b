"""Memory objects over the normal world's pages, and page lists that nobody should believe."""

import struct

import pytest
from core_fakes import PAGE, page_list
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi.optee_msg import PAGELIST_ENTRIES_PER_PAGE
from optemu.board.memory import PhysicalMemory, Region
from optemu.secure_world.core import mobj as room
from optemu.secure_world.core.mobj import MAX_SHM_PAGES, Mobj, Run, ShmRegistry, nsec_runs, read_page_list


class Board:
    """Two regions of non-secure memory and one of secure memory."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory()
        self.shm = ShmRegistry(self.memory)
        self.a = self.memory.allocate(4 * PAGE, secure=False)
        self.b = self.memory.allocate(2 * PAGE, secure=False)
        self.memory.free(self.memory.allocate(8 * PAGE, secure=False))  # nothing near: page lists come behind it
        self.secure = self.memory.allocate(2 * PAGE, secure=True)

    def object(self, pages: list[int], size: int, offset: int = 0, cookie: int = 1) -> Mobj | None:
        listed = page_list(self.memory, pages)
        try:
            return self.shm.from_noncontig(listed.base | offset, size, cookie)
        finally:
            self.memory.free(listed)


@pytest.fixture
def board() -> Board:
    return Board()


def pages(region: Region, *numbers: int) -> list[int]:
    return [region.base + n * PAGE for n in numbers]


def test_contiguous_pages_are_one_view(board: Board) -> None:
    mobj = board.object(pages(board.a, 1, 2), PAGE + 100, 0x80)
    assert mobj is not None
    assert [(r.pa, r.size) for r in mobj.runs] == [(board.a.base + PAGE, 2 * PAGE)]
    assert mobj.view is not None
    mobj.view[:4] = b"test"
    assert bytes(board.a.view[PAGE + 0x80 : PAGE + 0x84]) == b"test"
    assert len(mobj.view) == mobj.size == PAGE + 100


def test_scattered_pages_are_runs(board: Board) -> None:
    order = pages(board.a, 3, 0, 1) + pages(board.b, 1)
    mobj = board.object(order, 4 * PAGE)
    assert mobj is not None
    assert [r.size for r in mobj.runs] == [PAGE, 2 * PAGE, PAGE]
    assert mobj.view is None
    data = bytes(n % 253 for n in range(4 * PAGE))
    mobj.write(0, data)
    assert mobj.read(0, 4 * PAGE) == data
    assert bytes(board.a.view[3 * PAGE :]) == data[:PAGE]
    assert bytes(board.b.view[PAGE:]) == data[3 * PAGE :]


def test_regions_side_by_side_are_still_two_runs(board: Board) -> None:
    """Physical addresses that follow each other across regions are not memory that does."""
    first, second = Region(0x5000_0000, board.a.mem, False), Region(0x5000_4000, board.b.mem, False)
    window = board.memory._windows[False]
    for region in (first, second):
        window.regions[region.base] = region
        window.bases.append(region.base)
    runs = nsec_runs(board.memory, (first.base + 3 * PAGE, second.base))
    assert runs is not None
    assert [(r.region, r.size) for r in runs] == [(first, PAGE), (second, PAGE)]


def test_the_offset_decides_how_many_pages(board: Board) -> None:
    assert board.object(pages(board.a, 0), PAGE) is not None
    assert board.object(pages(board.a, 0), PAGE - 1, 1) is not None
    listed = page_list(board.memory, [*pages(board.a, 0), 0])
    assert board.shm.from_noncontig(listed.base | 1, PAGE, 1) is None, "a second page, which is none"


@pytest.mark.parametrize("count", [1, PAGELIST_ENTRIES_PER_PAGE, PAGELIST_ENTRIES_PER_PAGE + 1, 1200])
def test_lists_go_on_in_the_next_page(board: Board, count: int) -> None:
    many = [board.a.base + n % 4 * PAGE for n in range(count)]
    assert read_page_list(board.memory, page_list(board.memory, many).base, count) == tuple(many)


@pytest.mark.parametrize("wrong", ["unaligned", "secure", "nowhere", "guard", "high"])
def test_a_page_that_is_none_spoils_the_list(board: Board, wrong: str) -> None:
    bad = {
        "unaligned": board.a.base + PAGE + 8,
        "secure": board.secure.base,
        "nowhere": 0,
        "guard": board.a.base + board.a.size,
        "high": (1 << 64) - PAGE,
    }[wrong]
    for at in range(3):
        some = pages(board.a, 0, 1)
        some.insert(at, bad)
        assert board.object(some, 3 * PAGE) is None


def test_lists_that_lie_where_they_must_not(board: Board) -> None:
    for where in (0, board.secure.base, board.a.base + board.a.size, (1 << 64) - PAGE):
        assert board.shm.from_noncontig(where, PAGE, 1) is None
        assert read_page_list(board.memory, where + 8, 1) is None


def test_lists_that_go_on_where_they_must_not(board: Board) -> None:
    count = PAGELIST_ENTRIES_PER_PAGE + 1
    many = [board.a.base] * count
    listed = page_list(board.memory, many)
    struct.pack_into(
        "<512Q", listed.view, PAGE, *[board.a.base] * 512
    )  # a page of the list wherever one begins to read
    for beyond in (0, listed.base + PAGE + 8, listed.base + PAGE - 8, board.secure.base):
        struct.pack_into("<Q", listed.view, PAGE - 8, beyond)
        assert board.shm.from_noncontig(listed.base, count * PAGE, 1) is None


def test_sizes_that_cannot_be(board: Board) -> None:
    listed = page_list(board.memory, pages(board.a, 0)).base
    for size in (0, MAX_SHM_PAGES * PAGE + 1, (1 << 64) - 1, 1 << 63):
        assert board.shm.from_noncontig(listed, size, 1) is None
    assert board.shm.from_noncontig(listed, PAGE, 0) is None, "0 names nothing"


def test_a_list_in_a_circle_ends(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next page is itself: it is read as often as its size says, and no more."""
    circle = board.memory.allocate(PAGE, secure=False)
    struct.pack_into("<512Q", circle.view, 0, *[board.a.base] * 511, circle.base)
    count = 3 * PAGELIST_ENTRIES_PER_PAGE
    mobj = board.shm.from_noncontig(circle.base, count * PAGE, 1)
    assert mobj is not None
    assert len(mobj.runs) == count
    monkeypatch.setattr(room, "MAX_SHM_PAGES", count - 1)
    assert board.shm.from_noncontig(circle.base, count * PAGE, 1) is None


_WORDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abs"), st.integers(-1, 4), st.sampled_from([0, 0, 0, 1, 8, 4095])),
        st.tuples(st.just("x"), st.integers(0, (1 << 64) - 1), st.just(0)),
    ),
    max_size=6,
)


@given(_WORDS, st.integers(-10, 6 * PAGE), st.integers(0, PAGE - 1))
def test_any_page_list(words: list[tuple[str, int, int]], size: int, offset: int) -> None:
    """An object comes out exactly when every page it needs is one of ours; and it reads as those pages do."""
    board = Board()
    bases = {"a": board.a.base, "b": board.b.base, "s": board.secure.base, "x": 0}
    listed = [(bases[r] + (n if r == "x" else n * PAGE) + low) & (1 << 64) - 1 for r, n, low in words]
    for region, byte in ((board.a, 0xA0), (board.b, 0xB0)):
        for n in range(region.size // PAGE):
            region.view[n * PAGE : (n + 1) * PAGE] = bytes([byte + n]) * PAGE
    real = {page: 0xA0 + n for n, page in enumerate(pages(board.a, 0, 1, 2, 3))}
    real |= {page: 0xB0 + n for n, page in enumerate(pages(board.b, 0, 1))}
    mobj = board.object([*listed, 0], size, offset)
    needed = (listed + [0] * 10)[: -(-(offset + size) // PAGE)] if size > 0 else [0]
    if all(page in real for page in needed):
        assert mobj is not None
        whole = b"".join(bytes([real[page]]) * PAGE for page in needed)
        assert mobj.read(0, size) == whole[offset : offset + size]
    else:
        assert mobj is None


_CUTS = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@given(_CUTS, st.integers(0, 100), st.integers(-2, 3 * PAGE), st.integers(-2, 3 * PAGE))
def test_views_and_copies_agree(cuts: list[int], offset: int, at: int, length: int) -> None:
    memory = PhysicalMemory()
    regions = [memory.allocate(n * PAGE, secure=False) for n in cuts]
    size = sum(cuts) * PAGE - offset - 7
    mobj = Mobj(tuple(Run(r, r.base, r.size) for r in regions), offset, size, 1)
    content = bytes(n * 31 % 251 for n in range(size))
    mobj.write(0, content)
    view = mobj.get_va(at, length)
    if at < 0 or length < 0 or at + length > size:
        assert view is None
        return
    assert mobj.read(at, length) == content[at : at + length]
    if view is not None:
        assert bytes(view) == content[at : at + length]
    else:
        borders = [sum(cuts[:n]) * PAGE - offset for n in range(1, len(cuts))]
        assert any(at < border < at + length for border in borders), "refused though it is in one piece"


# --- the registry -----------------------------------------------------------------------------------------------------


def test_a_cookie_names_one_object(board: Board) -> None:
    first, second = board.object(pages(board.a, 0), 10), board.object(pages(board.b, 0), 10)
    assert first is not None
    assert second is not None
    assert board.shm.register(first)
    assert not board.shm.register(second)
    assert board.shm.get_by_cookie(1) is first
    assert len(board.shm) == 1
    assert board.shm.release_by_cookie(1)
    assert not board.shm.release_by_cookie(1)
    assert board.shm.get_by_cookie(1) is None
    first.write(0, b"still here")
    assert board.shm.register(second)


def test_single_pages_are_not_registered(board: Board) -> None:
    mobj = board.shm.single_page(board.a.base + PAGE, 9)
    assert mobj is not None
    assert (mobj.size, mobj.cookie, len(board.shm)) == (PAGE, 9, 0)
    for pa in (board.a.base + 1, board.secure.base, 0):
        assert board.shm.single_page(pa) is None

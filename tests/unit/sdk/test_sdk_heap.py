"""The heap under random use, and under abuse."""

from pathlib import Path

import pytest
from guest import Guest, Panicked
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

HEAP = "ta_malloc_heap"


def make_heap(guest: Guest) -> None:
    guest.call("heap_init", guest.symbols[HEAP], guest.symbols["ta_heap"], 8192)


class Heap(RuleBasedStateMachine):
    """Every block keeps the bytes it was given, blocks are disjoint and aligned, and freeing all gives all back."""

    guest: Guest

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[int, bytes] = {}
        self.stamp = 0
        make_heap(self.guest)
        self.everything = self.largest()

    def largest(self) -> int:
        """The biggest block there is: by bisection."""
        low, high = 0, 9000
        while low < high:
            mid = (low + high + 1) // 2
            p = self.guest.call("malloc", mid)
            if p:
                self.guest.call("free", p)
                low = mid
            else:
                high = mid - 1
        return low

    def fill(self, p: int, size: int) -> None:
        self.stamp = self.stamp % 255 + 1
        self.blocks[p] = bytes([self.stamp]) * size
        self.guest.write(p, self.blocks[p])

    @rule(size=st.one_of(st.integers(0, 200), st.integers(0, 4000)))
    def malloc(self, size: int) -> None:
        p = self.guest.call("malloc", size)
        if p:
            assert p % 16 == 0
            self.fill(p, size)

    @rule(n=st.sampled_from([1, 7, 2**61, 2**64 - 1]), size=st.integers(0, 100))
    def calloc(self, n: int, size: int) -> None:
        p = self.guest.call("calloc", n, size)
        if p:
            assert self.guest.read(p, n * size) == bytes(n * size)
            self.fill(p, n * size)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data(), size=st.integers(0, 3000))
    def realloc(self, data: st.DataObject, size: int) -> None:
        old = data.draw(st.sampled_from(sorted(self.blocks)))
        p = self.guest.call("realloc", old, size)
        if not p:
            return
        kept = self.blocks.pop(old)[:size]
        assert self.guest.read(p, len(kept)) == kept
        self.fill(p, size)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        p = data.draw(st.sampled_from(sorted(self.blocks)))
        del self.blocks[p]
        self.guest.call("free", p)

    @precondition(lambda self: self.blocks)
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        p = data.draw(st.sampled_from(sorted(self.blocks)))
        heap, size = self.guest.symbols[HEAP], len(self.blocks[p])
        assert self.guest.call("heap_within_allocated", heap, p, size) & 1
        assert not self.guest.call("heap_within_allocated", heap, p, 8192) & 1
        assert not self.guest.call("heap_within_allocated", heap, p - 1, 1) & 1
        assert self.guest.call("heap_overlaps", heap, p, 1) & 1

    @invariant()
    def contents_hold(self) -> None:
        for p, content in self.blocks.items():
            assert self.guest.read(p, len(content)) == content

    def teardown(self) -> None:
        for p in self.blocks:
            self.guest.call("free", p)
        assert self.largest() == self.everything


def test_random_use(runtime_elf: Path) -> None:
    Heap.guest = Guest(runtime_elf)
    Heap.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
    Heap.TestCase("runTest").runTest()


def test_too_much_is_refused(guest: Guest) -> None:
    make_heap(guest)
    for size in (9000, 2**32, 2**63, 2**64 - 1, 2**64 - 16):
        assert guest.call("malloc", size) == 0
    assert guest.call("calloc", 2**33, 2**33) == 0


@pytest.mark.parametrize("name", ["free", "realloc"])
def test_abuse_ends_in_a_panic(guest: Guest, name: str) -> None:
    make_heap(guest)
    a, b = guest.call("malloc", 40), guest.call("malloc", 40)
    guest.call("free", a)
    for bad in (a, a + 8, b + 16, b - 8, 0x10, guest.symbols["ta_heap"], guest.symbols["TEE_Free"]):
        with pytest.raises(Panicked):
            guest.call(name, bad, 10)
    c = guest.call("malloc", 40)
    guest.write(c, b"A" * 100)  # overruns into the next header
    with pytest.raises(Panicked):
        guest.call(name, c, 10)


def test_empty_blocks_and_hints(guest: Guest) -> None:
    make_heap(guest)
    no_share = guest.symbols["ta_no_share_malloc_heap"]
    guest.call("heap_init", no_share, guest.symbols["__ta_no_share_heap"], 2048)
    assert guest.call("TEE_Malloc", 0, 0) == 1
    assert guest.call("TEE_Malloc", 0, 2) == 2
    guest.call("TEE_Free", 1)
    guest.call("TEE_Free", 2)
    guest.call("TEE_Free", 0)
    p = guest.call("TEE_Malloc", 100, 2)
    assert guest.call("heap_overlaps", no_share, p, 1) & 1
    q = guest.call("TEE_Realloc", p, 200)
    assert guest.call("heap_overlaps", no_share, q, 1) & 1
    assert guest.call("TEE_Realloc", q, 0) == 2
    assert guest.call("TEE_Malloc", 8, 0x1234) == 0
    with pytest.raises(Panicked):
        guest.call("TEE_Malloc", 8, 1)

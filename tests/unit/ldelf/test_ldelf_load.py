"""What loading makes of a good image."""

import struct

import pytest
from build_elf import CODE, DATA, FLAGS, PAGE, STACK_SIZE, TA_HEAD_AT, UUID, WEAK, Elf, Symbol, ta_head

from optemu.abi import elf, gp
from optemu.abi import syscalls as sc
from optemu.errors import TeeError
from optemu.secure_world.ldelf import Prot, load

BASE = 0x4010_0000
RX, RW = Prot.R | Prot.X, Prot.R | Prot.W

both = pytest.mark.parametrize("bits", [64, 32])


def refusal(image: bytes) -> TeeError:
    with pytest.raises(TeeError) as caught:
        load(image, BASE)
    return caught.value


@both
def test_where_things_are(bits: int) -> None:
    e = Elf(bits)
    image = load(e.build(), BASE)
    assert image.arch == ("aarch64" if bits == 64 else "arm")
    assert (image.base, image.entry) == (BASE, BASE + CODE)
    text, data = image.segments
    assert (text.va, text.size, text.prot, text.writable) == (BASE, 2 * PAGE, RX, False)
    assert (data.va, data.size, data.prot, data.writable) == (BASE + DATA, 3 * PAGE, RW, True)
    assert data.data == e.data
    head = image.ta_head
    assert (head.uuid, head.stack_size, head.flags) == (UUID, STACK_SIZE, FLAGS)
    assert image.symbol("ta_head") == BASE + TA_HEAD_AT
    assert image.symbol("nobody") is None
    assert (image.needed, image.bti) == ((), False)


def test_memoryview_and_bytes_are_the_same() -> None:
    raw = Elf().build()
    assert load(memoryview(raw), BASE).segments == load(raw, BASE).segments


def test_head_without_a_symbol_is_at_the_load_address() -> None:
    raw = bytearray(Elf(symbols=[]).build())
    raw[PAGE : PAGE + 32] = ta_head(stack_size=8192)
    assert load(bytes(raw), BASE).ta_head.stack_size == 8192


@both
def test_legacy_entry_is_in_the_head_and_relocated(bits: int) -> None:
    relative = 1027 if bits == 64 else 23
    place = TA_HEAD_AT + 24
    e = Elf(bits, head=ta_head(depr_entry=CODE + 8), relocations=[(place, relative, 0, CODE + 8)], entry=0)
    image = load(e.build(), BASE)
    assert image.ta_head.legacy
    assert image.entry == BASE + CODE + 8


def test_thumb_entry() -> None:
    assert load(Elf(32, entry=CODE | 1).build(), BASE).entry == BASE + CODE + 1


@pytest.mark.parametrize("entry", [0x7FFFFFFF, DATA, (1 << 64) - 1])
def test_entry_outside_of_code(entry: int) -> None:
    assert "entry" in str(refusal(Elf(entry=entry).build()))


@pytest.mark.parametrize(
    ("stack_size", "flags"), [(0, FLAGS), (STACK_SIZE + 8, FLAGS), (STACK_SIZE, 1 << 14), (STACK_SIZE, 1 << 8)]
)
def test_head_with_nonsense(stack_size: int, flags: int) -> None:
    assert refusal(Elf(head=ta_head(stack_size, flags)).build()).code == gp.TEE_ERROR_BAD_FORMAT


def test_stack_of_arm32_is_aligned_to_eight() -> None:
    assert load(Elf(32, head=ta_head(STACK_SIZE + 8)).build(), BASE).ta_head.stack_size == STACK_SIZE + 8


def test_bti_guards_code_only() -> None:
    image = load(Elf(bti=True).build(), BASE)
    assert image.bti
    assert [s.prot for s in image.segments] == [RX | Prot.BTI, RW]
    assert not load(Elf(32, bti=True).build(), BASE).bti


def test_segments_that_share_a_page_are_one_with_the_rights_of_both() -> None:
    rw = elf.PF_R | elf.PF_W
    loads = [(PAGE, 0, DATA, DATA, 5), (PAGE + DATA, DATA, 16, 16, 5), (PAGE + DATA + 32, DATA + 32, 32, 5000, rw)]
    e = Elf(loads=loads)
    first, second = load(e.build(), BASE).segments
    assert (first.va, first.prot) == (BASE, RX)
    assert (second.va, second.size, second.prot) == (BASE + DATA, 2 * PAGE, RX | Prot.W)
    assert second.data == e.data[:64]


def test_a_writable_segment_that_shares_a_page_of_the_file_begins_with_what_is_there() -> None:
    text = DATA - 0x800
    loads = [(PAGE, 0, text, text, 5), (PAGE + DATA - 16, DATA + PAGE - 16, 32, 64, 6)]
    raw = bytearray(Elf(loads=loads).build())
    raw[PAGE + DATA - 20 : PAGE + DATA - 16] = b"tail"
    data = load(bytes(raw), BASE).segments[1]
    assert (data.va, data.size) == (BASE + DATA, 2 * PAGE)
    assert data.data[PAGE - 20 : PAGE - 16] == b"tail"


def test_needed_libraries_are_named() -> None:
    library = "ffd2bded-ab7d-4988-95ee-e4962fff7154"
    raw = Elf(needed=[library, "other"]).build()
    assert library in str(refusal(raw))
    assert load(raw, BASE, strict=False).needed == (library, "other")


def test_undefined_symbols_are_looked_over_only_when_not_strict() -> None:
    raw = Elf(symbols=[Symbol("ta_head", TA_HEAD_AT), Symbol("gone", defined=False)], relocations=[(DATA, 1025, 2, 0)])
    error = refusal(raw.build())
    assert error.code == gp.TEE_ERROR_ITEM_NOT_FOUND
    assert "gone" in str(error)
    assert load(raw.build(), BASE, strict=False).segments[1].data[:8] == bytes(8)


def test_a_global_symbol_goes_before_a_weak_one() -> None:
    twice = [Symbol("twice", 1, binding=WEAK), Symbol("twice", 2), Symbol("weak", 3, binding=WEAK)]
    image = load(Elf(symbols=[Symbol("ta_head", TA_HEAD_AT), *twice]).build(), BASE)
    assert (image.symbol("twice"), image.symbol("weak")) == (BASE + 2, BASE + 3)


@both
@pytest.mark.parametrize("exported", [True, False])
def test_properties(bits: int, exported: bool) -> None:
    """With the table's symbol, and as in stripped TAs by looking for its first row."""
    strings = b"\0gpd.ta.singleInstance\0a.number\0a.string\0hello\0" + struct.pack("<I", 7)
    at = DATA + 16
    name = {s: at + strings.index(b"\0" + s + b"\0") + 1 for s in (b"gpd.ta.singleInstance", b"a.number", b"a.string")}
    seven, hello = at + len(strings) - 4, at + strings.index(b"hello")
    rows = [
        (name[b"gpd.ta.singleInstance"], sc.USER_TA_PROP_TYPE_BOOL, seven),
        (name[b"a.number"], sc.USER_TA_PROP_TYPE_U32, seven),
        (name[b"a.string"], sc.USER_TA_PROP_TYPE_STRING, hello),
    ]
    table = DATA + 128
    relocations, data = [], bytearray(bytes(16) + strings).ljust(512, b"\0")
    size, value_at, relative = (24, 16, 1027) if bits == 64 else (12, 8, 23)
    for n, (text, kind, value) in enumerate(rows):
        row = table + n * size
        struct.pack_into("<I", data, row + value_at // 2 - DATA, kind)
        for place, pointer in ((row, text), (row + value_at, value)):
            relocations.append((place, relative, 0, pointer))
            struct.pack_into("<I", data, place - DATA, 0 if bits == 64 else pointer)
    symbols = [Symbol("ta_head", TA_HEAD_AT), *([Symbol("ta_props", table)] if exported else [])]
    image = load(Elf(bits, symbols=symbols, data=bytes(data), relocations=relocations).build(), BASE)
    found = [(p.name, p.type, p.value) for p in image.properties()]
    assert found == [("gpd.ta.singleInstance", 0, "true"), ("a.number", 1, "7"), ("a.string", 4, "hello")]


def test_no_properties() -> None:
    assert load(Elf().build(), BASE).properties() == []

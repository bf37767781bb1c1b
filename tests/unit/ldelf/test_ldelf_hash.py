"""Symbols are found by what a module's hash table covers, whichever kind it has."""

import struct

import pytest
from build_elf import DATA, PAGE, TA_HEAD_AT, WEAK, Elf, Symbol, gnu_hash, word
from hypothesis import given
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.ldelf import link, load, map_elf

BASE, LIBRARY_BASE = 0x4010_0000, 0x4020_0000
HEAD = Symbol("ta_head", TA_HEAD_AT)
styles = pytest.mark.parametrize("style", ["sysv", "gnu"])
both = pytest.mark.parametrize("bits", [64, 32])


def test_hash_of_gnu() -> None:
    """The value every tool knows."""
    assert gnu_hash("printf") == 0x156B2BB8


@both
@styles
def test_either_table(bits: int, style: str) -> None:
    symbols = [Symbol("gone", defined=False), HEAD, Symbol("here", 0x30)]
    image = load(Elf(bits, symbols=symbols, hash_style=style).build(), BASE)
    assert (image.symbol("ta_head"), image.symbol("here")) == (BASE + TA_HEAD_AT, BASE + 0x30)
    assert image.symbol("gone") is None


def test_without_a_table_nothing_is_found() -> None:
    raw = bytearray(Elf(hash_style="none").build())
    raw[PAGE : PAGE + 32] = raw[PAGE + TA_HEAD_AT : PAGE + TA_HEAD_AT + 32]
    image = load(bytes(raw), BASE)
    assert image.symbol("ta_head") is None
    assert image.ta_head.stack_size, "the head is at the load address then"


@pytest.mark.parametrize(("style", "expected"), [("sysv", 0), ("gnu", LIBRARY_BASE + 0x48)])
def test_a_weak_reference_hides_a_library_only_in_a_sysv_table(style: str, expected: int) -> None:
    """As upstream: in the GNU table there are no undefined symbols, in the other one they end the search with 0."""
    ta = Elf(symbols=[Symbol("late", defined=False, binding=WEAK), HEAD], hash_style=style)
    ta.relocations = [(DATA, 1025, 1, 0)]
    library = Elf(symbols=[Symbol("late", 0x48)], hash_style=style)
    image = link([map_elf(ta.build(), BASE), map_elf(library.build(), LIBRARY_BASE)])
    assert image.read(BASE + DATA, 8, "place") == word(64, expected)


@pytest.mark.parametrize(
    ("style", "table"),
    [
        ("sysv", struct.pack("<II", 0xFFFFFFFF, 1)),
        ("sysv", struct.pack("<II", 1, 0xFFFFFFFF)),
        ("gnu", struct.pack("<IIII", 0xFFFFFFFF, 1, 1, 0)),
        ("gnu", struct.pack("<IIII", 1, 1, 0xFFFFFFFF, 0)),
        ("gnu", struct.pack("<IIIIQI", 1, 1, 2, 0, 0, 0)),
    ],
)
def test_tables_larger_than_they_are(style: str, table: bytes) -> None:
    with pytest.raises(TeeError, match="HASH") as caught:
        load(Elf(hash_style=style, hash_table=table).build(), BASE)
    assert caught.value.code == gp.TEE_ERROR_BAD_FORMAT


@styles
@given(table=st.binary(max_size=64))
def test_any_table(style: str, table: bytes) -> None:
    try:
        load(Elf(hash_style=style, hash_table=table).build(), BASE)
    except TeeError as e:
        assert e.code == gp.TEE_ERROR_BAD_FORMAT

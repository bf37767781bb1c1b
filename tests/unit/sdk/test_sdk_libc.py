"""The runtime's C library against Python's idea of the same functions."""

import base64
import struct
import uuid
from pathlib import Path

import pytest
from guest import SCRATCH, Guest, Panicked
from hypothesis import given, settings
from hypothesis import strategies as st

A, B, OUT = SCRATCH, SCRATCH + 0x1000, SCRATCH + 0x2000
TEXT = st.binary(max_size=40).map(lambda b: b.replace(b"\0", b""))


@pytest.fixture(scope="module")
def g(runtime_elf: Path) -> Guest:
    return Guest(runtime_elf)


@st.composite
def conversions(draw: st.DrawFn) -> tuple[str, str, int]:
    """A conversion for C, the same for Python, a value of its length."""
    flags = "".join(draw(st.sets(st.sampled_from("-+ #0"))))
    width = draw(st.sampled_from(["", "1", "7", "25"]))
    precision = draw(st.sampled_from(["", ".0", ".3", ".22"]))
    mod, bits = draw(st.sampled_from([("hh", 8), ("h", 16), ("", 32), ("l", 64), ("ll", 64), ("z", 64), ("j", 64)]))
    conv = draw(st.sampled_from("duxX"))
    value = draw(st.integers(0, 2**bits - 1))
    shown = value - 2**bits if conv == "d" and value >> (bits - 1) else value
    if conv != "d":
        flags = flags.replace("+", "").replace(" ", "")
    if conv in "du":
        flags = flags.replace("#", "")
    if precision:
        flags = flags.replace("0", "")
    return f"%{flags}{width}{precision}{mod}{conv}", f"%{flags}{width}{precision}{conv.replace('u', 'd')}", shown


def expected_number(fmt: str, value: int) -> str:
    """Python differs from C in two points: no digits for 0 with precision 0, no prefix for 0 with #."""
    body = fmt.strip("%")
    if value == 0 and ".0" in body:
        width = int("".join(c for c in body.split(".")[0] if c in "123456789") or "0") if body[0] else 0
        return _zero_precision(body, width)
    if value == 0 and "#" in body:
        return fmt.replace("#", "") % value
    return fmt % value


def _zero_precision(body: str, width: int) -> str:
    flags = body.split(".")[0]
    digits = "".join(c for c in flags.lstrip("-+ #0") if c.isdigit())
    sign = "+" if "+" in flags else " " if " " in flags and body[-1] == "d" else ""
    width = int(digits or 0)
    return sign.ljust(width) if "-" in flags else sign.rjust(width)


@settings(max_examples=400, deadline=None)
@given(conversions())
def test_numbers_print_as_python_prints_them(g: Guest, c: tuple[str, str, int]) -> None:
    fmt, pyfmt, value = c
    size = g.call_int("snprintf", OUT, 100, g.string(A, f"<{fmt}>"), value)
    wanted = f"<{expected_number(pyfmt, value)}>".encode()
    assert g.read(OUT, len(wanted) + 1) == wanted + b"\0"
    assert size == len(wanted)


@settings(max_examples=100, deadline=None)
@given(TEXT, st.integers(0, 30), st.sampled_from(["%s", "%10s", "%-10s|", "%.4s", "%5.2s"]))
def test_strings_are_cut_where_the_buffer_ends(g: Guest, text: bytes, size: int, fmt: str) -> None:
    g.write(OUT, b"\xaa" * 64)
    got = g.call_int("snprintf", OUT, size, g.string(A, fmt), g.string(B, text))
    wanted = (fmt.encode() % text)[:]
    assert got == len(wanted)
    cut = wanted[: size - 1] + b"\0" if size else b""
    assert g.read(OUT, len(cut) + 1) == cut + b"\xaa"


def test_other_conversions(g: Guest) -> None:
    u = uuid.UUID("12345678-9abc-def0-0102-030405060708")
    g.write(B, struct.pack("<IHH8B", 0x12345678, 0x9ABC, 0xDEF0, 1, 2, 3, 4, 5, 6, 7, 8))
    for fmt, args, wanted in (
        ("%pUl!", [B], f"{u}!"),
        ("%p", [0xDEADBEEF], "0xdeadbeef"),
        ("%c%c%%", [65, 66], "AB%"),
        ("%s", [0], "(null)"),
        ("%*d|%-*d", [4, 7, 3, 5], "   7|5  "),
        ("%*d|%.*s", [-4, 7, 2, g.string(B + 64, "abc")], "7   |ab"),
        ("%o", [8], "10"),
        ("100%", [], "100"),
        ("%", [], ""),
        ("%q", [], "q"),
    ):
        g.call("snprintf", OUT, 100, g.string(A, fmt), *args)
        assert g.read(OUT, 80).split(b"\0")[0].decode() == wanted


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=70), st.integers(0, 9), st.integers(0, 9))
def test_memory_functions(g: Guest, data: bytes, src: int, dst: int) -> None:
    n = len(data)
    for name in ("memcpy", "memmove"):
        g.write(B, b"\xee" * 100)
        assert g.call(name, B + dst, g.write(A + src, data), n) == B + dst
        assert g.read(B, 100) == b"\xee" * dst + data + b"\xee" * (100 - dst - n)
    whole = bytearray(b"\xee" * 10 + data + b"\xee" * 20)
    g.write(A, bytes(whole))
    g.call("memmove", A + dst, A + src, n)
    whole[dst : dst + n] = whole[src : src + n]
    assert g.read(A, len(whole)) == whole
    g.write(B, b"\xee" * 100)
    g.call("memset", B + dst, 0x5A5A, n)
    assert g.read(B, 100) == b"\xee" * dst + b"\x5a" * n + b"\xee" * (100 - dst - n)


def sign_of(v: int) -> int:
    return (v > 0) - (v < 0)


@settings(max_examples=150, deadline=None)
@given(TEXT, TEXT, st.integers(0, 45), st.integers(0, 3))
def test_string_functions(g: Guest, a: bytes, b: bytes, n: int, kind: int) -> None:
    b = [b, a, a + b, a[: len(a) // 2]][kind]
    pa, pb = g.string(A, a), g.string(B, b)
    order = sign_of((a > b) - (a < b))
    assert sign_of(g.call_int("strcmp", pa, pb)) == order
    assert sign_of(g.call_int("strncmp", pa, pb, n)) == sign_of((a[:n] > b[:n]) - (a[:n] < b[:n]))
    low = min(len(a), len(b))
    for name in ("memcmp", "consttime_memcmp"):
        assert sign_of(g.call_int(name, pa, pb, low)) == sign_of((a[:low] > b[:low]) - (a[:low] < b[:low]))
    assert g.call("strlen", pa) == len(a)
    assert g.call("strnlen", pa, n) == min(len(a), n)
    at = g.call("strstr", pa, pb)
    assert (at - pa if at else -1) == a.find(b)
    for name, find in (("strchr", a.find), ("strrchr", a.rfind)):
        at = g.call(name, pa, 0x41)
        assert (at - pa if at else -1) == find(b"A")
    assert g.call("strchr", pa, 0) == pa + len(a)
    assert g.call("strlcpy", OUT, pa, n) == len(a)
    if n:
        assert g.read(OUT, n).split(b"\0")[0] == a[: n - 1]
    g.call("strncpy", OUT, pa, n)
    assert g.read(OUT, n) == a[:n].ljust(n, b"\0")


@settings(max_examples=150, deadline=None)
@given(st.from_regex(rb"\A\s{0,2}[+-]?(0x|0)?[0-9a-fA-Fxz]{0,22}\Z"), st.sampled_from([0, 2, 8, 10, 16, 36]))
def test_strtoul(g: Guest, text: bytes, base: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    libc.strtoul.restype = ctypes.c_ulong
    host = ctypes.create_string_buffer(text)
    end = ctypes.c_void_p()
    wanted = libc.strtoul(host, ctypes.byref(end), base)
    got = g.call("strtoul", g.string(A, text), OUT, base)
    assert got == wanted
    assert struct.unpack("<Q", g.read(OUT, 8))[0] - A == (end.value or 0) - ctypes.addressof(host)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 90))
def test_base64(g: Guest, data: bytes, room: int) -> None:
    text = base64.b64encode(data)
    size = g.write(OUT, struct.pack("<Q", room))
    fits = g.call("base64_enc", g.write(A, data), len(data), B, size) & 1
    assert fits == (len(text) + 1 <= room)
    assert struct.unpack("<Q", g.read(OUT, 8))[0] == len(text) + 1
    if fits:
        assert g.read(B, len(text) + 1) == text + b"\0"
    g.write(OUT, struct.pack("<Q", room))
    fits = g.call("base64_dec", g.string(A, text), B, size) & 1
    assert fits == (len(data) <= room)
    assert struct.unpack("<Q", g.read(OUT, 8))[0] == len(data)
    if fits:
        assert g.read(B, len(data)) == data


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.uuids().map(str), st.text("0123456789abcdefABCDEF-g", max_size=40)))
def test_uuid_from_text(g: Guest, text: str) -> None:
    res = g.call("tee_uuid_from_str", OUT, g.string(A, text)) & 0xFFFFFFFF
    try:
        wanted = uuid.UUID(text)
        good = str(wanted) == text.lower()
    except ValueError:
        good = False
    assert (res == 0) == good
    if good:
        low, mid, high, node = struct.unpack("<IHH8s", g.read(OUT, 16))
        assert f"{low:08x}{mid:04x}{high:04x}" + node.hex() == wanted.hex


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-100, 100), max_size=60))
def test_qsort(g: Guest, values: list[int]) -> None:
    n = len(values)
    # memcmp of one byte: an order the guest has at hand
    data = bytes(v & 0xFF for v in values)
    compare = g.write(B, struct.pack("<III", 0x39400000, 0x39400021, 0x4B010000) + struct.pack("<I", 0xD65F03C0))
    g.call("qsort", g.write(A, data), n, 1, compare)
    assert g.read(A, n) == bytes(sorted(data))


def test_abort_and_assert_panic(g: Guest) -> None:
    with pytest.raises(Panicked) as e:
        g.call("abort")
    assert e.value.args == (0,)
    with pytest.raises(Panicked) as e:
        g.call("__assert_failed", g.string(A, "x == y"), g.string(B, "f.c"), 12, g.string(OUT, "fn"))
    assert e.value.args == (0xFFFF0000,)
    assert "assertion 'x == y' failed at f.c:12 in fn()" in g.log


def test_messages(g: Guest) -> None:
    g.log = ""
    for level, text in ((1, "one"), (2, "two\n\n"), (3, "three")):
        g.call("trace_printf", g.string(A, "function"), 33, level, 1, g.string(B, text))
    g.call("trace_printf", 0, 0, 1, 1, g.string(B, "raw"))
    g.call("trace_printf", g.string(A, "f"), 1, 2, 1, g.string(B, "x" * 300))
    # TRACE_LEVEL 2: debug is silent
    assert g.log.splitlines() == ["E/TA:  function:33 one", "I/TA: two", "E/TA:  raw", "I/TA: " + "x" * 248]
    g.log = ""
    g.write(g.symbols["trace_level"], struct.pack("<I", 4))
    g.call("dhex_dump", g.string(A, "f"), 1, 3, g.write(B, bytes(range(20))), 20)
    first, second = g.log.splitlines()
    assert first.endswith("00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f ")
    assert second.endswith(f"{B + 16:016x}  10 11 12 13 ")

"""__ta_entry and the functions over syscalls, against a core made of a few lambdas."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from guest import SCRATCH, STACK_SIZE, STACK_TOP, Guest, Panicked, Returned

OPEN, CLOSE, INVOKE, MEMSTATS = range(4)
PARAMS = SCRATCH
A, B, OUT, OUT2 = SCRATCH + 0x1000, SCRATCH + 0x2000, SCRATCH + 0x3000, SCRATCH + 0x4000
TEE, CLIENT, TA = 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF

ITEM_NOT_FOUND, SHORT_BUFFER, BAD_FORMAT, ACCESS_DENIED = 0xFFFF0008, 0xFFFF0010, 0xFFFF0005, 0xFFFF0001
OUT_OF_MEMORY, TARGET_DEAD, BAD_STATE, BAD_PARAMETERS = 0xFFFF000C, 0xFFFF3024, 0xFFFF0007, 0xFFFF0006


def enter(g: Guest, func: int, session: int, types: int = 0, vals: tuple[int, ...] = (), cmd: int = 0) -> Any:
    """What the core does: parameters down, entry, result and parameters up."""
    g.write(PARAMS, struct.pack("<Q8Q", types, *(vals + (0,) * 8)[:8]))
    with pytest.raises(Returned) as e:
        g.call("__ta_entry", func, session, PARAMS, cmd)
    return e.value.args[0], struct.unpack("<8Q", g.read(PARAMS + 8, 64))


def allow(*_: int) -> int:
    return 0


def test_life_of_an_instance(guest: Guest) -> None:
    assert enter(guest, OPEN, 5)[0] == 0
    assert enter(guest, OPEN, 6)[0] == 0
    # 77: the constructor ran before the first entry point
    assert enter(guest, INVOKE, 6, 3, (1,))[1][0] == 77
    assert enter(guest, CLOSE, 5)[0] == 0
    assert enter(guest, CLOSE, 5)[0] == BAD_STATE
    assert enter(guest, INVOKE, 5)[0] == BAD_STATE
    assert "destroyed" not in guest.log
    assert enter(guest, CLOSE, 6)[0] == 0
    assert guest.log.splitlines() == ["I/TA: closed", "I/TA: closed", "I/TA: destroyed"]


def test_refused_session_is_forgotten(guest: Guest) -> None:
    assert enter(guest, OPEN, 5, 1, (0xFFFF1234,))[0] == 0xFFFF1234
    assert enter(guest, CLOSE, 5)[0] == BAD_STATE
    assert guest.log == "I/TA: destroyed\n"


def test_kept_alive_instance_is_not_destroyed(guest: Guest) -> None:
    guest.write(guest.symbols["ta_head"] + 20, struct.pack("<I", 1 << 2 | 1 << 4))
    enter(guest, OPEN, 5)
    enter(guest, CLOSE, 5)
    assert guest.log == "I/TA: closed\n"


def test_heap_is_given_back_and_counted(guest: Guest) -> None:
    enter(guest, OPEN, 1)
    types = 0x222
    _, first = enter(guest, MEMSTATS, 1, types)
    for session in range(2, 20):
        enter(guest, OPEN, session)
        enter(guest, CLOSE, session)
    _, last = enter(guest, MEMSTATS, 1, types)
    assert last[0] == first[0] > 0
    assert last[1] > first[1]
    assert last[2] == first[2] > 8000
    assert enter(guest, MEMSTATS, 1, 0x22)[0] == BAD_PARAMETERS
    assert enter(guest, 17, 1)[0] == 0xFFFF000A


def test_stack_of_the_runtime_fits_its_share(guest: Guest) -> None:
    """TA_FRAMEWORK_STACK_SIZE is 2048; a message, which needs most of all, must leave the TA its own share."""
    guest.write(STACK_TOP - STACK_SIZE, b"\x5a" * STACK_SIZE)
    enter(guest, OPEN, 1)
    enter(guest, CLOSE, 1)
    used = len(guest.read(STACK_TOP - STACK_SIZE, STACK_SIZE).lstrip(b"\x5a"))
    assert 200 < used < 1536


Property = tuple[bytes, int, bytes]


def core_properties(guest: Guest, props: list[Property]) -> None:
    """get_property and get_property_name_to_index over a list of (name, type, value)."""

    def put(at: int, size_at: int, data: bytes) -> int:
        (room,) = struct.unpack("<I", guest.read(size_at, 4))
        guest.write(size_at, struct.pack("<I", len(data)))
        if room >= len(data):
            guest.write(at, data)
        return 0 if room >= len(data) else SHORT_BUFFER

    def get_property(_set: int, index: int, name: int, name_len: int, buf: int, blen: int, kind: int, *_: int) -> int:
        index &= 0xFFFFFFFF
        if index >= len(props):
            return ITEM_NOT_FOUND
        res = 0
        if name:
            res |= put(name, name_len, props[index][0] + b"\0")
        if buf:
            res |= put(buf, blen, props[index][2])
        if kind:
            guest.write(kind, struct.pack("<I", props[index][1]))
        return res

    def name_to_index(_set: int, name: int, size: int, index: int, *_: int) -> int:
        wanted = guest.read(name, size)
        for i, (known, _, _) in enumerate(props):
            if known + b"\0" == wanted:
                guest.write(index, struct.pack("<I", i))
                return 0
        return ITEM_NOT_FOUND

    guest.syscalls.update({3: get_property, 4: name_to_index, 8: allow})


def as_string(guest: Guest, handle: int, name: str | None, room: int = 100) -> Any:
    guest.write(OUT2, struct.pack("<Q", room))
    at = guest.string(A, name) if name is not None else 0
    res = guest.call("TEE_GetPropertyAsString", handle, at, OUT, OUT2) & 0xFFFFFFFF
    (size,) = struct.unpack("<Q", guest.read(OUT2, 8))
    return guest.read(OUT, size)[:-1].decode() if res == 0 else (res, size)


UUID = struct.pack("<IHH8B", 0x11223344, 0x5566, 0x7788, *range(1, 9))
UUID_TEXT = "11223344-5566-7788-0102-030405060708"


def test_properties_as_text(guest: Guest) -> None:
    enter(guest, OPEN, 1)
    core_properties(
        guest,
        [
            (b"b", 0, b"\1"),
            (b"u32", 1, struct.pack("<I", 4294967295)),
            (b"uuid", 2, UUID),
            (b"id", 3, struct.pack("<I", 0xF0000000) + UUID),
            (b"str", 4, b"some text\0"),
            (b"bin", 5, bytes(range(7))),
            (b"u64", 6, struct.pack("<Q", 2**64 - 1)),
        ],
    )
    wanted = {
        "b": "true",
        "u32": "4294967295",
        "uuid": UUID_TEXT,
        "id": f"4026531840:{UUID_TEXT}",
        "str": "some text",
        "bin": "AAECAwQFBg==",
        "u64": str(2**64 - 1),
    }
    for name, text in wanted.items():
        assert as_string(guest, CLIENT, name) == text
        assert as_string(guest, CLIENT, name, len(text) + 1) == text
        assert as_string(guest, CLIENT, name, len(text)) == (SHORT_BUFFER, len(text) + 1)
    assert as_string(guest, CLIENT, "nothing")[0] == ITEM_NOT_FOUND
    assert as_string(guest, TA, "gpd.ta.dataSize") == "8192"
    assert as_string(guest, TEE, "gpd.tee.internalCore.version") == str(0x01030100)


def test_property_of_another_type(guest: Guest) -> None:
    enter(guest, OPEN, 1)
    core_properties(guest, [(b"u32", 1, b"abcd")])
    get = guest.string(A, "u32")
    assert guest.call("TEE_GetPropertyAsU32", CLIENT, get, OUT) & 0xFFFFFFFF == 0
    assert guest.read(OUT, 4) == b"abcd"
    for other in ("Bool", "U64", "UUID", "Identity"):
        assert guest.call(f"TEE_GetPropertyAs{other}", CLIENT, get, OUT) & 0xFFFFFFFF == BAD_FORMAT


def test_enumerator_goes_through_both_tables(guest: Guest) -> None:
    enter(guest, OPEN, 1)
    core_properties(guest, [(b"gpd.ta.appID", 2, UUID)])
    assert guest.call("TEE_AllocatePropertyEnumerator", B) & 0xFFFFFFFF == 0
    (e,) = struct.unpack("<Q", guest.read(B, 8))
    assert guest.call("TEE_GetNextProperty", e) & 0xFFFFFFFF == ITEM_NOT_FOUND
    guest.call("TEE_StartPropertyEnumerator", e, TA)
    names = []
    res = 0
    while res == 0:
        guest.write(OUT2, struct.pack("<Q", 64))
        assert guest.call("TEE_GetPropertyName", e, OUT, OUT2) & 0xFFFFFFFF == 0
        names.append(guest.read(OUT, 64).split(b"\0")[0].decode())
        res = guest.call("TEE_GetNextProperty", e) & 0xFFFFFFFF
    assert res == ITEM_NOT_FOUND
    assert names[0] == "gpd.ta.singleInstance"
    assert names[-1] == "gpd.ta.appID"
    assert len(names) == 11
    guest.call("TEE_FreePropertyEnumerator", e)


def test_memory_rights(guest: Guest) -> None:
    """The core has the first word; parameters and the heap are known to the runtime alone."""
    enter(guest, OPEN, 1)

    def rights(flags: int, at: int, size: int) -> int:
        return guest.call("TEE_CheckMemoryAccessRights", flags, at, size) & 0xFFFFFFFF

    guest.syscalls[8] = lambda *_: ACCESS_DENIED
    assert rights(1, A, 0) == 0
    assert rights(1, A, 1) == ACCESS_DENIED
    guest.syscalls[8] = allow
    assert rights(3, A, 1) == 0
    p = guest.call("malloc", 100)
    assert rights(3, p, 100) == 0
    assert rights(3, p, 200) == ACCESS_DENIED
    guest.call("free", p)
    assert rights(3, p, 1) == ACCESS_DENIED
    # p0 a memref_in, p1 a memref_inout
    guest.write(guest.symbols["ta_param_types"], struct.pack("<I", 0x75))
    guest.write(guest.symbols["ta_params"], struct.pack("<QQQQ", B, 16, OUT, 16))
    assert rights(1 | 4, B, 4) == 0
    assert rights(2, B, 4) == ACCESS_DENIED
    assert rights(1 | 4, B - 4, 5) == 0
    assert rights(2 | 4, B - 4, 5) == ACCESS_DENIED
    assert rights(2 | 4, B - 4, 4) == 0
    assert rights(2 | 4, B + 16, 4) == 0
    assert rights(3 | 4, OUT, 4) == 0


def session_core(guest: Guest, private: Callable[[int], bool]) -> list[tuple[str, Any]]:
    """A core with a system pseudo TA (map at OUT2) and one other TA that adds one to every byte and value."""
    calls: list[tuple[str, Any]] = []

    def open_session(uuid: int, _timeout: int, params: int, handle: int, origin: int, *_: int) -> int:
        is_system = guest.read(uuid, 4) == struct.pack("<I", 0x3A2F8978)
        calls.append(("open", "system" if is_system else "other"))
        guest.write(handle, struct.pack("<I", 1 if is_system else 2))
        guest.write(origin, struct.pack("<I", 4))
        return 0

    def invoke(handle: int, _timeout: int, cmd: int, params: int, origin: int, *_: int) -> int:
        guest.write(origin, struct.pack("<I", 4))
        types, *v = struct.unpack("<9Q", guest.read(params, 72))
        calls.append(("invoke", (handle, cmd & 0xFFFFFFFF, types, v[:4])))
        if handle == 1:
            guest.write(params + 24, struct.pack("<QQ", OUT2 >> 32, OUT2 & 0xFFFFFFFF))
            return 0
        at, size = v[0], v[1]
        guest.write(at, bytes(b + 1 & 255 for b in guest.read(at, size)))
        return 0

    guest.syscalls.update(
        {
            5: open_session,
            6: lambda *a: calls.append(("close", a[0])) or 0,
            7: invoke,
            8: lambda flags, at, size, *_: 0 if flags & 4 or private(at) else ACCESS_DENIED,
        }
    )
    return calls


def call_other(guest: Guest, buf: int, size: int) -> Any:
    guest.write(B, struct.pack("<QQQQ", buf, size, 7, 0) + bytes(32))
    assert guest.call("TEE_OpenTASession", guest.write(A, UUID), 0xFFFFFFFF, 0, 0, A + 64, A + 72) & 0xFFFFFFFF == 0
    (handle,) = struct.unpack("<Q", guest.read(A + 64, 8))
    res = guest.call("TEE_InvokeTACommand", handle, 0xFFFFFFFF, 9, 0x17, B, A + 72) & 0xFFFFFFFF
    guest.call("TEE_CloseTASession", handle)
    return res, struct.unpack("<QQ", guest.read(B, 16))


def test_calling_a_ta_with_shared_memory(guest: Guest) -> None:
    enter(guest, OPEN, 1)
    calls = session_core(guest, lambda at: at != OUT)
    guest.write(OUT, b"abcde")
    assert call_other(guest, OUT, 5) == (0, (OUT, 5))
    assert guest.read(OUT, 5) == b"bcdef"
    assert calls == [("open", "other"), ("invoke", (2, 9, 0x17, [OUT, 5, 7, 0])), ("close", 2)]


def test_private_memory_travels_through_a_copy(guest: Guest) -> None:
    enter(guest, OPEN, 1)
    calls = session_core(guest, lambda _: True)
    p = guest.write(guest.call("malloc", 5), b"abcde")
    assert call_other(guest, p, 5) == (0, (p, 5))
    assert guest.read(p, 5) == b"bcdef"
    handles = [(c[0], c[1][:2] if c[0] == "invoke" else c[1]) for c in calls]
    assert handles == [
        ("open", "other"),
        ("open", "system"),
        ("invoke", (1, 2)),
        ("invoke", (2, 9)),
        ("invoke", (1, 3)),
        ("close", 2),
    ]
    assert calls[3][1][3][0] == OUT2


@pytest.mark.parametrize(("origin", "code", "panics"), [(4, 1, False), (3, TARGET_DEAD, False), (3, 1, True)])
def test_errors_before_the_other_ta_are_programming_errors(guest: Guest, origin: int, code: int, panics: bool) -> None:
    enter(guest, OPEN, 1)
    session_core(guest, lambda _: True)

    def invoke(_h: int, _t: int, _c: int, _p: int, origin_at: int, *_: int) -> int:
        guest.write(origin_at, struct.pack("<I", origin))
        return code

    guest.syscalls[7] = invoke
    guest.write(B, bytes(64))
    if panics:
        with pytest.raises(Panicked) as e:
            guest.call("TEE_InvokeTACommand", 2, 0, 9, 0, B, A)
        assert e.value.args == (code,)
    else:
        assert guest.call("TEE_InvokeTACommand", 2, 0, 9, 0, B, A) & 0xFFFFFFFF == code
        assert guest.read(A, 4) == struct.pack("<I", origin)


def test_documented_errors_return_and_others_panic(guest: Guest) -> None:
    for name, number, good in (
        ("TEE_Wait", 12, [0, 0xFFFF0002]),
        ("TEE_SetTAPersistentTime", 14, [0, OUT_OF_MEMORY, 0xFFFF3041]),
        ("TEE_GetTAPersistentTime", 13, [0, 0xFFFF5000, 0xFFFF5001, 0xFFFF300F, OUT_OF_MEMORY]),
    ):
        for code in good:
            guest.syscalls[number] = lambda *_, code=code: code
            assert guest.call(name, A) & 0xFFFFFFFF == code
        guest.syscalls[number] = lambda *_: BAD_PARAMETERS
        with pytest.raises(Panicked) as e:
            guest.call(name, A)
        assert e.value.args == (BAD_PARAMETERS,)


def test_panic_hands_over_its_frame(guest: Guest) -> None:
    """The core unwinds from the frame record at the second argument."""
    seen = []
    guest.syscalls[2] = lambda code, frame, *_: seen.append((code, guest.read(frame, 16))) or 0
    guest.syscalls[12] = lambda *_: BAD_PARAMETERS
    with pytest.raises(AssertionError):  # the breakpoint behind a panic that came back
        guest.call("TEE_Wait", 1)
    ((code, frame),) = seen
    fp, lr = struct.unpack("<QQ", frame)
    assert code & 0xFFFFFFFF == BAD_PARAMETERS
    assert guest.symbols["TEE_Wait"] < lr < guest.symbols["TEE_Wait"] + 0x100
    assert STACK_TOP - STACK_SIZE < fp <= STACK_TOP

"""The emulated RPMB partition, against frames of an independent encoder; and what its file survives."""

import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpmb_frames import COUNTER, KEY_PROGRAM, READ, WRITE, frame, mac, parse, signed, write

from optemu.normal_world.emmc import EmulatedRpmb, exchange, rpmb_image
from optemu.normal_world.emmc.access import split
from optemu.normal_world.emmc.rpmb_image import RpmbImage

KEY = bytes(range(32))
NONCE = b"0123456789abcdef"
OK, GENERAL, AUTH, COUNTER_FAILURE, ADDRESS, WRITE_FAILURE, NO_KEY, EXPIRED = 0, 1, 2, 3, 4, 5, 7, 0x80
BLOCKS = 512


def block(fill):
    return bytes([fill]) * 256


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "rpmb"


@pytest.fixture
def device(path):
    device = EmulatedRpmb(path)
    yield device
    device.close()


def ask(device, *frames, count=1):
    return [parse(raw) for raw in split(exchange(device, frames, count))]


def program(device, key=KEY):
    [answer] = ask(device, frame(KEY_PROGRAM, mac=key))
    assert answer["kind"] == 0x100
    return answer["result"]


def counter(device):
    raw = exchange(device, [frame(COUNTER, nonce=NONCE)], 1)
    answer = parse(raw)
    assert (answer["kind"], answer["nonce"], answer["mac"]) == (0x200, NONCE, mac(KEY, [raw]))
    return answer["result"], answer["counter"]


def put(device, address, *blocks, at=None, **fields):
    raw = exchange(device, write(KEY, address, blocks, counter(device)[1] if at is None else at, **fields), 1)
    answer = parse(raw)
    assert (answer["kind"], answer["address"], answer["mac"]) == (0x300, address, mac(KEY, [raw]))
    assert answer["counter"] == counter(device)[1]
    return answer["result"]


def get(device, address, count=1):
    raw = split(exchange(device, [frame(READ, nonce=NONCE, address=address)], count))
    assert parse(raw[-1])["mac"] == mac(KEY, raw)
    answers = [parse(one) for one in raw]
    assert all((a["kind"], a["nonce"], a["address"], a["count"]) == (0x400, NONCE, address, count) for a in answers)
    [result] = {a["result"] for a in answers}
    return result, [a["data"] for a in answers]


def test_without_a_key(device):
    for frames, kind in (([frame(COUNTER)], 0x200), (write(KEY, 0, [block(1)], 0), 0x300), ([frame(READ)], 0x400)):
        [answer] = ask(device, *frames)
        assert (answer["kind"], answer["result"], answer["mac"]) == (kind, NO_KEY, bytes(32))


def test_the_key_is_programmed_once(device, path):
    assert program(device) == OK
    assert program(device) == GENERAL
    assert program(device, bytes(32)) == GENERAL
    device.close()
    again = EmulatedRpmb(path)
    assert program(again) == GENERAL
    assert counter(again) == (OK, 0)
    again.close()


def test_writes_and_reads(device, path):
    program(device)
    assert put(device, 7, block(1)) == OK
    assert put(device, 8, block(2), block(3)) == OK, "two blocks count once"
    assert counter(device) == (OK, 2)
    assert get(device, 6, 4) == (OK, [block(0), block(1), block(2), block(3)])
    assert put(device, BLOCKS - 1, block(9)) == OK
    assert get(device, BLOCKS - 1) == (OK, [block(9)])
    device.close()
    again = EmulatedRpmb(path)
    assert get(again, 7, 3) == (OK, [block(1), block(2), block(3)])
    assert counter(again) == (OK, 3)
    again.close()


def test_what_is_refused(device):
    program(device)
    assert put(device, BLOCKS, block(1)) == ADDRESS
    assert put(device, BLOCKS - 1, block(1), block(2)) == ADDRESS
    assert put(device, 0, block(1), at=1) == COUNTER_FAILURE
    assert put(device, 0, block(1), count=2) == GENERAL
    assert put(device, 0, *[block(1)] * 3) == GENERAL, "more than a reliable write"
    [answer] = ask(device, *write(bytes(32), 0, [block(1)], 0))
    assert answer["result"] == AUTH
    frames = write(KEY, 0, [block(1), block(2)], 0)
    [answer] = ask(device, frames[1], frames[0])
    assert answer["result"] == AUTH
    assert counter(device) == (OK, 0)
    assert get(device, 0, 2) == (OK, [block(0), block(0)])
    assert get(device, BLOCKS)[0] == get(device, BLOCKS - 1, 2)[0] == ADDRESS


def test_a_write_cannot_be_replayed(device):
    program(device)
    first = write(KEY, 3, [block(1)], 0)
    assert ask(device, *first)[0]["result"] == OK
    assert put(device, 3, block(2)) == OK
    assert ask(device, *first)[0]["result"] == COUNTER_FAILURE
    assert get(device, 3) == (OK, [block(2)])


def test_the_result_must_be_asked_for(device):
    program(device)
    device.write_blocks(write(KEY, 0, [block(1)], 0))
    assert parse(device.read_blocks(1)[0])["result"] == GENERAL
    fresh = EmulatedRpmb(device._path.with_name("fresh"))
    assert parse(fresh.read_blocks(1)[0])["result"] == GENERAL
    fresh.close()


def test_the_counter_ends(device, path):
    program(device)
    device.close()
    image = RpmbImage(path, 1)
    image.write_counter = 0xFFFFFFFE
    image.write(0, [block(0)])
    image.close()
    device = EmulatedRpmb(path)
    assert counter(device) == (OK | EXPIRED, 0xFFFFFFFF)
    assert put(device, 0, block(1)) == WRITE_FAILURE | EXPIRED
    assert get(device, 0) == (OK | EXPIRED, [block(0)])
    device.close()


def test_a_file_in_use_damaged_or_of_another_size(device, path, caplog):
    program(device)
    other = EmulatedRpmb(path)
    assert ask(other, frame(COUNTER))[0]["result"] == GENERAL
    assert "in use" in caplog.text
    other.close()
    device.close()
    for spoil, why in ((b"", "not the file"), (b"optemu RPMB 1\n\0\0\2", "256 KiB"), (None, "damaged")):
        caplog.clear()
        copy = path.with_name("copy")
        shutil.copy(path, copy)
        with copy.open("r+b") as f:
            if spoil is None:
                f.seek(4096)
                f.write(bytes(2 * 4096))
            else:
                f.write(spoil or bytes(16))
        spoilt = EmulatedRpmb(copy)
        assert program(spoilt) == GENERAL
        assert why in caplog.text
        spoilt.close()


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("when", range(40))
def test_the_power_goes_at_any_write(path, monkeypatch, when):
    """Every write of the file is torn in turn; the next start finds the old state or the new one, whole."""
    before = EmulatedRpmb(path)
    program(before)
    put(before, 0, block(1), block(2))
    before.close()
    step, real = 0, os.pwrite

    def torn(fd, data, at):
        nonlocal step
        step += 1
        if step > when:
            real(fd, bytes(data)[: (when * 37) % (len(data) + 1)], at)
            raise PowerCut
        return real(fd, data, at)

    device = EmulatedRpmb(path)
    done = 0
    monkeypatch.setattr(rpmb_image.os, "pwrite", torn)
    try:
        for done in range(12):
            assert put(device, 0, block(10 + done), block(100 + done)) == OK
        done = 12
    except PowerCut:
        pass
    monkeypatch.undo()
    device.close()
    after = EmulatedRpmb(path)
    result, [one, two] = get(after, 0, 2)
    count = counter(after)[1]
    after.close()
    assert result == OK
    assert count - 1 in (done, done + 1)
    assert (one, two) == ((block(9 + count - 1), block(99 + count - 1)) if count > 1 else (block(1), block(2)))


def test_a_full_disk(device, path, monkeypatch, caplog):
    program(device)
    put(device, 0, block(1))

    def full(fd, data, at):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rpmb_image.os, "pwrite", full)
    [answer] = ask(device, *write(KEY, 0, [block(2)], 1))
    assert answer["result"] == WRITE_FAILURE
    assert "No space left" in caplog.text
    monkeypatch.undo()
    assert ask(device, frame(COUNTER))[0]["result"] == GENERAL, "it is to be looked at anew first"
    device.close()
    again = EmulatedRpmb(path)
    assert get(again, 0) == (OK, [block(1)])
    again.close()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.one_of(
                    st.binary(min_size=512, max_size=512),
                    st.builds(
                        lambda kind, address, count: frame(kind, address=address, count=count),
                        st.integers(0, 6),
                        st.integers(0, 0xFFFF),
                        st.integers(0, 3),
                    ),
                ),
                min_size=1,
                max_size=4,
            ),
            st.integers(1, 4),
        ),
        max_size=4,
    )
)
def test_any_frames_are_answered_by_frames(tmp_path_factory, requests):
    device = EmulatedRpmb(tmp_path_factory.mktemp("any") / "rpmb")
    for frames, count in requests:
        assert len(exchange(device, frames, count)) == 512 * count
    device.close()


def test_frames_with_a_mac_of_the_wrong_frame(device):
    program(device)
    frames = [frame(WRITE, data=block(1), count=1)]
    other = signed(KEY, [frame(WRITE, data=block(2), count=1)])
    forged = frames[0][:196] + other[0][196:228] + frames[0][228:]
    assert ask(device, forged)[0]["result"] == AUTH

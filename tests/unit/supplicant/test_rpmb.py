"""OPTEE_RPC_CMD_RPMB at byte level: requests taken apart for a device, and what is said where there is none."""

import struct
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc
from optemu.abi import rpmb as abi

MEM_IN, MEM_OUT = 5, 6
NO_SHM = (1 << 64) - 1
OK, BAD, GENERIC = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_GENERIC
KEY, COUNTER, WRITE, READ, RESULT = 1, 2, 3, 4, 5


def frame(kind, fill=0):
    return bytes([fill]) * 510 + struct.pack(">H", kind)


def request(cmd, *frames, device=0):
    return struct.pack("<HHH", cmd, device, len(frames)) + b"".join(frames)


class Device:
    """Says what it was told."""

    cid, size_mult, rel_wr_sec_c = bytes(range(16)), 2, 1

    def __init__(self):
        self.log = []
        self.lock = threading.Lock()

    def write_blocks(self, frames):
        self.log.append(("write", [f[-1] for f in frames], [f[0] for f in frames]))

    def read_blocks(self, count):
        self.log.append(("read", count))
        return [frame(0x100 * (n + 1), n) for n in range(count)]


@pytest.fixture
def device(supp):
    supp.supplicant._services.rpmb.device = Device()
    return supp.supplicant._services.rpmb.device


def call(supp, raw, room):
    """(ret, response)."""
    source, target = supp.shm(raw), supp.shm(size=max(room, 1))
    ret, _ = supp.call(rpc.OPTEE_RPC_CMD_RPMB, (MEM_IN, 0, len(raw), source), (MEM_OUT, 0, room, target))
    answer = supp.read(target, 0, room)
    supp.free(source)
    supp.free(target)
    return ret, answer


def test_frame_layout():
    assert abi.RPMB_FRAME_SIZE == 512
    assert (abi.RPMB_REQ.size, abi.RPMB_DEV_INFO.size) == (6, 19)


def test_device_information(supp, device):
    assert call(supp, request(1), 19) == (OK, bytes(range(16)) + b"\2\1\0")
    assert call(supp, request(1), 20)[0] == BAD
    assert call(supp, request(1) + b"x", 19)[0] == BAD


def test_writes_ask_for_their_result(supp, device):
    ret, answer = call(supp, request(0, frame(WRITE, 7), frame(WRITE, 8)), 512)
    assert (ret, answer) == (OK, frame(0x100, 0))
    assert device.log == [("write", [3, 3], [7, 8]), ("write", [5], [0]), ("read", 1)]
    device.log.clear()
    assert call(supp, request(0, frame(KEY)), 512)[0] == OK
    assert [entry[0] for entry in device.log] == ["write", "write", "read"]


def test_reads(supp, device):
    assert call(supp, request(0, frame(COUNTER, 1)), 512)[0] == OK
    ret, answer = call(supp, request(0, frame(READ, 2)), 3 * 512 + 10)
    assert (ret, answer) == (OK, frame(0x100, 0) + frame(0x200, 1) + frame(0x300, 2) + bytes(10))
    assert device.log == [("write", [2], [1]), ("read", 1), ("write", [4], [2]), ("read", 3)]


@pytest.mark.parametrize(
    ("frames", "room", "ret"),
    [
        ([], 512, GENERIC),
        ([frame(RESULT)], 512, GENERIC),
        ([frame(WRITE), frame(READ)], 512, BAD),
        ([frame(WRITE)], 1024, BAD),
        ([frame(WRITE)], 0, BAD),
        ([frame(COUNTER)], 1024, BAD),
        ([frame(READ), frame(READ)], 512, BAD),
        ([frame(WRITE)[:-1]], 512, GENERIC),
    ],
)
def test_malformed_frames_do_not_reach_the_device(supp, device, frames, room, ret):
    assert call(supp, request(0, *frames), room)[0] == ret
    assert device.log == []


def test_malformed_requests(supp, device):
    assert call(supp, b"12345", 512)[0] == BAD
    assert call(supp, request(2), 512)[0] == BAD
    for params in ([], [(MEM_IN, 0, 6, NO_SHM)], [(1, 0, 0, 0), (1, 0, 0, 0)]):
        assert supp.call(rpc.OPTEE_RPC_CMD_RPMB, *params) == (BAD, params)


def test_without_a_device(supp):
    """As upstream where no eMMC is."""
    assert call(supp, request(1), 19)[0] == gp.TEE_ERROR_ITEM_NOT_FOUND
    assert call(supp, request(0, frame(READ)), 512)[0] == BAD


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=1200),
        st.builds(
            lambda cmd, kinds, cut: request(cmd, *map(frame, kinds))[:cut],
            st.integers(0, 2),
            st.lists(st.integers(0, 6), max_size=4),
            st.integers(0, 2100),
        ),
    ),
    st.integers(0, 1600),
)
def test_any_bytes(supp, raw, room):
    supp.supplicant._services.rpmb.device = Device()
    assert call(supp, raw, room)[0] in (OK, BAD, GENERIC)

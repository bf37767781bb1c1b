"""OPTEE_RPC_CMD_GPROF and _FTRACE at byte level."""

import stat

import pytest

from optemu.abi import gp
from optemu.abi import optee_rpc_cmd as rpc

UUID = "8aaaf200-2450-11e4-abe2-0002a5d5c51b"
IN_MEMORY = gp.uuid_to_memory(gp.uuid_octets(UUID))
INOUT, MEM_IN, MEM_OUT = 3, 5, 6
NO_SHM = (1 << 64) - 1
OK, BAD, GENERIC = gp.TEE_SUCCESS, gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_GENERIC


def send(supp, file, data, cmd=rpc.OPTEE_RPC_CMD_GPROF, uuid=IN_MEMORY):
    """(ret, file)."""
    shm = supp.shm(uuid + data)
    what = [(MEM_IN, 0, len(uuid), shm), (MEM_IN, len(uuid), len(data), shm)]
    ret, params = supp.call(cmd, (INOUT, file, 0, 0), *what)
    supp.free(shm)
    return ret, params[0][1]


@pytest.mark.parametrize(("cmd", "prefix"), [(rpc.OPTEE_RPC_CMD_GPROF, "gmon"), (rpc.OPTEE_RPC_CMD_FTRACE, "ftrace")])
def test_files_grow_and_are_numbered(supp, state, cmd, prefix):
    assert send(supp, 0, b"one", cmd) == (OK, 1)
    assert send(supp, 1, b" more", cmd) == (OK, 1)
    assert send(supp, 0, b"two", cmd) == (OK, 2)
    assert send(supp, 2, b"", cmd) == (OK, 2)
    first, second = state / "tmp" / f"{prefix}-{UUID}.out", state / "tmp" / f"{prefix}-{UUID}.1.out"
    assert sorted((state / "tmp").iterdir()) == sorted([first, second])
    assert (first.read_bytes(), second.read_bytes()) == (b"one more", b"two")
    assert stat.S_IMODE(first.stat().st_mode) & 0o600 == 0o600


def test_a_hundred_files_are_enough(supp, state):
    assert [send(supp, 0, b"x") for _ in range(100)] == [(OK, n) for n in range(1, 101)]
    assert send(supp, 0, b"x") == (GENERIC, 0)
    assert (state / "tmp" / f"gmon-{UUID}.99.out").exists()


def test_what_cannot_be(supp, state):
    for file in (101, 1 << 31, NO_SHM):
        assert send(supp, file, b"x")[0] == BAD
    assert send(supp, 7, b"x")[0] == GENERIC
    assert send(supp, 0, b"x", uuid=bytes(15))[0] == BAD
    shm = supp.shm(bytes(16))
    for params in (
        [],
        [(INOUT, 0, 0, 0), (MEM_IN, 0, 16, shm)],
        [(INOUT, 0, 0, 0), (MEM_IN, 0, 16, shm), (MEM_OUT, 0, 16, shm)],
        [(INOUT, 0, 0, 0), (MEM_IN, 0, 16, NO_SHM), (MEM_IN, 0, 16, shm)],
        [(INOUT, 0, 0, 0), (MEM_IN, 0, 17, shm), (MEM_IN, 0, 16, NO_SHM)],
    ):
        assert supp.call(rpc.OPTEE_RPC_CMD_FTRACE, *params) == (BAD, params)


def test_links_are_not_followed(supp, state, tmp_path):
    (state / "tmp").mkdir(parents=True)
    (state / "tmp" / f"gmon-{UUID}.out").symlink_to(tmp_path / "elsewhere")
    assert send(supp, 0, b"x") == (OK, 2)
    assert send(supp, 1, b"x")[0] == GENERIC
    assert not (tmp_path / "elsewhere").exists()

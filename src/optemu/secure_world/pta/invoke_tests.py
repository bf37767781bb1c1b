"""What xtest asks of the core itself. Mirrors core/pta/tests/invoke.c and mutex.c."""

import ctypes
import logging
import threading
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.ta_head import TA_FLAG_CONCURRENT, TA_FLAG_DEVICE_ENUM, TA_FLAG_SECURE_DATA_PATH
from optemu.errors import TeeError
from optemu.secure_world.core.param import Value, param_type, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand, PtaMemref
from optemu.secure_world.core.sync import Mutex
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.pta.aes_perf import aes_perf
from optemu.secure_world.pta.fs_htree_tests import FsHtreeTests
from optemu.secure_world.pta.self_tests import core_self_tests
from optemu.secure_world.storage.key_manager import KeyManager

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

log = logging.getLogger("optemu.core")
console = logging.getLogger("optemu.console")

PTA_INVOKE_TESTS_CMD_TRACE = 0
PTA_INVOKE_TESTS_CMD_PARAMS = 1
PTA_INVOKE_TESTS_CMD_SELF_TESTS = 2
PTA_INVOKE_TESTS_CMD_COPY_NSEC_TO_SEC = 3
PTA_INVOKE_TESTS_CMD_READ_MODIFY_SEC = 4
PTA_INVOKE_TESTS_CMD_COPY_SEC_TO_NSEC = 5
PTA_INVOKE_TESTS_CMD_FS_HTREE = 6
PTA_INVOKE_TESTS_CMD_MUTEX = 7
PTA_INVOKE_TESTS_CMD_LOCKDEP = 8
PTA_INVOKE_TEST_CMD_AES_PERF = 9
PTA_INVOKE_TESTS_CMD_MEMREF_NULL = 10
PTA_INVOKE_TESTS_CMD_DT_DRIVER_TESTS = 11
PTA_INVOKE_TESTS_CMD_TRANSFER_LIST_TESTS = 12

PTA_MUTEX_TEST_WRITER = 0
PTA_MUTEX_TEST_READER = 1

_IN, _OUT, _INOUT = gp.TEE_PARAM_TYPE_VALUE_INPUT, gp.TEE_PARAM_TYPE_VALUE_OUTPUT, gp.TEE_PARAM_TYPE_VALUE_INOUT
_MEM_IN, _MEM_OUT = gp.TEE_PARAM_TYPE_MEMREF_INPUT, gp.TEE_PARAM_TYPE_MEMREF_OUTPUT
_MEM_INOUT = gp.TEE_PARAM_TYPE_MEMREF_INOUT
_U32 = 0xFFFFFFFF
_LOOK_EVERY = 0x10000
"""Rounds, or bytes, between two looks whether anybody still waits for the test."""


def _trace(pta: PseudoTa, call: PtaCall) -> None:
    """Parameters are not looked at."""
    console.info('I/TC: pseudo TA "%s" says "Hello world !"', pta.name)


def _params(pta: PseudoTa, call: PtaCall) -> int:
    """One value_inout: a += b. One value_out, the rest value_in: their sums. One memref_inout: its byte sum."""
    kinds = [param_type(call.types, n) for n in range(gp.TEE_NUM_PARAMS)]
    used = [kind for kind in kinds if kind]
    if used == [_INOUT]:
        value = call.params[kinds.index(_INOUT)]
        value.a = value.a + value.b & _U32
        return gp.TEE_SUCCESS
    if sorted(kinds) == [_IN, _IN, _IN, _OUT]:
        out = call.params[kinds.index(_OUT)]
        values = [p for p in call.params if p is not out]
        out.a = sum(v.a for v in values) & _U32
        out.b = sum(v.b for v in values) & _U32
        return gp.TEE_SUCCESS
    if used == [_MEM_INOUT]:
        return _sum_bytes(pta, call.thread, call.params[kinds.index(_MEM_INOUT)])
    log.error("unexpected parameters")
    return gp.TEE_ERROR_BAD_PARAMETERS


def _sum_bytes(pta: PseudoTa, thread: Thread, ref: PtaMemref) -> int:
    if not ref.buffer:
        # Upstream stores through the pointer all the same, and its core takes an abort.
        return gp.TEE_ERROR_BAD_PARAMETERS
    _check_v2p2v(pta, ref.buffer, ref)
    total = 0
    for at in range(0, ref.size, _LOOK_EVERY):
        total += sum(ref.buffer[at : at + _LOOK_EVERY])
        if thread.abandoned:
            break
    ref.buffer[0] = total & 0xFF
    return gp.TEE_SUCCESS


def _check_v2p2v(pta: PseudoTa, buffer: memoryview, ref: PtaMemref) -> None:
    """test_v2p2v: the physical address of the reference leads back to its bytes. TeeError(TEE_ERROR_SECURITY)."""
    region = pta.tee.board.memory.find(ref.pa, secure=ref.secure)
    va = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    if region is None or region.host + ref.pa - region.base != va:
        raise TeeError(gp.TEE_ERROR_SECURITY, f"p2v/v2p of memory at 0x{ref.pa:x} fails")


def _copy_sdp(pta: PseudoTa, call: PtaCall) -> int:
    """[in] memref, [out] memref, one of secure data path memory: there is none here, what is given is never that."""
    source, target, *_ = call.params
    if target.size < source.size:
        target.size = source.size
        return gp.TEE_ERROR_SHORT_BUFFER
    return gp.TEE_ERROR_BAD_PARAMETERS


def _transform_sdp(pta: PseudoTa, call: PtaCall) -> int:
    """[inout] memref of secure data path memory: see above."""
    return gp.TEE_ERROR_BAD_PARAMETERS


def _fs_htree(pta: PseudoTa, call: PtaCall) -> None:
    """No parameters."""
    board = pta.tee.board
    FsHtreeTests(KeyManager(board.config.huk), board.entropy, pta.uuid).run()


def _memref_null(pta: PseudoTa, call: PtaCall) -> int:
    """[inout] memref: NULL, of no size."""
    ref = call.params[0]
    return gp.TEE_ERROR_BAD_PARAMETERS if ref.buffer is not None or ref.size else gp.TEE_SUCCESS


def _dt_driver_tests(pta: PseudoTa, call: PtaCall) -> None:
    """As where upstream is built without them."""
    console.info("I/TC: dt_driver tests are not embedded")


class MutexTest:
    """Writers keep val1 twice val0, readers see it so; each counts who is before the lock and inside it."""

    def __init__(self) -> None:
        self._mutex = Mutex()
        self._count_lock = threading.Lock()
        self._before = [0, 0]
        self._during = [0, 0]
        self._val0 = self._val1 = 0

    def run(self, call: PtaCall) -> int:
        """[in] value: test, rounds. [out] value: how many were before the lock and inside it, this one included."""
        what, seen, *_ = call.params
        if what.a == PTA_MUTEX_TEST_WRITER:
            self._write(call.thread, what.b, seen)
            return gp.TEE_SUCCESS
        if what.a == PTA_MUTEX_TEST_READER:
            return self._read(call.thread, what.b, seen)
        return gp.TEE_ERROR_BAD_PARAMETERS

    def _add(self, counts: list[int], kind: int, change: int) -> int:
        """atomic_inc32, atomic_dec32."""
        with self._count_lock:
            counts[kind] += change
            return counts[kind]

    def _write(self, thread: Thread, rounds: int, seen: Value) -> None:
        kind = PTA_MUTEX_TEST_WRITER
        seen.a = self._add(self._before, kind, 1)
        self._mutex.lock(thread)
        self._add(self._before, kind, -1)
        seen.b = self._add(self._during, kind, 1)
        for n in range(rounds):
            self._val0 += 1
            self._val1 += 1
            self._val1 += 1
            if not n % _LOOK_EVERY and thread.abandoned:
                break
        self._add(self._during, kind, -1)
        self._mutex.unlock(thread)

    def _read(self, thread: Thread, rounds: int, seen: Value) -> int:
        kind = PTA_MUTEX_TEST_READER
        ret = gp.TEE_SUCCESS
        seen.a = self._add(self._before, kind, 1)
        self._mutex.read_lock(thread)
        self._add(self._before, kind, -1)
        seen.b = self._add(self._during, kind, 1)
        for n in range(rounds):
            if self._val0 * 2 != self._val1:
                ret = gp.TEE_ERROR_BAD_STATE
            if not n % _LOOK_EVERY and thread.abandoned:
                break
        self._add(self._during, kind, -1)
        self._mutex.read_unlock(thread)
        return ret


_COPY = param_types(_MEM_IN, _MEM_OUT)
_REF = param_types(_MEM_INOUT)


class InvokeTestsPta(PseudoTa):
    """invoke_tests.pta"""

    uuid = gp.uuid_octets("d96a5b40-c3e5-21e3-8794-1002a5d5c61b")
    name = "invoke_tests.pta"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_SECURE_DATA_PATH | TA_FLAG_CONCURRENT | TA_FLAG_DEVICE_ENUM
    unknown_command = gp.TEE_ERROR_BAD_PARAMETERS
    commands = (
        PtaCommand(PTA_INVOKE_TESTS_CMD_TRACE, "TRACE", None, _trace),
        PtaCommand(PTA_INVOKE_TESTS_CMD_PARAMS, "PARAMS", None, _params),
        PtaCommand(
            PTA_INVOKE_TESTS_CMD_SELF_TESTS, "SELF_TESTS", None, lambda pta, call: core_self_tests(pta.tee.board.memory)
        ),
        PtaCommand(PTA_INVOKE_TESTS_CMD_COPY_NSEC_TO_SEC, "COPY_NSEC_TO_SEC", _COPY, _copy_sdp),
        PtaCommand(PTA_INVOKE_TESTS_CMD_READ_MODIFY_SEC, "READ_MODIFY_SEC", _REF, _transform_sdp),
        PtaCommand(PTA_INVOKE_TESTS_CMD_COPY_SEC_TO_NSEC, "COPY_SEC_TO_NSEC", _COPY, _copy_sdp),
        PtaCommand(PTA_INVOKE_TESTS_CMD_FS_HTREE, "FS_HTREE", param_types(), _fs_htree),
        PtaCommand(
            PTA_INVOKE_TESTS_CMD_MUTEX, "MUTEX", param_types(_IN, _OUT), lambda pta, call: pta.mutex_test.run(call)
        ),
        PtaCommand(PTA_INVOKE_TESTS_CMD_LOCKDEP, "LOCKDEP", None, None, "as upstream is built, without CFG_LOCKDEP"),
        PtaCommand(PTA_INVOKE_TEST_CMD_AES_PERF, "AES_PERF", param_types(_IN, _IN, _MEM_INOUT, _MEM_INOUT), aes_perf),
        PtaCommand(PTA_INVOKE_TESTS_CMD_MEMREF_NULL, "MEMREF_NULL", _REF, _memref_null),
        PtaCommand(PTA_INVOKE_TESTS_CMD_DT_DRIVER_TESTS, "DT_DRIVER_TESTS", None, _dt_driver_tests),
        PtaCommand(
            PTA_INVOKE_TESTS_CMD_TRANSFER_LIST_TESTS,
            "TRANSFER_LIST_TESTS",
            None,
            None,
            "as upstream is built, without CFG_TRANSFER_LIST_TEST",
        ),
    )

    def __init__(self, tee: "Tee") -> None:
        super().__init__(tee)
        self.mutex_test = MutexTest()

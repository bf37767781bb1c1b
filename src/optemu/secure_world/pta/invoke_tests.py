"""What xtest asks of the core itself. Mirrors core/pta/tests/invoke.c and mutex.c."""

import ctypes
import logging
import threading
from typing import TYPE_CHECKING

from optemu.abi import gp
from optemu.abi.ta_head import TA_FLAG_CONCURRENT, TA_FLAG_DEVICE_ENUM, TA_FLAG_SECURE_DATA_PATH
from optemu.errors import TeeError
from optemu.secure_world.core.param import Value, param_type, param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaMemref, PtaParam
from optemu.secure_world.core.sync import Mutex
from optemu.secure_world.core.thread import Thread
from optemu.secure_world.pta.self_tests import core_self_tests

if TYPE_CHECKING:
    from optemu.secure_world.core.tee import Tee

log = logging.getLogger("optemu.core")

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
_LOOK_EVERY = 0xFFFF
"""Rounds between two looks whether anybody still waits for the test."""
_LATER = {
    PTA_INVOKE_TESTS_CMD_FS_HTREE: "the tests of the file system's hash tree come with secure storage",
    PTA_INVOKE_TESTS_CMD_LOCKDEP: "the core is built without lock dependency checks (CFG_LOCKDEP=n)",
    PTA_INVOKE_TEST_CMD_AES_PERF: "AES performance tests come with the cryptographic services",
    PTA_INVOKE_TESTS_CMD_TRANSFER_LIST_TESTS: "the core is built without transfer list tests",
}


class InvokeTestsPta(PseudoTa):
    """invoke_tests.pta"""

    uuid = gp.uuid_octets("d96a5b40-c3e5-21e3-8794-1002a5d5c61b")
    name = "invoke_tests.pta"
    flags = PTA_DEFAULT_FLAGS | TA_FLAG_SECURE_DATA_PATH | TA_FLAG_CONCURRENT | TA_FLAG_DEVICE_ENUM

    def __init__(self, tee: "Tee") -> None:
        super().__init__(tee)
        self._mutex_test = _MutexTest()

    def invoke_command(
        self, thread: Thread, session: object, cmd: int, types: int, params: list[PtaParam]
    ) -> int | None:
        match cmd:
            case 0:
                log.info('pseudo TA "%s" says "Hello world !"', self.name)
                return gp.TEE_SUCCESS
            case 1:
                return self._params(types, params)
            case 2:
                return core_self_tests(self.tee)
            case 3 | 5:
                return _copy_sdp(types, params)
            case 4:
                return gp.TEE_ERROR_BAD_PARAMETERS  # of whatever type, the memory is not secure data path memory
            case 7:
                return self._mutex_test.run(thread, types, params)
            case 10:
                return _memref_null(types, params[0])
            case 11:
                log.info("dt_driver tests are not embedded")
                return gp.TEE_SUCCESS
        if cmd in _LATER:
            log.info("%s: %s", self.name, _LATER[cmd])
            return gp.TEE_ERROR_NOT_SUPPORTED
        return gp.TEE_ERROR_BAD_PARAMETERS

    def _params(self, types: int, params: list[PtaParam]) -> int:
        """One value_inout: a += b. One value_out, the rest value_in: their sums. One memref_inout: its byte sum."""
        kinds = [param_type(types, n) for n in range(gp.TEE_NUM_PARAMS)]
        used = [kind for kind in kinds if kind]
        if used == [_INOUT]:
            value = params[kinds.index(_INOUT)]
            assert isinstance(value, Value)
            value.a = value.a + value.b & _U32
            return gp.TEE_SUCCESS
        if sorted(kinds) == [_IN, _IN, _IN, _OUT]:
            _sum_values(params[kinds.index(_OUT)], [p for p, kind in zip(params, kinds, strict=True) if kind == _IN])
            return gp.TEE_SUCCESS
        if used == [_MEM_INOUT]:
            ref = params[kinds.index(_MEM_INOUT)]
            assert isinstance(ref, PtaMemref)
            return self._sum_bytes(ref)
        log.error("unexpected parameters")
        return gp.TEE_ERROR_BAD_PARAMETERS

    def _sum_bytes(self, ref: PtaMemref) -> int:
        if not ref.buffer:
            # Upstream stores through the pointer all the same, and its core takes an abort.
            return gp.TEE_ERROR_BAD_PARAMETERS
        self._check_v2p2v(ref)
        ref.buffer[0] = sum(ref.buffer) & 0xFF
        return gp.TEE_SUCCESS

    def _check_v2p2v(self, ref: PtaMemref) -> None:
        """test_v2p2v: the physical address of the reference leads back to its bytes. TeeError(TEE_ERROR_SECURITY)."""
        assert ref.buffer is not None
        region = self.tee.board.memory.find(ref.pa, secure=ref.secure)
        va = ctypes.addressof(ctypes.c_char.from_buffer(ref.buffer))
        if region is None or region.host + ref.pa - region.base != va:
            raise TeeError(gp.TEE_ERROR_SECURITY, f"p2v/v2p of memory at 0x{ref.pa:x} fails")


def _copy_sdp(types: int, params: list[PtaParam]) -> int:
    """[in] memref, [out] memref, one of secure data path memory: there is none here, what is given is never that."""
    if types != param_types(_MEM_IN, _MEM_OUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    source, target = params[:2]
    assert isinstance(source, PtaMemref)
    assert isinstance(target, PtaMemref)
    if target.size < source.size:
        target.size = source.size
        return gp.TEE_ERROR_SHORT_BUFFER
    return gp.TEE_ERROR_BAD_PARAMETERS


def _sum_values(out: PtaParam, values: list[PtaParam]) -> None:
    assert isinstance(out, Value)
    out.a = sum(v.a for v in values if isinstance(v, Value)) & _U32
    out.b = sum(v.b for v in values if isinstance(v, Value)) & _U32


def _memref_null(types: int, ref: PtaParam) -> int:
    """[inout] memref: NULL, of no size."""
    if types != param_types(_MEM_INOUT):
        return gp.TEE_ERROR_BAD_PARAMETERS
    assert isinstance(ref, PtaMemref)
    return gp.TEE_ERROR_BAD_PARAMETERS if ref.buffer is not None or ref.size else gp.TEE_SUCCESS


class _MutexTest:
    """Writers keep val1 twice val0, readers see it so; each counts who is before the lock and inside it."""

    def __init__(self) -> None:
        self._mutex = Mutex()
        self._count_lock = threading.Lock()
        self._before = [0, 0]
        self._during = [0, 0]
        self._val0 = self._val1 = 0

    def run(self, thread: Thread, types: int, params: list[PtaParam]) -> int:
        """[in] value: test, rounds. [out] value: how many were before the lock and inside it, this one included."""
        if types != param_types(_IN, _OUT):
            return gp.TEE_ERROR_BAD_PARAMETERS
        what, seen = params[:2]
        assert isinstance(what, Value)
        assert isinstance(seen, Value)
        if what.a == PTA_MUTEX_TEST_WRITER:
            self._write(thread, what.b, seen)
            return gp.TEE_SUCCESS
        if what.a == PTA_MUTEX_TEST_READER:
            return self._read(thread, what.b, seen)
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
            if not n & _LOOK_EVERY and thread.abandoned:
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
            if not n & _LOOK_EVERY and thread.abandoned:
                break
        self._add(self._during, kind, -1)
        self._mutex.read_unlock(thread)
        return ret

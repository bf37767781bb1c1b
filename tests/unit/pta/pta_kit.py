"""Calls of static TAs: through the Python libteec, and as the kernel's drivers make them."""

from collections.abc import Callable

from optemu.abi import gp, optee_msg
from optemu.machine import Machine
from optemu.normal_world.device import LocalTask, PinnedMemory
from optemu.normal_world.driver.rpc import _kernel_buffer
from optemu.normal_world.libteec import TeecError
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa


def result(call: Callable[..., None], *args: object) -> int:
    """TEE_Result of a call through libteec."""
    try:
        call(*args)
    except TeecError as e:
        return e.code
    return gp.TEE_SUCCESS


class Kernel:
    """A driver of the normal world's kernel that has a session: TEE_LOGIN_REE_KERNEL, memory of its own."""

    def __init__(self, machine: Machine, uuid: bytes) -> None:
        self._optee = machine.optee
        self._ctx = machine.device.open("/dev/tee0", LocalTask(PinnedMemory(), {}))
        task = LocalTask(PinnedMemory(), {})
        answer = self._optee.open_session(self._ctx, task, uuid, gp.TEE_LOGIN_REE_KERNEL, bytes(16), 0, ())
        self.session, self.ret, self.origin, _ = answer
        self.shm = _kernel_buffer(self._optee, 4096)
        self._optee.shm_register(self.shm)

    def value(self, kind: int, cmd: int, a: int = 0, b: int = 0) -> tuple[int, int, int]:
        """(TEE_Result, a, b) of a command with one value parameter."""
        ret, _, out = self._optee.invoke_func(self._ctx, cmd, self.session, 0, (kind, a, b, 0))
        return ret, out[1], out[2]

    def memref(self, kind: int, cmd: int, data: bytes = b"", size: int | None = None, at: int = 0) -> tuple[int, bytes]:
        """(TEE_Result, memory afterwards) of a command with one memory reference, at ``at`` of a page."""
        size = len(data) if size is None else size
        self.shm.view[at : at + len(data)] = data
        attr = optee_msg.OPTEE_MSG_ATTR_TYPE_RMEM_INPUT - gp.TEE_PARAM_TYPE_MEMREF_INPUT + kind
        ret, _, out = self._optee.invoke_func(self._ctx, cmd, self.session, 0, (attr, at, size, self.shm.cookie))
        return ret, bytes(self.shm.view[at : at + out[2]])

    def nothing(self, cmd: int) -> int:
        return self._optee.invoke_func(self._ctx, cmd, self.session, 0, ())[0]


class Script(PseudoTa):
    """Runs what the test put in ``script``."""

    uuid = gp.uuid_octets("b3ff4ab5-7e2a-4a5c-bb0b-8e5d0b1c2f11")
    name = "script"
    flags = PTA_DEFAULT_FLAGS
    script = staticmethod(lambda thread: None)

    def invoke_command(self, thread, session, cmd, types, params):
        Script.script(thread)

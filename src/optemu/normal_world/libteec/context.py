"""Contexts, sessions and operations of the Client API. Mirrors libteec/src/tee_client_api.c."""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol

from optemu.abi import gp
from optemu.abi import tee_ioctl as abi
from optemu.normal_world.device import DeviceFile, KernelDevice
from optemu.normal_world.libteec import channel as ch
from optemu.normal_world.libteec import constants as c
from optemu.normal_world.libteec import shm as shared_memory
from optemu.normal_world.libteec.errors import TeecError, bad_parameters, ioctl_error
from optemu.normal_world.libteec.params import Parameter
from optemu.normal_world.libteec.shm import SharedMemory

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger("optemu.normal_world")

TEEC_MAX_DEV_SEQ: Final = 10
_PARAMS_SIZE: Final = ch.PARAMS_SIZE
_NO_PARAMS: Final = bytes(_PARAMS_SIZE)
_STEP: Final = abi.PARAM.size
_GROUP_LOGINS: Final = (c.TEEC_LOGIN_GROUP, c.TEEC_LOGIN_GROUP_APPLICATION)
# An invoke is the hot path: these are looked up once here, not each time in their modules.
_TEE_IOC_INVOKE: Final = abi.TEE_IOC_INVOKE
_INVOKE_ARG_AT: Final = ch.INVOKE_ARG_AT
_INVOKE_PARAMS_AT: Final = ch.INVOKE_PARAMS_AT
_pack_invoke: Final = abi.INVOKE_ARG.pack_into
_unpack_invoke: Final = abi.INVOKE_ARG.unpack_from

Params = tuple[Parameter | None, ...]
"""Up to four; None is TEEC_NONE."""


class Uuid(Protocol):
    """Anything whose str() is a UUID: a str, a uuid.UUID."""

    def __str__(self) -> str: ...


class Operation:
    """TEEC_Operation: parameters that several calls may use in turn, and a handle to cancel the one under way."""

    __slots__ = ("params", "session")

    def __init__(self, *params: Parameter | None) -> None:
        self.params: Params = _checked_params(params)
        self.session: Session | None = None

    def RequestCancellation(self) -> None:
        """TEEC_RequestCancellation, from any thread; nothing happens before the operation's first invoke."""
        session = self.session
        if session is None:
            return
        try:
            session.context.channel.call(abi.TEE_IOC_CANCEL, abi.CANCEL_ARG, 0, session.id)
        except OSError as error:
            log.warning("TEE_IOC_CANCEL for session %d failed: %s", session.id, error.strerror)


class Context:
    """TEEC_Context: a GlobalPlatform TEE behind ``device``, which is ours from now on.

    ``name`` None takes any, ``optee-tz`` OP-TEE on TrustZone. TeecError(TEEC_ERROR_ITEM_NOT_FOUND) for another one.
    """

    def __init__(self, device: DeviceFile, name: str | None = None) -> None:
        self.device = device
        try:
            self.channel = ch.Channel(device)
            self._check(name)
        except OSError as error:
            device.close()
            raise _no_tee(f"TEE_IOC_VERSION: {error.strerror}") from error
        except TeecError:
            device.close()
            raise

    def _check(self, name: str | None) -> None:
        impl_id, impl_caps, gen_caps = self.channel.version
        if not gen_caps & abi.TEE_GEN_CAP_GP:
            raise _no_tee("the device is no GlobalPlatform TEE")
        if name is None:
            return
        if name != "optee-tz":
            raise _no_tee(f"unknown TEE name {name!r}; known are None and 'optee-tz'")
        if impl_id != abi.TEE_IMPL_ID_OPTEE or not impl_caps & abi.TEE_OPTEE_CAP_TZ:
            raise _no_tee("the device is not OP-TEE on TrustZone")

    def __enter__(self) -> "Context":
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.FinalizeContext()

    def FinalizeContext(self) -> None:
        """TEEC_FinalizeContext: closes the device, and with it the sessions left open."""
        self.device.close()

    def OpenSession(
        self,
        destination: Uuid | bytes,
        connection_method: int = c.TEEC_LOGIN_PUBLIC,
        connection_data: int | None = None,
        operation: Operation | None = None,
    ) -> "Session":
        """TEEC_OpenSession with a TA, by UUID (text, uuid.UUID, or 16 octets as RFC 4122 writes them).

        ``connection_method`` is a TEEC_LOGIN_*; the two group logins take a gid as ``connection_data``.
        """
        if connection_method >> 32:
            raise ValueError(f"login method {connection_method:#x} does not fit 32 bits, unsigned")
        uuid = _uuid(destination)
        client = _connection_data(connection_method, connection_data)
        params = operation.params if operation is not None else ()
        block = self.channel.take()
        buf, temps = block.buf, list[SharedMemory | None]()
        arg = ch.OPEN_SESSION_ARG_AT
        try:
            abi.OPEN_SESSION_ARG.pack_into(buf, arg, uuid, client, connection_method, 0, 0, 0, 0, 4)
            _pre_process(self.channel, params, buf, ch.OPEN_SESSION_PARAMS_AT, temps)
            try:
                self.device.ioctl(abi.TEE_IOC_OPEN_SESSION, block.address + ch.OPEN_SESSION_AT)
            except OSError as error:
                raise ioctl_error(error, f"TEE_IOC_OPEN_SESSION {gp.uuid_str(uuid)}") from error
            _, _, _, _, session, ret, origin, _ = abi.OPEN_SESSION_ARG.unpack_from(buf, arg)
            _post_process(params, buf, ch.OPEN_SESSION_PARAMS_AT, temps)
        finally:
            _free_temps(temps)
            self.channel.blocks.append(block)
        if ret != c.TEEC_SUCCESS:
            raise TeecError(ret, origin, f"open session with TA {gp.uuid_str(uuid)}")
        return Session(self, session)

    def RegisterSharedMemory(self, buffer: "Buffer", flags: int = c.TEEC_MEM_INOUT) -> SharedMemory:
        """TEEC_RegisterSharedMemory: ``buffer`` (contiguous; writable for output), not resizable till released."""
        return shared_memory.register(self.channel, buffer, flags)

    def AllocateSharedMemory(self, size: int, flags: int = c.TEEC_MEM_INOUT) -> SharedMemory:
        """TEEC_AllocateSharedMemory: ``size`` bytes of zeros at ``.buffer``."""
        return shared_memory.allocate(self.channel, size, flags)

    def RegisterSharedMemoryFileDescriptor(self, fd: int, flags: int = c.TEEC_MEM_INOUT) -> SharedMemory:
        """OP-TEE's extension: the memory behind a dma-buf; ``fd`` stays the caller's."""
        return shared_memory.register_fd(self.channel, fd, flags)


class Session:
    """TEEC_Session: an open session; the driver's number for it is ``id``."""

    __slots__ = ("context", "id")

    def __init__(self, context: Context, session_id: int) -> None:
        self.context = context
        self.id = session_id

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.CloseSession()

    def CloseSession(self) -> None:
        """TEEC_CloseSession; that it failed is only logged, as in the C library."""
        try:
            self.context.channel.call(abi.TEE_IOC_CLOSE_SESSION, abi.CLOSE_SESSION_ARG, self.id)
        except OSError as error:
            log.warning("TEE_IOC_CLOSE_SESSION of session %d failed: %s", self.id, error.strerror)

    def InvokeCommand(self, command_id: int, operation: Operation | None = None) -> None:
        """TEEC_InvokeCommand: results are in the operation's parameters; TeecError for every other outcome."""
        if operation is None:
            return self._invoke(command_id, ())
        operation.session = self
        return self._invoke(command_id, operation.params)

    def invoke(self, command_id: int, *params: Parameter | None) -> None:
        """TEEC_InvokeCommand with an operation of these parameters, which nobody will cancel."""
        if len(params) > 4:
            _checked_params(params)
        self._invoke(command_id, params)

    def _invoke(self, command_id: int, params: Params) -> None:
        if command_id >> 32:
            raise ValueError(f"command {command_id:#x} does not fit 32 bits, unsigned")
        channel = self.context.channel
        block = channel.take()
        buf = block.buf
        temps: list[SharedMemory | None] = []
        try:
            _pack_invoke(buf, _INVOKE_ARG_AT, command_id, self.id, 0, 0, 0, 4)
            _pre_process(channel, params, buf, _INVOKE_PARAMS_AT, temps)
            try:
                channel.device.ioctl(_TEE_IOC_INVOKE, block.address)
            except OSError as error:
                raise ioctl_error(error, f"TEE_IOC_INVOKE command {command_id}") from error
            _, _, _, ret, origin, _ = _unpack_invoke(buf, _INVOKE_ARG_AT)
            _post_process(params, buf, _INVOKE_PARAMS_AT, temps)
        finally:
            _free_temps(temps)
            channel.blocks.append(block)
        if ret:
            raise TeecError(ret, origin, f"invoke command {command_id}")


def InitializeContext(name: str | None = None, open_device: Callable[[str], DeviceFile] = KernelDevice) -> Context:
    """TEEC_InitializeContext: the first of /dev/tee0 to /dev/tee9 that is the TEE wanted (see Context)."""
    for n in range(TEEC_MAX_DEV_SEQ):
        try:
            return Context(open_device(f"/dev/tee{n}"), name)
        except (OSError, TeecError) as error:
            log.debug("/dev/tee%d: %s", n, error)
    raise _no_tee("none of /dev/tee0 to /dev/tee9 will do; is the TEE running (optemu run), may you open it?")


def _pre_process(
    channel: ch.Channel, params: Params, buf: bytearray, at: int, temps: list[SharedMemory | None]
) -> None:
    """teec_pre_process_operation(); memory made on the way goes to ``temps``, also when a later one fails."""
    buf[at : at + _PARAMS_SIZE] = _NO_PARAMS
    for param in params:
        temps.append(None if param is None else param.pre_process(channel, buf, at))
        at += _STEP


def _post_process(params: Params, buf: bytearray, at: int, temps: list[SharedMemory | None]) -> None:
    for n, param in enumerate(params):
        if param is not None:
            param.post_process(buf, at + n * _STEP, temps[n])


def _free_temps(temps: list[SharedMemory | None]) -> None:
    for temp in temps:
        if temp is not None:
            temp.ReleaseSharedMemory()


def _checked_params(params: Params) -> Params:
    if len(params) > c.TEEC_CONFIG_PAYLOAD_REF_COUNT:
        raise ValueError(f"{len(params)} parameters; an operation has four")
    return params


def _uuid(destination: Uuid | bytes) -> bytes:
    if not isinstance(destination, bytes):
        return gp.uuid_octets(str(destination))
    if len(destination) != 16:
        raise ValueError(f"a UUID has 16 octets, not {len(destination)}")
    return destination


def _connection_data(method: int, data: int | None) -> bytes:
    """``clnt_uuid`` as the driver wants it: the gid of a group login, else zeros."""
    if method not in _GROUP_LOGINS:
        return bytes(16)
    if data is None:
        raise bad_parameters("a group login needs a gid as connection_data")
    if data >> 32:
        raise ValueError(f"gid {data} does not fit 32 bits, unsigned")
    return data.to_bytes(4, "little").ljust(16, b"\0")


def _no_tee(message: str) -> TeecError:
    return TeecError(c.TEEC_ERROR_ITEM_NOT_FOUND, c.TEEC_ORIGIN_API, message)

"""tee-supplicant as threads of this process. Mirrors tee-supplicant/src/tee_supplicant.c."""

import errno
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from optemu.abi import gp, isocket
from optemu.abi import tee_ioctl as abi
from optemu.errors import TeeError
from optemu.normal_world.device import DeviceFile
from optemu.normal_world.emmc import RpmbDevice
from optemu.normal_world.supplicant.handlers import Services
from optemu.normal_world.supplicant.params import BLOCK_SIZE, Param, Request
from optemu.normal_world.supplicant.plugins import Plugins
from optemu.normal_world.supplicant.ree_fs import ReeFs
from optemu.normal_world.supplicant.rpmb import Rpmb
from optemu.normal_world.supplicant.shm import SharedMemory
from optemu.normal_world.supplicant.sockets import Sockets
from optemu.normal_world.supplicant.ta_load import DEFAULT_TA_DIRS, TaDirs, TaSearch
from optemu.normal_world.supplicant.table import BY_CMD, POINTS, Row, point, unknown
from optemu.trace import Tracer

log = logging.getLogger("optemu.normal_world")

# The secure world asks for what may not be there; whoever cares is told by its answer.
_ORDINARY = (gp.TEE_ERROR_ITEM_NOT_FOUND, gp.TEE_ERROR_SHORT_BUFFER, isocket.TEE_ISOCKET_ERROR_TIMEOUT)


class Supplicant:
    """Serves what the driver asks on the device that ``device_factory`` opens, ``/dev/teepriv0``.

    TA images are looked for in ``ta_dirs`` in turn; ``clock`` is nanoseconds since 1970. Profiles go to ``state`` (its
    ``tmp`` is a board's /tmp), files to ``store`` (a board's /var/lib/tee; by default the ``tee`` of ``state``), as far
    as there are such; with ``sync`` what is committed there survives a power cut. Plugins are loaded from
    ``plugin_dir``; ``rpmb`` is the board's.
    """

    def __init__(
        self,
        device_factory: Callable[[], DeviceFile],
        ta_dirs: Sequence[str | Path] = DEFAULT_TA_DIRS,
        clock: Callable[[], int] = time.time_ns,
        tracer: Tracer | None = None,
        *,
        state: Path | None = None,
        store: Path | None = None,
        sync: bool = False,
        plugin_dir: Path | None = None,
        rpmb: RpmbDevice | None = None,
    ) -> None:
        self._tracer = tracer
        self._state = state
        self._store = store or (state / "tee" if state is not None else None)
        self._sync = sync
        self._rpmb = Rpmb(rpmb)
        self.plugins = Plugins(plugin_dir)
        self._device_factory = device_factory
        self.ta_dirs = TaDirs(ta_dirs, clock)
        self._services: Services | None = None
        self._lock = threading.Lock()
        self._waiters = 0
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._idle: list[Request] = []
        """Room for requests whose threads are lent; as many as there ever were at once."""

    @property
    def last_failed_search(self) -> TaSearch | None:
        """The last TA that no directory had, with the paths tried."""
        return self.ta_dirs.last_failure

    def start(self) -> None:
        """Load the plugins, open the device and receive. OSError when it cannot be opened or is not OP-TEE's."""
        self.plugins.load_all()
        device = self._device_factory()
        try:
            gen_caps = _gen_caps(device)
        except OSError:
            device.close()
            raise
        shm = SharedMemory(device, bool(gen_caps & abi.TEE_GEN_CAP_REG_MEM))
        fs = ReeFs(self._store, self._sync) if self._store is not None else None
        self._services = Services(device, shm, self.ta_dirs, self._state, fs, Sockets(), self.plugins, self._rpmb)
        self._stopping = False
        self._spawn(self._services)

    def serve_one(self) -> None:
        """Receive and answer one request that is there already and does not block.

        Whoever makes it lends its thread: that saves two thread switches and changes nothing in what is said to
        the device.
        """
        services = self._services
        if services is None:
            return
        try:
            request = self._idle.pop()
        except IndexError:
            request = _room(services.device)
        if self._receive(services.device, request):
            self._answer(services, request, lent=True)
        self._idle.append(request)

    def stop(self) -> None:
        """Close the device, which ends what waits in it, and wait a little for the threads."""
        self._stopping = True
        services, self._services = self._services, None
        if services is None:
            return
        for request in self._idle:
            services.device.unpin(request.pin)
        self._idle.clear()
        services.close()
        for thread in self._threads:
            thread.join(timeout=1)
        self._threads.clear()

    def _spawn(self, services: Services) -> None:
        name = f"tee-supplicant-{len(self._threads)}"
        thread = threading.Thread(target=self._main, args=(services,), name=name, daemon=True)
        # Counted as waiting before it runs, or the next request would start yet another.
        self._waiters += 1
        self._threads.append(thread)
        thread.start()

    def _main(self, services: Services) -> None:
        request = _room(services.device)
        try:
            while self._receive(services.device, request):
                self._answer(services, request)
                with self._lock:
                    self._waiters += 1
        finally:
            services.device.unpin(request.pin)
            with self._lock:
                self._waiters -= 1

    def _receive(self, device: DeviceFile, request: Request) -> bool:
        """Wait for a request to lie in ``request``; False when there will be none any more."""
        while not self._stopping:
            request.pin.view[:] = request.room
            try:
                device.ioctl(abi.TEE_IOC_SUPPL_RECV, request.pin.address)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN):
                    continue
                self._log_failure("TEE_IOC_SUPPL_RECV", error)
                return False
            return True
        return False

    def _answer(self, services: Services, request: Request, lent: bool = False) -> None:
        """Serve ``request`` and send the answer; meanwhile another thread receives, if it may and must."""
        try:
            func, meta, params = request.decode()
        except TeeError as error:
            if not lent:
                self._leave_waiters(services, may_spawn=False)
            log.warning("malformed request: %s", error)
            ret = error.code
        else:
            if not lent:
                self._leave_waiters(services, may_spawn=meta > 0)
            row = BY_CMD.get(func) or unknown(func)
            tr = self._tracer
            if tr is None or not tr.on:
                ret = _serve(row, services, params)
            else:
                ret = _traced(tr, row, services, params)
        request.arg.func_or_ret = ret
        try:
            services.device.ioctl(abi.TEE_IOC_SUPPL_SEND, request.pin.address)
        except OSError as error:
            # The requester may be gone; the next request can be served all the same.
            self._log_failure("TEE_IOC_SUPPL_SEND", error)

    def _leave_waiters(self, services: Services, may_spawn: bool) -> None:
        """Not receiving for now. Without meta parameters the driver deals with one request at a time."""
        with self._lock:
            self._waiters -= 1
            if may_spawn and not self._waiters and not self._stopping:
                self._spawn(services)

    def _log_failure(self, name: str, error: OSError) -> None:
        level = logging.DEBUG if self._stopping else logging.ERROR
        log.log(level, "supplicant: %s: %s", name, error.strerror)


def _traced(tr: Tracer, row: Row, services: Services, params: list[Param]) -> int:
    where = POINTS.get(row.cmd) or point(row)
    tr.enter(where, *row.seen(*[*params, Param(), Param()][:2]))
    ret = _serve(row, services, params)
    tr.exit(where, ret)
    return ret


def _serve(row: Row, services: Services, params: list[Param]) -> int:
    if row.handler is None:
        log.warning("%s is not supported by the supplicant", row.name)
        return gp.TEE_ERROR_NOT_SUPPORTED
    try:
        return row.handler(services, params)
    except TeeError as error:
        log.log(logging.DEBUG if error.code in _ORDINARY else logging.WARNING, "%s: %s", row.name, error)
        return error.code
    except Exception:
        log.exception("%s failed, a defect of optemu; the TEE is told TEE_ERROR_GENERIC", row.name)
        return gp.TEE_ERROR_GENERIC


def _room(device: DeviceFile) -> Request:
    """Room for one request, where the driver finds it."""
    return Request(device.pin(bytearray(BLOCK_SIZE)))


def _gen_caps(device: DeviceFile) -> int:
    """TEE_IOC_VERSION's gen_caps; OSError(ENODEV) unless it is OP-TEE."""
    block = bytearray(abi.VERSION_DATA.size)
    pin = device.pin(block)
    try:
        device.ioctl(abi.TEE_IOC_VERSION, pin.address)
    finally:
        device.unpin(pin)
    impl_id, _, gen_caps = abi.VERSION_DATA.unpack(block)
    if impl_id != abi.TEE_IMPL_ID_OPTEE:
        raise OSError(errno.ENODEV, f"the device belongs to TEE implementation {impl_id}, not to OP-TEE")
    return int(gen_caps)

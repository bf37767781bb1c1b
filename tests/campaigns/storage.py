"""Trusted storage on a normal world that loses, changes and makes up what it was given to keep."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from uuid import UUID

from crypt_client import Panicked, Tee, TeeResult
from tas.constants import CRYPT_UUID

from campaigns.campaign import TaCampaign, damaged, edge
from optemu.abi import gp, obj
from optemu.abi import tee_ioctl as ioc
from optemu.board.config import Config
from optemu.machine import Machine
from optemu.normal_world.supplicant.params import Param
from optemu.normal_world.supplicant.shm import SharedMemory

Process = Callable[[SharedMemory, list[Param]], int]
_STORAGES = (obj.TEE_STORAGE_PRIVATE_REE, obj.TEE_STORAGE_PRIVATE_REE, obj.TEE_STORAGE_PRIVATE_RPMB)
_NAMES = (b"a", b"b", b"c" * 64)
_ALL = obj.TEE_DATA_FLAG_ACCESS_READ | obj.TEE_DATA_FLAG_ACCESS_WRITE | obj.TEE_DATA_FLAG_ACCESS_WRITE_META
_SHARED = obj.TEE_DATA_FLAG_SHARE_READ | obj.TEE_DATA_FLAG_SHARE_WRITE
_MEMREFS = (ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_OUTPUT, ioc.TEE_IOCTL_PARAM_ATTR_TYPE_MEMREF_INOUT)
_RESULTS = (
    gp.TEE_ERROR_ITEM_NOT_FOUND,
    gp.TEE_ERROR_STORAGE_NO_SPACE,
    gp.TEE_ERROR_OUT_OF_MEMORY,
    gp.TEE_ERROR_GENERIC,
    gp.TEE_ERROR_SHORT_BUFFER,
)


class Storage(TaCampaign):
    """Each input is one function of the storage API; files change behind its back, or answers on their way."""

    name, share = "storage", 4

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.rng = Random(0)
        self.lies = 0
        """Of a hundred answers so many are no true ones."""
        self.handles: list[int] = []
        assert self.machine.supplicant is not None
        services = self.machine.supplicant._services
        assert services is not None
        assert services.fs is not None
        services.fs.process = self._lying(services.fs.process)  # type: ignore[method-assign]
        services.rpmb.process = self._lying(services.rpmb.process)  # type: ignore[method-assign]

    def make_machine(self, scratch: Path) -> Machine:
        return Machine(Config(rpmb=True), ta_dirs=[scratch])

    def _lying(self, process: Process) -> Process:
        def answer(shm: SharedMemory, params: list[Param]) -> int:
            rng = self.rng
            if rng.randrange(100) >= self.lies:
                return process(shm, params)
            result = process(shm, params) if rng.randrange(4) else gp.TEE_SUCCESS
            for p in params[1:]:
                if p.attr in _MEMREFS:
                    view = shm.view(p)
                    if view and rng.randrange(2):
                        changed = damaged(rng, bytes(view[:4096]))[: len(view)]
                        view[: len(changed)] = changed
                    if rng.randrange(3) == 0:
                        p.b = edge(rng, 64, p.b, 0)
                elif rng.randrange(2):
                    p.a = edge(rng, 64, p.a)
            return rng.choice(_RESULTS) if rng.randrange(3) == 0 else result

        return answer

    def one(self, rng: Random) -> None:
        self.rng, self.lies = rng, rng.choice((0, 0, 0, 5, 50))
        if rng.randrange(20) == 0:
            self._damage(rng)
        if self.session is None:
            self.session = self.context.OpenSession(UUID(CRYPT_UUID))
        try:
            self._call(rng, Tee(self.session))
        except TeeResult:
            pass
        except Panicked:
            self.end_session()
        if len(self.handles) > 20:
            self.end_session()
        assert self.machine.tee.threads.busy == 0

    def _call(self, rng: Random, tee: Tee) -> None:
        storage, name = rng.choice(_STORAGES), rng.choice(_NAMES)
        handle = rng.choice(self.handles) if self.handles else 0
        data = rng.randbytes(rng.choice((0, 1, 100, 4000, 9000)))
        match rng.randrange(9) if handle else rng.randrange(3):
            case 0:
                flags = _ALL | _SHARED | rng.choice((0, obj.TEE_DATA_FLAG_OVERWRITE))
                self.handles.append(tee.TEE_CreatePersistentObject(storage, name, flags, 0, data))
            case 1:
                self.handles.append(tee.TEE_OpenPersistentObject(storage, name, _ALL | _SHARED))
            case 2:
                enumerator = tee.TEE_AllocatePersistentObjectEnumerator()
                tee.TEE_StartPersistentObjectEnumerator(enumerator, storage)
                for _ in range(4):
                    tee.TEE_GetNextPersistentObject(enumerator)
            case 3:
                tee.TEE_ReadObjectData(handle, rng.choice((1, 100, 10_000)))
            case 4:
                tee.TEE_WriteObjectData(handle, data)
            case 5:
                tee.TEE_TruncateObjectData(handle, rng.choice((0, 50, 20_000)))
            case 6:
                tee.TEE_SeekObjectData(handle, rng.choice((0, 10, 5_000, edge(rng, 31))), rng.randrange(3))
            case 7:
                tee.TEE_RenamePersistentObject(handle, name)
            case _:
                self.handles.remove(handle)
                if rng.randrange(2):
                    tee.TEE_CloseObject(handle)
                else:
                    tee.TEE_CloseAndDeletePersistentObject1(handle)

    def _damage(self, rng: Random) -> None:
        """A file is another one now, or gone; at times all of them."""
        files = [p for p in sorted(self.machine.state.path.rglob("*")) if p.is_file()]
        if not files:
            return
        if rng.randrange(10) == 0:
            for file in files:
                if file.name != "rpmb":
                    file.unlink()
            return
        file = rng.choice(files)
        if rng.randrange(4) == 0 and file.name != "rpmb":
            file.unlink()
        else:
            file.write_bytes(damaged(rng, file.read_bytes()))

    def end_session(self) -> None:
        self.handles = []
        super().end_session()

"""A normal world in memory: its files, and a REE file system over them."""

import random
from dataclasses import dataclass, field

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.key_manager import KeyManager
from optemu.secure_world.storage.ree_fs import ReeFs, Root
from optemu.secure_world.storage.tee_fs import FileHandle, Pobj

HUK = bytes(range(16))
TA = gp.uuid_octets("01234567-89ab-cdef-0123-456789abcdef")
OTHER_TA = gp.uuid_octets("fedcba98-7654-3210-fedc-ba9876543210")
OBJECT = b"an object"


class MemoryFiles:
    """``Files`` in a dictionary. As on Linux, a removed file lasts as long as it is open."""

    def __init__(self, content: dict[bytes, bytes] | None = None) -> None:
        self.content = {name: bytearray(data) for name, data in (content or {}).items()}
        self.open_files: dict[int, bytearray] = {}
        self.calls: list[str] = []
        self._next = 100

    def snapshot(self) -> dict[bytes, bytes]:
        return {name: bytes(data) for name, data in self.content.items()}

    def open(self, name: bytes) -> int:
        self.calls.append("open")
        if name not in self.content:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"{name!r} is not there")
        return self._opened(self.content[name])

    def create(self, name: bytes) -> int:
        self.calls.append("create")
        data = self.content.setdefault(name, bytearray())
        data.clear()
        return self._opened(data)

    def _opened(self, data: bytearray) -> int:
        self._next += 1
        self.open_files[self._next] = data
        return self._next

    def close(self, fd: int) -> None:
        self.calls.append("close")
        del self.open_files[fd]

    def read(self, fd: int, offset: int, size: int) -> bytes:
        self.calls.append("read")
        return bytes(self.open_files[fd][offset : offset + size])

    def write(self, fd: int, offset: int, data: bytes) -> None:
        self.calls.append("write")
        file = self.open_files[fd]
        file.extend(bytes(max(offset - len(file), 0)))
        file[offset : offset + len(data)] = data

    def truncate(self, fd: int, size: int) -> None:
        self.calls.append("truncate")
        file = self.open_files[fd]
        file.extend(bytes(max(size - len(file), 0)))
        del file[size:]

    def remove(self, name: bytes) -> None:
        self.calls.append("remove")
        if self.content.pop(name, None) is None:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND, f"{name!r} is not there")

    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None:
        raise AssertionError("the REE file system renames no files")


class SeededRng:
    """Random bytes that are the same in each run."""

    repeatable = True

    def __init__(self, seed: int = 1) -> None:
        self.read = random.Random(seed).randbytes


@dataclass
class MemoryRee:
    """What a call is served by."""

    files: MemoryFiles = field(default_factory=MemoryFiles)
    rpmb: None = None


class Store:
    """A REE file system since its machine was powered on, called as the core calls it: by owner and identifier."""

    def __init__(self, files: MemoryFiles | None = None, *, root: Root | None = None, huk: bytes = HUK, seed: int = 1):
        self.ree = MemoryRee(files if files is not None else MemoryFiles())
        self.fs = ReeFs(KeyManager(huk), SeededRng(seed), root)

    @property
    def files(self) -> MemoryFiles:
        return self.ree.files

    def pobj(self, obj_id: bytes = OBJECT, uuid: bytes = TA) -> Pobj:
        return Pobj(self.fs, uuid, obj_id)

    def create(self, data: bytes, obj_id: bytes = OBJECT, uuid: bytes = TA, *, overwrite: bool = True) -> FileHandle:
        return self.fs.create(self.ree, self.pobj(obj_id, uuid), overwrite, data[:20], data[20:50], data[50:])

    def open(self, obj_id: bytes = OBJECT, uuid: bytes = TA) -> FileHandle:
        return self.fs.open(self.ree, self.pobj(obj_id, uuid))[1]

    def close(self, fh: FileHandle) -> None:
        self.fs.close(self.ree, fh)

    def read(self, fh: FileHandle, pos: int = 0, size: int = 1 << 32) -> bytes:
        return self.fs.read(self.ree, fh, pos, size)

    def write(self, fh: FileHandle, pos: int, data: bytes) -> None:
        self.fs.write(self.ree, fh, pos, data)

    def truncate(self, fh: FileHandle, size: int) -> None:
        self.fs.truncate(self.ree, fh, size)

    def rename(self, old: bytes, new: bytes, uuid: bytes = TA) -> None:
        self.fs.rename(self.ree, self.pobj(old, uuid), new)

    def remove(self, obj_id: bytes = OBJECT, uuid: bytes = TA) -> None:
        self.fs.remove(self.ree, self.pobj(obj_id, uuid))

    def objects(self, uuid: bytes = TA) -> list[bytes]:
        return self.fs.objects(self.ree, uuid)

    def put(self, data: bytes, obj_id: bytes = OBJECT, uuid: bytes = TA) -> None:
        """Create it, and close it."""
        self.close(self.create(data, obj_id, uuid))

    def get(self, obj_id: bytes = OBJECT, uuid: bytes = TA) -> bytes:
        """Open it, read it, close it."""
        fh = self.open(obj_id, uuid)
        try:
            return self.read(fh)
        finally:
            self.close(fh)

    def everything(self, *uuids: bytes) -> dict[tuple[bytes, bytes], bytes]:
        return {(uuid, name): self.get(name, uuid) for uuid in uuids or (TA, OTHER_TA) for name in self.objects(uuid)}

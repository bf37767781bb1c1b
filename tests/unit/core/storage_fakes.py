"""A file system in memory, and a TA whose system calls a test makes one by one."""

from typing import Any

from core_fakes import FakeThread, TaRoom, nothing

from optemu.abi import gp
from optemu.abi import obj as abi
from optemu.errors import TeeError
from optemu.secure_world.core.storage import Storage
from optemu.secure_world.storage.tee_fs import Directory, FileHandle, FileOperations, Pobj
from optemu.secure_world.syscalls.table import SYSCALLS

PRIVATE, REE, RPMB = abi.TEE_STORAGE_PRIVATE, abi.TEE_STORAGE_PRIVATE_REE, abi.TEE_STORAGE_PRIVATE_RPMB
READ, WRITE, META = (
    abi.TEE_DATA_FLAG_ACCESS_READ,
    abi.TEE_DATA_FLAG_ACCESS_WRITE,
    abi.TEE_DATA_FLAG_ACCESS_WRITE_META,
)
SHARE_READ, SHARE_WRITE, OVERWRITE = (
    abi.TEE_DATA_FLAG_SHARE_READ,
    abi.TEE_DATA_FLAG_SHARE_WRITE,
    abi.TEE_DATA_FLAG_OVERWRITE,
)
ALL = READ | WRITE | META


class MemoryHandle(FileHandle):
    def __init__(self, octets: bytearray) -> None:
        self.octets = octets


class MemoryDirectory(Directory):
    def __init__(self, names: list[bytes]) -> None:
        self.names = names


class MemoryFs(FileOperations):
    """Objects in a dictionary. ``fails`` names operations and the code they fail with; ``open_files`` counts handles."""

    def __init__(self) -> None:
        self.files: dict[tuple[bytes, bytes], bytearray] = {}
        self.fails: dict[str, int] = {}
        self.open_files = 0
        self.open_directories = 0
        self.inside = 0
        self.pause = lambda ree: None

    def _enter(self, ree: Any, what: str) -> None:
        assert not self.inside, "two threads in one file system"
        self.inside += 1
        self.pause(ree)
        self.inside -= 1
        if what in self.fails:
            raise TeeError(self.fails[what], f"{what} as told")

    def _file(self, po: Pobj) -> bytearray:
        try:
            return self.files[po.uuid, po.obj_id]
        except KeyError:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND) from None

    def open(self, ree: Any, po: Pobj) -> tuple[int, FileHandle]:
        self._enter(ree, "open")
        octets = self._file(po)
        self.open_files += 1
        return len(octets), MemoryHandle(octets)

    def create(self, ree: Any, po: Pobj, overwrite: bool, head: bytes, attr: bytes, data: bytes) -> FileHandle:
        self._enter(ree, "create")
        if not overwrite and (po.uuid, po.obj_id) in self.files:
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT)
        octets = self.files[po.uuid, po.obj_id] = bytearray(head + attr + data)
        self.open_files += 1
        return MemoryHandle(octets)

    def close(self, ree: Any, fh: FileHandle) -> None:
        self._enter(ree, "close")
        self.open_files -= 1

    def read(self, ree: Any, fh: FileHandle, pos: int, size: int) -> bytes:
        self._enter(ree, "read")
        assert isinstance(fh, MemoryHandle)
        return bytes(fh.octets[pos : pos + size])

    def write(self, ree: Any, fh: FileHandle, pos: int, data: bytes) -> None:
        self._enter(ree, "write")
        assert isinstance(fh, MemoryHandle)
        if data:
            fh.octets.extend(bytes(max(pos - len(fh.octets), 0)))
            fh.octets[pos : pos + len(data)] = data

    def rename(self, ree: Any, old: Pobj, new_id: bytes) -> None:
        self._enter(ree, "rename")
        if (old.uuid, new_id) in self.files:
            raise TeeError(gp.TEE_ERROR_ACCESS_CONFLICT)
        self.files[old.uuid, new_id] = self._file(old)
        del self.files[old.uuid, old.obj_id]

    def remove(self, ree: Any, po: Pobj) -> None:
        self._enter(ree, "remove")
        self._file(po)
        del self.files[po.uuid, po.obj_id]

    def truncate(self, ree: Any, fh: FileHandle, size: int) -> None:
        self._enter(ree, "truncate")
        assert isinstance(fh, MemoryHandle)
        fh.octets.extend(bytes(max(size - len(fh.octets), 0)))
        del fh.octets[size:]

    def opendir(self, ree: Any, uuid: bytes) -> Directory:
        self._enter(ree, "opendir")
        names = [obj_id for owner, obj_id in self.files if owner == uuid]
        if not names:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        self.open_directories += 1
        return MemoryDirectory(names)

    def readdir(self, ree: Any, directory: Directory) -> bytes:
        self._enter(ree, "readdir")
        assert isinstance(directory, MemoryDirectory)
        if not directory.names:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        return directory.names.pop(0)

    def closedir(self, ree: Any, directory: Directory) -> None:
        self._enter(ree, "closedir")
        self.open_directories -= 1


NUMBERS = {row.name.removeprefix("syscall_"): row.number for row in SYSCALLS}
CODE, DATA = 0x40100000, 0x40101000
ID, OUT, LEN, BUF = DATA, DATA + 0x100, DATA + 0x200, DATA + 0x400
ROOM = 0x1C00 - 0x1000
"""Octets from BUF to the end of the TA's data."""


class StorageTa:
    """A TA in the middle of a command: ``ta("storage_obj_open", ...)`` is a system call of it, its result the result."""

    def __init__(self, room: TaRoom, uuid: bytes, flags: int = 0) -> None:
        self.room = room
        self.tee = room.tee
        room.add(uuid, nothing, flags)
        self.session = room.open(uuid)
        self.ctx = room.ctx
        self.thread = FakeThread(room.threads)
        self.ctx.thread = self.thread  # type: ignore[assignment]

    def __call__(self, name: str, *args: int) -> int:
        cpu = self.ctx.instance.cpu  # type: ignore[union-attr]
        cpu.args = [*args, *[0] * (8 - len(args))]
        return self.tee.syscalls.call(self.ctx, NUMBERS[name], cpu)

    def put(self, va: int, octets: bytes) -> int:
        self.ctx.space.copy_to_user(va, octets)
        return va

    def peek(self, va: int, size: int) -> bytes:
        return bytes(self.ctx.space.copy_from_user(va, size))

    def number(self, va: int, size: int = 4) -> int:
        return int.from_bytes(self.peek(va, size), "little")

    def open(self, obj_id: bytes = b"id", flags: int = ALL, storage: int = PRIVATE) -> tuple[int, int]:
        ret = self("storage_obj_open", storage, self.put(ID, obj_id), len(obj_id), flags, OUT)
        return ret, self.number(OUT)

    def create(
        self, obj_id: bytes = b"id", data: bytes = b"", flags: int = ALL, attr: int = 0, storage: int = PRIVATE
    ) -> tuple[int, int]:
        args = (storage, self.put(ID, obj_id), len(obj_id), flags, attr, self.put(BUF, data), len(data), OUT)
        ret = self("storage_obj_create", *args)
        return ret, self.number(OUT)

    def read(self, handle: int, size: int) -> bytes:
        assert self("storage_obj_read", handle, BUF, size, LEN) == 0
        return self.peek(BUF, self.number(LEN, 8))

    def write(self, handle: int, data: bytes) -> int:
        return self("storage_obj_write", handle, self.put(BUF, data), len(data))

    def seek(self, handle: int, offset: int, whence: int = abi.TEE_DATA_SEEK_SET) -> int:
        return self("storage_obj_seek", handle, offset & 0xFFFFFFFFFFFFFFFF, whence)

    def close(self, handle: int) -> None:
        o = self.ctx.objs.pop(handle)
        self.tee.storage.close(self.thread, o)  # type: ignore[arg-type]


def storage_room(room: TaRoom, ree: FileOperations | None, rpmb: FileOperations | None = None) -> TaRoom:
    room.tee.storage = Storage(ree, rpmb)
    return room

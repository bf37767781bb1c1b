"""A file system for persistent objects, and files of the normal world, in dictionaries."""

from optemu.abi import gp
from optemu.errors import TeeError
from optemu.secure_world.storage.tee_fs import Directory, FileHandle, FileOperations, Pobj, Ree


class Handle(FileHandle):
    def __init__(self, key: tuple[bytes, bytes]) -> None:
        self.key = key


class DictFs(FileOperations):
    """Counts its commits; ``failing`` makes the next one fail."""

    def __init__(self) -> None:
        self.content: dict[tuple[bytes, bytes], bytearray] = {}
        self.commits = 0
        self.failing = 0
        self.open_handles = 0

    def _commit(self) -> None:
        if self.failing:
            code, self.failing = self.failing, 0
            raise TeeError(code)
        self.commits += 1

    def open(self, ree: Ree, po: Pobj) -> tuple[int, FileHandle]:
        key = po.uuid, po.obj_id
        if key not in self.content:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        self.open_handles += 1
        return len(self.content[key]), Handle(key)

    def create(self, ree: Ree, po: Pobj, overwrite: bool, head: bytes, attr: bytes, data: bytes) -> FileHandle:
        self._commit()
        self.content[po.uuid, po.obj_id] = bytearray(head + attr + data)
        return self.open(ree, po)[1]

    def close(self, ree: Ree, fh: FileHandle) -> None:
        self.open_handles -= 1

    def read(self, ree: Ree, fh: FileHandle, pos: int, size: int) -> bytes:
        assert isinstance(fh, Handle)
        return bytes(self.content[fh.key][pos : pos + size])

    def write(self, ree: Ree, fh: FileHandle, pos: int, data: bytes) -> None:
        assert isinstance(fh, Handle)
        self._commit()
        content = self.content[fh.key]
        content.extend(bytes(max(0, pos - len(content))))
        content[pos : pos + len(data)] = data

    def rename(self, ree: Ree, old: Pobj, new_id: bytes) -> None:
        raise NotImplementedError

    def remove(self, ree: Ree, po: Pobj) -> None:
        raise NotImplementedError

    def truncate(self, ree: Ree, fh: FileHandle, size: int) -> None:
        raise NotImplementedError

    def opendir(self, ree: Ree, uuid: bytes) -> Directory:
        raise NotImplementedError

    def readdir(self, ree: Ree, directory: Directory) -> bytes:
        raise NotImplementedError

    def closedir(self, ree: Ree, directory: Directory) -> None:
        raise NotImplementedError


class DictFiles:
    """Files by name; a descriptor is good until it is closed."""

    def __init__(self) -> None:
        self.content: dict[bytes, bytearray] = {}
        self.opened: dict[int, bytes] = {}
        self._next = 0

    def _open(self, name: bytes) -> int:
        self._next += 1
        self.opened[self._next] = name
        return self._next

    def open(self, name: bytes) -> int:
        if name not in self.content:
            raise TeeError(gp.TEE_ERROR_ITEM_NOT_FOUND)
        return self._open(name)

    def create(self, name: bytes) -> int:
        self.content[name] = bytearray()
        return self._open(name)

    def close(self, fd: int) -> None:
        del self.opened[fd]

    def read(self, fd: int, offset: int, size: int) -> bytes:
        return bytes(self.content[self.opened[fd]][offset : offset + size])

    def write(self, fd: int, offset: int, data: bytes) -> None:
        content = self.content[self.opened[fd]]
        assert offset <= len(content)
        content[offset : offset + len(data)] = data

    def truncate(self, fd: int, size: int) -> None:
        raise NotImplementedError

    def remove(self, name: bytes) -> None:
        del self.content[name]

    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None:
        raise NotImplementedError


class DictRee:
    def __init__(self) -> None:
        self.files = DictFiles()

    @property
    def rpmb(self):
        raise NotImplementedError

"""What the core asks of a file system for persistent objects. Mirrors core/include/tee/tee_fs.h and tee_pobj.h.

A file system knows objects and their octets: UUID, object identifier, a head and attributes that it does not look
into, and the data stream behind them. It reaches the normal world through ``Ree``, whoever serves it: tee-supplicant
by RPC, or a directory of this computer for ``optemu storage``. Failures are TeeError.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Protocol

from optemu.abi import gp
from optemu.abi.cryp import TEE_USAGE_DEFAULT
from optemu.errors import TeeError


class Files(Protocol):
    """Files of the normal world, for the length of one call; nothing they say is to be believed.

    Names are relative to the storage directory. TeeError: TEE_ERROR_ITEM_NOT_FOUND for what is not there.
    """

    def open(self, name: bytes) -> int: ...
    def create(self, name: bytes) -> int:
        """A file that is empty now, whether it was there or not."""

    def close(self, fd: int) -> None: ...
    def read(self, fd: int, offset: int, size: int) -> bytes:
        """Up to ``size`` octets; fewer at the end of the file."""

    def write(self, fd: int, offset: int, data: bytes) -> None: ...
    def truncate(self, fd: int, size: int) -> None: ...
    def remove(self, name: bytes) -> None: ...
    def rename(self, old: bytes, new: bytes, overwrite: bool) -> None: ...


class RpmbFrames(Protocol):
    """The replay protected memory block of the normal world's storage device, as it is: frames there, frames back.

    There are two roads to it, the kernel's driver and tee-supplicant, and nothing they say is to be believed.
    """

    def probe_reset(self) -> None:
        """Begin again with the kernel's first device; TEE_ERROR_NOT_SUPPORTED when the kernel has no such road."""

    def probe_next(self) -> bytes:
        """struct rpmb_dev_info of the kernel's next device; TEE_ERROR_ITEM_NOT_FOUND after the last."""

    def dev_info(self) -> bytes:
        """struct rpmb_dev_info of tee-supplicant's device; TEE_ERROR_ITEM_NOT_FOUND when there is none."""

    def data_request(self, frames: bytes, response_frames: int, kernel: bool) -> bytes:
        """What the device answers to ``frames``: ``response_frames`` frames of 512 octets.

        Through the ``kernel``, to the device that ``probe_next`` gave last; else through tee-supplicant.
        """


class Ree(Protocol):
    """What the normal world lends storage, for the length of one call."""

    @property
    def files(self) -> Files: ...

    @property
    def rpmb(self) -> RpmbFrames: ...


class Pobj:
    """struct tee_pobj: a persistent object that somebody has open, shared by all who have."""

    __slots__ = ("creating", "flags", "fops", "obj_id", "refcnt", "temporary", "usage", "uuid")

    def __init__(self, fops: "FileOperations", uuid: bytes, obj_id: bytes, flags: int = 0) -> None:
        self.fops = fops
        self.uuid = uuid
        """The owner's, 16 octets in RFC 4122 order."""
        self.obj_id = obj_id
        self.flags = flags
        self.refcnt = 1
        self.usage = TEE_USAGE_DEFAULT
        self.temporary = False
        """Being created, and not to be seen under its name before it is complete."""
        self.creating = False


class FileHandle:
    """struct tee_file_handle: an open object's octets: head, attributes, data, one behind the other."""

    @property
    def version(self) -> bytes | None:
        """What no other octets of any object have; None when it is not known."""
        return None


class Directory:
    """struct tee_fs_dir: where somebody is who lists a TA's objects."""


class FileOperations(ABC):
    """struct tee_file_operations. ``ree`` serves this one call.

    One call at a time: who calls holds one mutex for all file systems, as one may be the root of trust of another.
    """

    @abstractmethod
    def open(self, ree: Ree, po: Pobj) -> tuple[int, FileHandle]:
        """(octets in the object, its handle); TEE_ERROR_ITEM_NOT_FOUND, TEE_ERROR_CORRUPT_OBJECT."""

    def version(self, ree: Ree, po: Pobj) -> bytes | None:
        """What the ``version`` of its handle would be; None when that is not known, or TEE_ERROR_ITEM_NOT_FOUND."""
        return None

    @abstractmethod
    def create(self, ree: Ree, po: Pobj, overwrite: bool, head: bytes, attr: bytes, data: bytes) -> FileHandle:
        """All of it in one commit; TEE_ERROR_ACCESS_CONFLICT when it is there and ``overwrite`` is not set."""

    @abstractmethod
    def close(self, ree: Ree, fh: FileHandle) -> None: ...

    @abstractmethod
    def read(self, ree: Ree, fh: FileHandle, pos: int, size: int) -> bytes:
        """Up to ``size`` octets at ``pos``, fewer at the end."""

    def read_runs(self, ree: Ree, fh: FileHandle, pos: int, size: int) -> Iterator[bytes]:
        """``read``, some octets at a time: a long object need not be in memory as a whole."""
        yield self.read(ree, fh, pos, size)

    @abstractmethod
    def write(self, ree: Ree, fh: FileHandle, pos: int, data: bytes) -> None:
        """All of ``data``, in one commit. Behind the end: the gap reads as zeros."""

    @abstractmethod
    def rename(self, ree: Ree, old: Pobj, new_id: bytes) -> None:
        """TEE_ERROR_ACCESS_CONFLICT when ``new_id`` is there. Upstream could overwrite it, and never does."""

    @abstractmethod
    def remove(self, ree: Ree, po: Pobj) -> None: ...

    @abstractmethod
    def truncate(self, ree: Ree, fh: FileHandle, size: int) -> None:
        """To ``size`` octets, less or more."""

    @abstractmethod
    def opendir(self, ree: Ree, uuid: bytes) -> Directory:
        """Before the first of ``uuid``'s objects; TEE_ERROR_ITEM_NOT_FOUND when there is not one."""

    @abstractmethod
    def readdir(self, ree: Ree, directory: Directory) -> bytes:
        """The next object's identifier, in the order upstream lists them; TEE_ERROR_ITEM_NOT_FOUND after the last."""

    @abstractmethod
    def closedir(self, ree: Ree, directory: Directory) -> None: ...

    def objects(self, ree: Ree, uuid: bytes) -> list[bytes]:
        """The identifiers of all of ``uuid``'s objects."""
        names = []
        try:
            directory = self.opendir(ree, uuid)
            try:
                while True:
                    names.append(self.readdir(ree, directory))
            finally:
                self.closedir(ree, directory)
        except TeeError as e:
            if e.code != gp.TEE_ERROR_ITEM_NOT_FOUND:
                raise
        return names

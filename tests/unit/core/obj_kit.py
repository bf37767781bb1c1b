"""A TA without code that makes system calls about objects: its memory, and the calls through the table."""

import struct
from types import SimpleNamespace
from typing import Any

from core_fakes import PAGE, A, FakeCpu, FakeThread, Threads, new_tee, shared

from optemu.abi import cryp, gp
from optemu.abi import syscalls as scn
from optemu.abi.obj import UTEE_ATTRIBUTE, UTEE_OBJECT_INFO
from optemu.secure_world.core.param import Memref, TaParams
from optemu.secure_world.core.tee_obj import TeeObj
from optemu.secure_world.core.user_ta import UserTaCtx
from optemu.secure_world.core.vm import AddressSpace
from optemu.secure_world.cpu import Prot

CODE, DATA, NOWHERE = 0x40100000, 0x40200000, 0x70000000
PAGES = 4
OUT, ATTRS, VALUES = DATA, DATA + PAGE, DATA + 2 * PAGE
"""Where results go, where the attribute array lies, and what it points to."""
OK = gp.TEE_SUCCESS
BAD, STATE, NOT_FOUND = gp.TEE_ERROR_BAD_PARAMETERS, gp.TEE_ERROR_BAD_STATE, gp.TEE_ERROR_ITEM_NOT_FOUND
DENIED, SHORT, OOM = gp.TEE_ERROR_ACCESS_DENIED, gp.TEE_ERROR_SHORT_BUFFER, gp.TEE_ERROR_OUT_OF_MEMORY
UNSUPPORTED, SECURITY = gp.TEE_ERROR_NOT_SUPPORTED, gp.TEE_ERROR_SECURITY

Values = dict[int, bytes | int]


class ObjRoom:
    """One TA: a page of code, four of data, and on demand a parameter that the normal world shares."""

    def __init__(self) -> None:
        self.tee = new_tee()
        self.cpu = FakeCpu()
        self.space = AddressSpace(self.cpu)  # type: ignore[arg-type]
        code = self.tee.board.memory.allocate(PAGE, secure=True)
        data = self.tee.board.memory.allocate(PAGES * PAGE, secure=True)
        self.space.map(CODE, code, 0, PAGE, Prot.R | Prot.X, "text")
        self.space.map(DATA, data, 0, PAGES * PAGE, Prot.R | Prot.W, "data")
        self.ta = UserTaCtx(self.tee, A)
        self.ta.instance = SimpleNamespace(space=self.space)  # type: ignore[assignment]
        self.thread: Any = FakeThread(Threads())
        self.ta.thread = self.thread

    def share(self, size: int = PAGE) -> int:
        """The address of ``size`` bytes of the normal world's memory."""
        mobj = shared(self.tee.board.memory, size)
        return self.space.map_param(TaParams(0, [Memref(mobj, 0, size), None, None, None]))[0]

    # --- memory ---------------------------------------------------------------------------------------------------

    def put(self, va: int, octets: bytes) -> int:
        self.space.copy_to_user(va, octets)
        return va

    def get(self, va: int, size: int) -> bytes:
        return self.space.copy_from_user(va, size)

    def put_attrs(self, *attrs: tuple[int, int, int]) -> int:
        """struct utee_attribute of (a, b, id)."""
        return self.put(ATTRS, b"".join(UTEE_ATTRIBUTE.pack(*attr) for attr in attrs))

    def put_values(self, values: Values) -> tuple[int, int]:
        """Address and number of the attributes that say ``values``."""
        attrs, at = [], VALUES
        for attr_id, value in values.items():
            if isinstance(value, int):
                attrs.append((value, 0, attr_id))
            else:
                attrs.append((self.put(at, value), len(value), attr_id))
                at += len(value)
        return self.put_attrs(*attrs), len(attrs)

    # --- calls ------------------------------------------------------------------------------------------------------

    def call(self, number: int, *args: int) -> int:
        self.cpu.args = [*args, *[0] * (8 - len(args))]
        return self.tee.syscalls.call(self.ta, number, self.cpu)  # type: ignore[arg-type]

    def alloc(self, object_type: int, size: int) -> int:
        assert self.call(scn.TEE_SCN_CRYP_OBJ_ALLOC, object_type, size, OUT) == OK
        (handle,) = struct.unpack("<I", self.get(OUT, 4))
        return int(handle)

    def populate(self, handle: int, values: Values) -> int:
        return self.call(scn.TEE_SCN_CRYP_OBJ_POPULATE, handle, *self.put_values(values))

    def generate(self, handle: int, size: int, values: Values | None = None) -> int:
        return self.call(scn.TEE_SCN_CRYP_OBJ_GENERATE_KEY, handle, size, *self.put_values(values or {}))

    def made(self, object_type: int, size: int, values: Values) -> int:
        """A populated object."""
        handle = self.alloc(object_type, size)
        assert self.populate(handle, values) == OK
        return handle

    def aes(self, key: bytes = bytes(range(16))) -> int:
        return self.made(cryp.TEE_TYPE_AES, 256, {cryp.TEE_ATTR_SECRET_VALUE: key})

    def close(self, handle: int) -> int:
        return self.call(scn.TEE_SCN_CRYP_OBJ_CLOSE, handle)

    def info(self, handle: int) -> "Info":
        assert self.call(scn.TEE_SCN_CRYP_OBJ_GET_INFO, handle, OUT) == OK
        return Info(*UTEE_OBJECT_INFO.unpack(self.get(OUT, UTEE_OBJECT_INFO.size)))

    def get_attr(self, handle: int, attr_id: int, room: int = PAGE, buffer: int = VALUES) -> tuple[int, int]:
        """(TEE_Result, the size told)."""
        self.put(OUT, struct.pack("<Q", room))
        ret = self.call(scn.TEE_SCN_CRYP_OBJ_GET_ATTR, handle, attr_id, buffer, OUT)
        return ret, struct.unpack("<Q", self.get(OUT, 8))[0]

    def attr(self, handle: int, attr_id: int) -> bytes:
        ret, size = self.get_attr(handle, attr_id, 8 if attr_id & cryp.TEE_ATTR_FLAG_VALUE else PAGE)
        assert ret == OK
        return self.get(VALUES, size)

    def obj(self, handle: int) -> TeeObj:
        return self.ta.objs[handle]


class Info(tuple[int, ...]):
    """struct utee_object_info."""

    def __new__(cls, *fields: int) -> "Info":
        return super().__new__(cls, fields)

    def __init__(self, *fields: int) -> None:
        self.type, self.size, self.max_size, self.usage, self.data_size, self.data_pos, self.flags = fields

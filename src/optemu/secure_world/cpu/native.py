"""The functions of Unicorn's C library that this room calls, bound once and without its Python layer.

``PyDLL`` keeps the interpreter lock for the length of a call, ``CDLL`` gives it away. Only ``emu_start`` runs guest
code and lasts; the rest is over in nanoseconds, and giving the lock away there would mean queueing for it again.
Functions on the hot path have no ``argtypes``: their callers keep ready-made ctypes objects.
"""

import ctypes
import mmap

from unicorn import unicorn_const as uc
from unicorn.unicorn_py3.unicorn import uclib

_PATH: str = uclib._name
_quick = ctypes.PyDLL(_PATH)
_READ_EXECUTE = ctypes.c_int(mmap.PROT_READ | mmap.PROT_EXEC)
_PTR, _U64, _INT = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int

emu_start = ctypes.CDLL(_PATH).uc_emu_start
reg_read_batch = _quick.uc_reg_read_batch
reg_write_batch = _quick.uc_reg_write_batch
reg_write = _quick.uc_reg_write
reg_read = _quick.uc_reg_read
emu_stop = _quick.uc_emu_stop
context_save = _quick.uc_context_save
context_restore = _quick.uc_context_restore

QUERY = ctypes.cast(_quick.uc_query, _PTR)
EMU_STOP = ctypes.cast(emu_stop, _PTR)
NOTHING = ctypes.cast(_quick.uc_arch_supported, _PTR)
"""A function that has no effect, whatever it is called with."""

_quick.uc_open.argtypes = [_INT, _INT, ctypes.POINTER(_PTR)]
_quick.uc_close.argtypes = [_PTR]
_quick.uc_query.argtypes = [_PTR, _INT, _PTR]
_quick.uc_hook_add.argtypes = [_PTR, ctypes.POINTER(_PTR), _INT, _PTR, _PTR, _U64, _U64]
_quick.uc_mem_map_ptr.argtypes = [_PTR, _U64, _U64, ctypes.c_uint32, _PTR]
_quick.uc_mem_unmap.argtypes = [_PTR, _U64, _U64]
_quick.uc_context_alloc.argtypes = [_PTR, ctypes.POINTER(_PTR)]
_quick.uc_context_free.argtypes = [_PTR]
_quick.uc_context_size.argtypes = [_PTR]
_quick.uc_context_size.restype = ctypes.c_size_t
_quick.uc_strerror.restype = ctypes.c_char_p


class EngineError(RuntimeError):
    """The engine refused a request of ours: a mistake of the caller or of this room, never of the guest."""


def message(status: int) -> str:
    """Unicorn's words for one of its error numbers."""
    text: bytes = _quick.uc_strerror(status)
    return text.decode("ascii")


def check(status: int, what: str) -> None:
    """EngineError unless ``status`` is success."""
    if status:
        raise EngineError(f"{what}: {message(status)}")


def open_engine(arch: int, model: int, translation_buffer: int) -> ctypes.c_void_p:
    """A new engine of that architecture and CPU model.

    ``translation_buffer`` is in bytes; it must be set before anything else, else 1 GiB of addresses is reserved.
    """
    handle = ctypes.c_void_p()
    check(_quick.uc_open(arch, uc.UC_MODE_ARM, ctypes.byref(handle)), "cannot open an engine")
    _control(handle, uc.UC_CTL_TCG_BUFFER_SIZE, translation_buffer)
    _control(handle, uc.UC_CTL_CPU_MODEL, model)
    return handle


def close_engine(handle: ctypes.c_void_p) -> None:
    """Give the engine's memory back."""
    _quick.uc_close(handle)


def _control_code(what: int, values: int) -> ctypes.c_int:
    return ctypes.c_int(uc.UC_CTL_IO_WRITE << 30 | values << 26 | what)


def _control(handle: ctypes.c_void_p, what: int, value: int) -> None:
    check(_quick.uc_ctl(handle, _control_code(what, 1), ctypes.c_int(value)), f"control request {what}")


_FLUSH_TLB = _control_code(uc.UC_CTL_TLB_FLUSH, 0)
_FLUSH_CODE = _control_code(uc.UC_CTL_TB_FLUSH, 0)


def flush_tlb(handle: ctypes.c_void_p) -> None:
    """Have page tables read afresh."""
    check(_quick.uc_ctl(handle, _FLUSH_TLB), "cannot flush the TLB")


def flush_code(handle: ctypes.c_void_p) -> None:
    """Have code translated afresh."""
    check(_quick.uc_ctl(handle, _FLUSH_CODE), "cannot flush translations")


def query(handle: ctypes.c_void_p, kind: int, address: int) -> None:
    """Have the answer, 8 bytes, written to ``address``."""
    check(_quick.uc_query(handle, kind, address), f"cannot query {kind}")


def hook_interrupts(handle: ctypes.c_void_p, callback: ctypes.c_void_p, data: int = 0) -> None:
    """Have ``callback(engine, exception number, data)`` called, a C function, at every exception the guest takes."""
    hook = ctypes.c_void_p()
    check(_quick.uc_hook_add(handle, ctypes.byref(hook), uc.UC_HOOK_INTR, callback, data, 1, 0), "cannot add a hook")


def hook_blocks(handle: ctypes.c_void_p, callback: int, data: int, only_at: int | None = None) -> int:
    """Have the C function at ``callback`` called, with (engine, address, size, data), where each block of code begins.

    ``only_at``: of the block at that address only. Returns the hook's handle.
    """
    hook = ctypes.c_void_p()
    first, last = (1, 0) if only_at is None else (only_at, only_at)
    status = _quick.uc_hook_add(handle, ctypes.byref(hook), uc.UC_HOOK_BLOCK, callback, data, first, last)
    check(status, "cannot add a hook")
    return hook.value or 0


_pages: list[mmap.mmap] = []


def make_executable(page: mmap.mmap) -> int:
    """A page with code becomes read-only and executable, for good; its address. OSError if the system forbids it."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(len(page)), _READ_EXECUTE):
        raise OSError(ctypes.get_errno(), "memory cannot be made executable")
    _pages.append(page)
    return address


def map_host(handle: ctypes.c_void_p, pa: int, host: int, size: int) -> None:
    """Host memory as the guest's physical memory at ``pa``."""
    status = _quick.uc_mem_map_ptr(handle, pa, size, uc.UC_PROT_ALL, host)
    check(status, f"cannot back 0x{size:x} bytes of physical memory at 0x{pa:x}")


def unmap_host(handle: ctypes.c_void_p, pa: int, size: int) -> None:
    """Undo ``map_host``."""
    check(_quick.uc_mem_unmap(handle, pa, size), f"cannot take physical memory at 0x{pa:x} away")


class Context:
    """Room for all registers of one engine, freed with the object."""

    __slots__ = ("handle", "size")

    def __init__(self, engine: ctypes.c_void_p) -> None:
        self.handle = ctypes.c_void_p()
        self.size: int = _quick.uc_context_size(engine)
        check(_quick.uc_context_alloc(engine, ctypes.byref(self.handle)), "cannot save registers")
        check(context_save(engine, self.handle), "cannot save registers")

    def image(self) -> bytes:
        """The saved state as Unicorn lays it out."""
        return ctypes.string_at(self.handle, self.size)

    def __del__(self) -> None:
        if self.handle:
            _quick.uc_context_free(self.handle)

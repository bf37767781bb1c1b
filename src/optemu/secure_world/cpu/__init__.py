"""EL0 engines: registers, memory and faults of an Arm processor, on Unicorn. Knows nothing of what it runs.

cpu = engine("aarch64")
cpu.back(region.base, region.host, region.size)         # physical memory
cpu.map(0x4000_0000, region.base, 0x1000, Prot.R | Prot.X)
stop = cpu.enter(0x4000_0000, sp)
while stop is Stop.SVC:
    stop = cpu.resume(serve(cpu.number, cpu.args))
"""

from .aarch64 import Aarch64
from .arm32 import Arm32
from .cpu import Cpu, Saved, Stop
from .native import EngineError
from .page_table import Prot

__all__ = ["Aarch64", "Arm32", "Cpu", "EngineError", "Prot", "Saved", "Stop", "engine"]

_KINDS: dict[str, type[Cpu]] = {"aarch64": Aarch64, "arm": Arm32}


def engine(arch: str, pauth_key: bytes | None = None) -> Cpu:
    """A new Cpu for ``"aarch64"`` or ``"arm"``, nothing mapped. ValueError for any other name.

    AArch64 authenticates pointers with ``pauth_key`` (16 bytes) when it has one.
    """
    kind = _KINDS.get(arch)
    if kind is None:
        raise ValueError(f"no engine for {arch!r}, only for {', '.join(_KINDS)}")
    return Aarch64(pauth_key) if kind is Aarch64 else kind()

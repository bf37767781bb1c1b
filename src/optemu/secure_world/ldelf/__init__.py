"""ELF images into address spaces: what upstream's ldelf does at EL0 before a TA's first session.

``load`` is for a TA that stands alone. With shared libraries: ``map_elf`` each, ``place`` and ``link`` them.
"""

from .image import ElfImage, Property, Segment
from .main import dlopen, link, load, place
from .module import Module, Prot
from .ta_elf import map_elf

__all__ = ["ElfImage", "Module", "Property", "Prot", "Segment", "dlopen", "link", "load", "map_elf", "place"]

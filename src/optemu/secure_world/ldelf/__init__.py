"""ELF images into address spaces: what upstream's ldelf does at EL0 before a TA's first session."""

from .image import ElfImage, Property, Segment, load
from .module import Prot

__all__ = ["ElfImage", "Property", "Prot", "Segment", "load"]

"""The normal world's helper: what the secure world cannot do itself and the kernel does not do for it."""

from optemu.normal_world.supplicant.supplicant import Supplicant
from optemu.normal_world.supplicant.ta_load import DEFAULT_TA_DIRS, TaDirs, TaSearch
from optemu.normal_world.supplicant.table import BY_CMD, ROWS, Row

__all__ = ["BY_CMD", "DEFAULT_TA_DIRS", "ROWS", "Row", "Supplicant", "TaDirs", "TaSearch"]

"""The board's eMMC, as far as there is one: its replay protected memory block (JEDEC JESD84-B51, section 6.6.22)."""

from optemu.normal_world.emmc.access import RpmbDevice, exchange
from optemu.normal_world.emmc.rpmb_device import EmulatedRpmb

__all__ = ["EmulatedRpmb", "RpmbDevice", "exchange"]

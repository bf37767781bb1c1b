"""The static TAs that are built in."""

from optemu.secure_world.pta.demo import DemoPta
from optemu.secure_world.pta.device import DevicePta
from optemu.secure_world.pta.stats import StatsPta
from optemu.secure_world.pta.system import SystemPta

BUILT_IN = (DevicePta, StatsPta, SystemPta, DemoPta)

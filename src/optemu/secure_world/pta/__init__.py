"""The static TAs that are built in."""

from optemu.secure_world.pta.attestation import AttestationPta
from optemu.secure_world.pta.demo import DemoPta
from optemu.secure_world.pta.device import DevicePta
from optemu.secure_world.pta.gprof import GprofPta
from optemu.secure_world.pta.hwrng import HwrngPta
from optemu.secure_world.pta.invoke_tests import InvokeTestsPta
from optemu.secure_world.pta.rtc import RtcPta
from optemu.secure_world.pta.secstor_ta_mgmt import SecstorTaMgmtPta
from optemu.secure_world.pta.socket import SocketPta
from optemu.secure_world.pta.stats import StatsPta
from optemu.secure_world.pta.system import SystemPta

BUILT_IN = (
    DevicePta,
    StatsPta,
    SystemPta,
    AttestationPta,
    DemoPta,
    GprofPta,
    HwrngPta,
    InvokeTestsPta,
    RtcPta,
    SecstorTaMgmtPta,
    SocketPta,
)

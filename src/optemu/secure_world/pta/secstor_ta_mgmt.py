"""Installs TAs in secure storage. Mirrors core/pta/secstor_ta_mgmt.c."""

from optemu.abi import gp
from optemu.secure_world.core.param import param_types
from optemu.secure_world.core.pseudo_ta import PTA_DEFAULT_FLAGS, PseudoTa, PtaCall, PtaCommand

PTA_SECSTOR_TA_MGMT_BOOTSTRAP = 0


def _bootstrap(pta: PseudoTa, call: PtaCall) -> None:
    """[in] memref: a signed image, of the sort that is not encrypted and names its TA."""
    pta.tee.ta_records.install(call.thread, pta.tee.verify(call.params[0].read(), None))


class SecstorTaMgmtPta(PseudoTa):
    """secstor_ta_mgmt"""

    uuid = gp.uuid_octets("6e256cba-fc4d-4941-ad09-2ca1860342dd")
    name = "secstor_ta_mgmt"
    flags = PTA_DEFAULT_FLAGS
    commands = (
        PtaCommand(PTA_SECSTOR_TA_MGMT_BOOTSTRAP, "BOOTSTRAP", param_types(gp.TEE_PARAM_TYPE_MEMREF_INPUT), _bootstrap),
    )

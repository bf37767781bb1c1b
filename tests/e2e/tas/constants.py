"""UUIDs and command numbers of the test TAs, read from the headers they are compiled with.

Use::

    from tas.constants import PROBE, PROBE_UUID
    session.invoke(PROBE["PROBE_CMD_ECHO"], ...)
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
_NUMBER = re.compile(r"^#define\s+(\w+)\s+(0x[0-9A-Fa-f]+|\d+)\s*$", re.M)
_UUID = re.compile(r"^#define\s+(\w+)_UUID\s*(?:\\\n)?\s*\{([^\\\n]*)\}\s*$", re.M)


def numbers(header: str) -> dict[str, int]:
    """All macros of a header, relative to this directory, that are plain numbers."""
    return {name: int(value, 0) for name, value in _NUMBER.findall((HERE / header).read_text())}


def uuids(header: str) -> dict[str, str]:
    """All macros that are UUIDs, without _UUID: ``{"TA_PROBE": "7daf3188-..."}``."""
    found = {}
    for name, body in _UUID.findall((HERE / header).read_text()):
        low, mid, high, *rest = (int(x, 16) for x in re.findall(r"0x([0-9A-Fa-f]+)", body))
        node = bytes(rest).hex()
        found[name] = f"{low:08x}-{mid:04x}-{high:04x}-{node[:4]}-{node[4:]}"
    return found


ARITH = numbers("arith/ta/include/arith_ta.h")
PROBE = numbers("probe/ta/include/probe_ta.h")
CRYPT = numbers("crypt/ta/include/crypt_ta.h")
GUARD = numbers("guard/ta/include/guard_ta.h")
LARGE = numbers("large/ta/include/large_ta.h")
MODULES = numbers("modules/ta/include/modules_ta.h")
QUIET = numbers("quiet/ta/include/quiet_ta.h")
TRACED = numbers("traced/ta/include/traced_ta.h")
SOCK = numbers("sock/ta/include/sock_ta.h")
SESSIONS = numbers("common/sessions_ta.h")
PROBE_UUID = uuids("probe/ta/include/probe_ta.h")["TA_PROBE"]
PROBE_ARM_UUID = uuids("probe/ta/include/probe_ta.h")["TA_PROBE_ARM"]
CRYPT_UUID = uuids("crypt/ta/include/crypt_ta.h")["TA_CRYPT"]
CRYPT_ARM_UUID = uuids("crypt/ta/include/crypt_ta.h")["TA_CRYPT_ARM"]
ARITH_UUID = uuids("arith/ta/include/arith_ta.h")["TA_ARITH"]
ARITH_ARM_UUID = uuids("arith/ta/include/arith_ta.h")["TA_ARITH_ARM"]
QUIET_UUID = uuids("quiet/ta/include/quiet_ta.h")["TA_QUIET"]
TRACED_UUID = uuids("traced/ta/include/traced_ta.h")["TA_TRACED"]
TRACED_ARM_UUID = uuids("traced/ta/include/traced_ta.h")["TA_TRACED_ARM"]
SOCK_UUID = uuids("sock/ta/include/sock_ta.h")["TA_SOCK"]
SOCK_ARM_UUID = uuids("sock/ta/include/sock_ta.h")["TA_SOCK_ARM"]
GUARD_UUID = uuids("guard/ta/include/guard_ta.h")["TA_GUARD"]
LARGE_UUID = uuids("large/ta/include/large_ta.h")["TA_LARGE"]
MODULES_UUID = uuids("modules/ta/include/modules_ta.h")["TA_MODULES"]
LIB_LINKED_UUID = uuids("modules/ta/include/modules_ta.h")["LIB_LINKED"]
LIB_OPENED_UUID = uuids("modules/ta/include/modules_ta.h")["LIB_OPENED"]
RELAY_UUID = uuids("relay/ta/include/relay_ta.h")["TA_RELAY"]
SINGLE_UUID = uuids("single/ta/include/single_ta.h")["TA_SINGLE"]
MULTI_UUIDS = tuple(uuids("multi/ta/include/multi_ta.h").values())
"""By VARIANT."""

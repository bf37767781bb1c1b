"""What core and TA exchange at the TA's entry and in its calls: lib/libutee/include/utee_types.h."""

import struct
from typing import Final

# enum utee_entry_func
UTEE_ENTRY_FUNC_OPEN_SESSION: Final = 0
UTEE_ENTRY_FUNC_CLOSE_SESSION: Final = 1
UTEE_ENTRY_FUNC_INVOKE_COMMAND: Final = 2
UTEE_ENTRY_FUNC_DUMP_MEMSTATS: Final = 3

ENTRY_FUNC_NAMES: Final = {
    UTEE_ENTRY_FUNC_OPEN_SESSION: "TA_OpenSessionEntryPoint",
    UTEE_ENTRY_FUNC_CLOSE_SESSION: "TA_CloseSessionEntryPoint",
    UTEE_ENTRY_FUNC_INVOKE_COMMAND: "TA_InvokeCommandEntryPoint",
    UTEE_ENTRY_FUNC_DUMP_MEMSTATS: "DUMP_MEMSTATS",
}

# struct utee_params: types, then (a, b) or (buffer, size) for each of the four parameters; 64 bit on both word sizes
UTEE_PARAMS: Final = struct.Struct("<9Q")
TEE_TIME: Final = struct.Struct("<II")
# TEE_Identity: login, uuid
TEE_IDENTITY: Final = struct.Struct("<I16s")

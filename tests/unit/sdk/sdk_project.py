"""A small TA project, and how to write it out."""

from pathlib import Path

TA_SOURCE = """
#include <tee_internal_api.h>
static uint32_t constructed;
__attribute__((constructor)) static void constructor(void) { constructed = 77; }
TEE_Result TA_CreateEntryPoint(void) { return TEE_SUCCESS; }
void TA_DestroyEntryPoint(void) { IMSG("destroyed"); }
TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[4], void **session)
{
	*session = TEE_Malloc(16, 0);
	if (types == 1)
		return params[0].value.a;
	return TEE_SUCCESS;
}
void TA_CloseSessionEntryPoint(void *session) { TEE_Free(session); IMSG("closed"); }
TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	(void)session; (void)cmd; (void)types;
	params[0].value.a = constructed;
	return TEE_SUCCESS;
}
"""
DEFINES = """
#define TA_UUID { 0x11223344, 0x5566, 0x7788, { 1, 2, 3, 4, 5, 6, 7, 8 } }
#define TA_FLAGS 0
#define TA_STACK_SIZE 2048
#define TA_DATA_SIZE 8192
#define TA_NO_SHARE_DATA_SIZE 2048
"""


def write_project(root: Path, source: str = TA_SOURCE, config: str = "") -> Path:
    (root / "ta").mkdir(parents=True)
    (root / "ta" / "ta.c").write_text(source)
    (root / "ta" / "user_ta_header_defines.h").write_text(DEFINES)
    (root / "optemu-build.toml").write_text(config)
    return root

"""A TA with the whole runtime in it, built once per test run."""

from pathlib import Path

import pytest
from guest import Guest

from optemu.sdk import build

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
_WANTED = """
    snprintf vsnprintf printf puts putchar dhex_dump trace_printf memcpy memmove memset memcmp memchr strlen strnlen
    strcmp strncmp strchr strrchr strstr strcpy strncpy strdup strndup strlcpy strlcat consttime_memcmp qsort strtoul
    abs abort __assert_failed malloc calloc realloc free heap_within_allocated heap_overlaps base64_enc base64_dec
    tee_uuid_from_str TEE_Malloc TEE_Realloc TEE_Free TEE_CheckMemoryAccessRights TEE_GetPropertyAsString
    TEE_GetNextProperty TEE_GetPropertyName TEE_OpenTASession TEE_InvokeTACommand TEE_CloseTASession TEE_Wait
    TEE_GetPropertyAsBool TEE_GetPropertyAsU32 TEE_GetPropertyAsU64 TEE_GetPropertyAsUUID TEE_GetPropertyAsIdentity
    TEE_GetPropertyAsBinaryBlock TEE_AllocatePropertyEnumerator TEE_StartPropertyEnumerator TEE_FreePropertyEnumerator
    TEE_GetTAPersistentTime TEE_SetTAPersistentTime TEE_GenerateRandom TEE_UnmaskCancellation TEE_GetCancellationFlag
"""


def write_project(root: Path, source: str = TA_SOURCE, config: str = "") -> Path:
    (root / "ta").mkdir(parents=True)
    (root / "ta" / "ta.c").write_text(source)
    (root / "ta" / "user_ta_header_defines.h").write_text(DEFINES)
    (root / "optemu-build.toml").write_text(config)
    return root


@pytest.fixture(scope="session")
def runtime_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ", ".join(f'"-u", "{name}"' for name in _WANTED.split())
    root = write_project(tmp_path_factory.mktemp("runtime"), config=f"[ta]\nldflags = [{flags}]\n")
    elf = build.build(root, say=lambda _: None).elf
    assert elf is not None
    return elf


@pytest.fixture
def guest(runtime_elf: Path) -> Guest:
    return Guest(runtime_elf)

"""A TA with the whole runtime in it, built once per test run."""

from pathlib import Path

import pytest
from guest import Guest
from sdk_project import write_project

from optemu.sdk import build

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

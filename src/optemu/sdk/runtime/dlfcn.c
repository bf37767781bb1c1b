/* dlopen() and friends: the system pseudo TA loads the library, the rest of starting it is ours. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define PTA_SYSTEM_DLOPEN 10
#define PTA_SYSTEM_DLSYM 11

/* Handles: the library's UUID, the nil one for all libraries. */

void *dlopen(const char *filename, int flags)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_VALUE_INPUT,
					       TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	TEE_UUID *uuid = calloc(1, sizeof(*uuid));
	TEE_Param params[TEE_NUM_PARAMS] = { 0 };

	if (!uuid || !filename)
		return uuid;
	params[0].memref.buffer = uuid;
	params[0].memref.size = sizeof(*uuid);
	params[1].value.a = (uint32_t)flags;
	if (tee_uuid_from_str(uuid, filename) || __utee_invoke_system_pta(PTA_SYSTEM_DLOPEN, types, params)) {
		free(uuid);
		return NULL;
	}
	__utee_tcb_init();
	__utee_call_elf_init_fn();
	return uuid;
}

int dlclose(void *handle)
{
	free(handle);
	return 0;
}

void *dlsym(void *handle, const char *symbol)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_INPUT,
					       TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	TEE_Param params[TEE_NUM_PARAMS] = { 0 };

	if (!handle || !symbol)
		return NULL;
	params[0].memref.buffer = handle;
	params[0].memref.size = sizeof(TEE_UUID);
	params[1].memref.buffer = (void *)symbol;
	params[1].memref.size = strlen(symbol) + 1;
	if (__utee_invoke_system_pta(PTA_SYSTEM_DLSYM, types, params))
		return NULL;
	return (void *)(uintptr_t)(SHIFT_U64(params[2].value.a, 32) | params[2].value.b);
}

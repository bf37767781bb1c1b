#include <dlfcn.h>
#include <link.h>
#include <linked.h>
#include <modules_ta.h>
#include <stdio.h>
#include <string.h>
#include <tee_internal_api.h>

#include "../../common/plain_entries.h"

static _Thread_local uint32_t main_tls = 100;
static _Thread_local uint32_t main_bss_tls;
static void *opened;

__attribute__((constructor)) static void start(void)
{
	started = started << 4 | 1;
}

__attribute__((destructor)) static void stop(void)
{
	IMSG("TA stops");
}

uint32_t ta_triple(uint32_t n)
{
	return 3 * n;
}

static uint32_t twice(uint32_t n)
{
	return 2 * n;
}

static int count_module(struct dl_phdr_info *info, size_t size, void *data)
{
	(void)info;
	(void)size;
	++*(uint32_t *)data;
	return 0;
}

struct text {
	char *at;
	size_t left;
};

static int print_module(struct dl_phdr_info *info, size_t size, void *data)
{
	struct text *t = data;
	size_t loads = 0;
	size_t n = 0;
	int len = 0;

	(void)size;
	for (n = 0; n < info->dlpi_phnum; n++)
		loads += info->dlpi_phdr[n].p_type == PT_LOAD;
	len = snprintf(t->at, t->left, "%s %zu %d\n", info->dlpi_name, loads, info->dlpi_tls_data != NULL);
	t->at += len;
	t->left -= (size_t)len;
	return 0;
}

static TEE_Result print_modules(TEE_Param *p)
{
	struct text t = { p->memref.buffer, p->memref.size };

	dl_iterate_phdr(print_module, &t);
	p->memref.size -= t.left;
	return TEE_SUCCESS;
}

static TEE_Result call_opened(TEE_Param params[4])
{
	uint32_t (*fn)(uint32_t) = NULL;
	char name[64] = { 0 };

	if (params[0].memref.size >= sizeof(name))
		return TEE_ERROR_BAD_PARAMETERS;
	memcpy(name, params[0].memref.buffer, params[0].memref.size);
	*(void **)&fn = dlsym(opened, name);
	params[1].value.b = fn != NULL;
	if (fn)
		params[1].value.a = fn(params[1].value.a);
	return TEE_SUCCESS;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	char name[64] = { 0 };

	(void)session;
	(void)types;
	switch (cmd) {
	case MODULES_CMD_STARTED:
		params[0].value.a = started;
		params[0].value.b = 0;
		dl_iterate_phdr(count_module, &params[0].value.b);
		return TEE_SUCCESS;
	case MODULES_CMD_CALL:
		params[0].value.a = linked_table[0](params[0].value.a, linked_table[1](params[0].value.b, 0));
		params[0].value.b = linked_call_back(twice, params[0].value.b);
		return TEE_SUCCESS;
	case MODULES_CMD_TLS:
		params[0].value.a = ++main_tls + ++main_bss_tls;
		params[0].value.b = linked_tls;
		params[1].value.a = linked_next_tls();
		params[1].value.b = linked_tls;
		return TEE_SUCCESS;
	case MODULES_CMD_OPEN:
		if (params[0].memref.size >= sizeof(name))
			return TEE_ERROR_BAD_PARAMETERS;
		memcpy(name, params[0].memref.buffer, params[0].memref.size);
		opened = dlopen(params[0].memref.size ? name : NULL, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
		params[1].value.a = opened != NULL;
		return TEE_SUCCESS;
	case MODULES_CMD_CALL_OPENED:
		return call_opened(params);
	case MODULES_CMD_MODULES:
		return print_modules(params);
	case MODULES_CMD_PANIC:
		linked_panic();
		return TEE_SUCCESS;
	case MODULES_CMD_ADDRESSES:
		params[0].value.a = (uint32_t)(uintptr_t)twice;
		params[0].value.b = (uint32_t)(uintptr_t)linked_panic;
		return TEE_SUCCESS;
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

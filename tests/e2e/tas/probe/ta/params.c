/* Commands about parameters and the TA's own memory. */
#include <stdlib.h>
#include <string.h>

#include "probe.h"

static TEE_Result reverse(TEE_Param *p)
{
	uint8_t *b = p->memref.buffer;
	size_t n = p->memref.size;
	size_t i = 0;

	for (i = 0; i < n / 2; i++) {
		uint8_t t = b[i];

		b[i] = b[n - 1 - i];
		b[n - 1 - i] = t;
	}
	return TEE_SUCCESS;
}

static TEE_Result echo(uint32_t types, TEE_Param params[4])
{
	TEE_Result res = TEE_SUCCESS;
	TEE_Param memory = { .memref = { NULL, 0 } };
	const TEE_Param *value = NULL;
	uint32_t n = 0;

	for (n = 0; n < 4 && !res; n++) {
		TEE_Param *p = params + n;
		uint32_t a = p->value.a;

		switch (TEE_PARAM_TYPE_GET(types, n)) {
		case TEE_PARAM_TYPE_VALUE_INPUT:
			value = p;
			break;
		case TEE_PARAM_TYPE_VALUE_OUTPUT:
			p->value.a = value ? value->value.a : 0xEC0 + n;
			p->value.b = value ? value->value.b : n;
			break;
		case TEE_PARAM_TYPE_VALUE_INOUT:
			p->value.a = p->value.b;
			p->value.b = a;
			break;
		case TEE_PARAM_TYPE_MEMREF_INPUT:
			memory = *p;
			break;
		case TEE_PARAM_TYPE_MEMREF_OUTPUT:
			res = give(p, memory.memref.buffer, memory.memref.size);
			break;
		case TEE_PARAM_TYPE_MEMREF_INOUT:
			res = reverse(p);
			break;
		default:
			break;
		}
	}
	return res;
}

static TEE_Result param_types(uint32_t types, TEE_Param params[4])
{
	uint32_t null = 0;
	size_t n = 0;

	EXPECT(types, 0, VOUT);
	for (n = 1; n < 4; n++)
		if (is_memref(types, n) && !params[n].memref.buffer)
			null |= 1u << n;
	params[0].value.a = types;
	params[0].value.b = null;
	return TEE_SUCCESS;
}

static TEE_Result copy(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, MIN_);
	EXPECT(types, 1, MOUT);
	return give(params + 1, params[0].memref.buffer, params[0].memref.size);
}

static TEE_Result set_size(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, VIN);
	if (!is_memref(types, 1))
		return TEE_ERROR_BAD_PARAMETERS;
	params[1].memref.size = params[0].value.a;
	return params[0].value.b;
}

static TEE_Result check_access(uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	static const char rodata[32] = "read only";
	static char bss[32];
	uint32_t flags = params[0].value.a;
	char stack[32];
	void *p = NULL;
	size_t size = sizeof(stack);

	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VOUT);
	switch (params[0].value.b) {
	case PROBE_AT_STACK:
		p = stack;
		break;
	case PROBE_AT_RODATA:
		p = (void *)rodata;
		break;
	case PROBE_AT_CODE:
		p = (void *)(uintptr_t)check_access;
		break;
	case PROBE_AT_HEAP:
		p = malloc(size);
		break;
	case PROBE_AT_FREED_HEAP:
		p = malloc(size);
		free(p);
		break;
	case PROBE_AT_BSS:
		p = bss;
		break;
	case PROBE_AT_WRAP:
		p = (void *)(UINTPTR_MAX - 7);
		break;
	case PROBE_AT_PARAM:
		if (!is_memref(types, 2))
			return TEE_ERROR_BAD_PARAMETERS;
		p = params[2].memref.buffer;
		size = params[2].memref.size;
		break;
	default:
		break;
	}
	if (cmd == PROBE_CMD_OUT_POINTER)
		TEE_InitValueAttribute(p, TEE_ATTR_ECC_CURVE, 0, 0);
	params[1].value.a = TEE_CheckMemoryAccessRights(flags, p, size);
	if (params[0].value.b == PROBE_AT_HEAP)
		free(p);
	return TEE_SUCCESS;
}

static TEE_Result alloc(uint32_t types, TEE_Param params[4])
{
	size_t size = params[0].value.a;
	uint8_t *p = NULL;
	size_t n = 0;

	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VOUT);
	p = TEE_Malloc(size, TEE_MALLOC_FILL_ZERO);
	params[1].value.a = p != NULL;
	params[1].value.b = 0;
	for (n = 0; p && n < size; n++)
		params[1].value.b += p[n];
	if (p && size)
		memset(p, 0xA5, size);
	if (params[0].value.b != 1)
		TEE_Free(p);
	return TEE_SUCCESS;
}

static uint32_t bss_counter;
static uint32_t data_counter = 0xDA7A;

static TEE_Result get_state(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, VOUT);
	EXPECT(types, 1, VOUT);
	params[0].value.a = bss_counter++;
	params[0].value.b = data_counter++;
	params[1].value.a = state.creates;
	params[1].value.b = state.opens;
	return TEE_SUCCESS;
}

static TEE_Result addresses(uint32_t types, TEE_Param params[4])
{
	static const char rodata[] = "address";
	void *heap = malloc(16);
	const uint64_t at[PROBE_ADDR_COUNT] = {
		[PROBE_ADDR_STACK] = (uintptr_t)&heap,
		[PROBE_ADDR_CODE] = (uintptr_t)addresses,
		[PROBE_ADDR_RODATA] = (uintptr_t)rodata,
		[PROBE_ADDR_DATA] = (uintptr_t)&data_counter,
		[PROBE_ADDR_BSS] = (uintptr_t)&bss_counter,
		[PROBE_ADDR_HEAP] = (uintptr_t)heap,
		[PROBE_ADDR_PARAM] = (uintptr_t)params[0].memref.buffer,
	};

	free(heap);
	EXPECT(types, 0, MINOUT);
	return give(params, at, sizeof(at));
}

TEE_Result probe_params(uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	switch (cmd) {
	case PROBE_CMD_ECHO:
		return echo(types, params);
	case PROBE_CMD_PARAM_TYPES:
		return param_types(types, params);
	case PROBE_CMD_COPY:
		return copy(types, params);
	case PROBE_CMD_RETURN:
		EXPECT(types, 0, VIN);
		return params[0].value.a;
	case PROBE_CMD_SET_SIZE:
		return set_size(types, params);
	case PROBE_CMD_CHECK_SHOWN:
		EXPECT(types, 0, VINOUT);
		if (!is_memref(types, 1))
			return TEE_ERROR_BAD_PARAMETERS;
		params[0].value.a = TEE_CheckMemoryAccessRights(params[0].value.a, params[1].memref.buffer,
								params[1].memref.size);
		return TEE_SUCCESS;
	case PROBE_CMD_CHECK_ACCESS:
	case PROBE_CMD_OUT_POINTER:
		return check_access(cmd, types, params);
	case PROBE_CMD_ALLOC:
		return alloc(types, params);
	case PROBE_CMD_STATE:
		return get_state(types, params);
	case PROBE_CMD_ADDRESSES:
		return addresses(types, params);
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

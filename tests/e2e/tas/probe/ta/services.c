/* Commands that pass on to one function of the API each. */
#include <stdio.h>
#include <string.h>

#include "probe.h"

static TEE_Result do_wait(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, VIN);
	if (params[0].value.b == 1)
		TEE_UnmaskCancellation();
	return TEE_Wait(params[0].value.a);
}

/* The core writes random numbers into the TA's own memory only. */
static TEE_Result get_random(uint32_t types, TEE_Param params[4])
{
	size_t size = params[0].memref.size;
	void *p = NULL;

	EXPECT(types, 0, MOUT);
	p = TEE_Malloc(size, TEE_MALLOC_FILL_ZERO);
	if (!p)
		return TEE_ERROR_OUT_OF_MEMORY;
	TEE_GenerateRandom(p, size);
	if (size)
		memcpy(params[0].memref.buffer, p, size);
	TEE_Free(p);
	return TEE_SUCCESS;
}

static TEE_Result get_time(uint32_t types, TEE_Param params[4])
{
	TEE_Time t = { 0, 0 };
	TEE_Result res = TEE_SUCCESS;

	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VOUT);
	if (params[0].value.a == 0)
		TEE_GetSystemTime(&t);
	else if (params[0].value.a == 1)
		res = TEE_GetTAPersistentTime(&t);
	else
		TEE_GetREETime(&t);
	params[1].value.a = t.seconds;
	params[1].value.b = t.millis;
	return res;
}

static TEE_Result set_time(uint32_t types, TEE_Param params[4])
{
	TEE_Time t = { params[0].value.a, params[0].value.b };

	EXPECT(types, 0, VIN);
	return TEE_SetTAPersistentTime(&t);
}

static TEE_PropSetHandle prop_set(const TEE_Param *p)
{
	return (TEE_PropSetHandle)(uintptr_t)p->value.a;
}

static TEE_Result property_as(uint32_t as, TEE_PropSetHandle set, const char *name, void *buf, size_t *size)
{
	switch (as) {
	case PROBE_AS_STRING:
		return TEE_GetPropertyAsString(set, name, buf, size);
	case PROBE_AS_BOOL:
		*size = sizeof(bool);
		return TEE_GetPropertyAsBool(set, name, buf);
	case PROBE_AS_U32:
		*size = sizeof(uint32_t);
		return TEE_GetPropertyAsU32(set, name, buf);
	case PROBE_AS_U64:
		*size = sizeof(uint64_t);
		return TEE_GetPropertyAsU64(set, name, buf);
	case PROBE_AS_UUID:
		*size = sizeof(TEE_UUID);
		return TEE_GetPropertyAsUUID(set, name, buf);
	case PROBE_AS_IDENTITY:
		*size = sizeof(TEE_Identity);
		return TEE_GetPropertyAsIdentity(set, name, buf);
	default:
		return TEE_GetPropertyAsBinaryBlock(set, name, buf, size);
	}
}

static TEE_Result get_property(uint32_t types, TEE_Param params[4])
{
	uint32_t as = params[0].value.b;
	uint64_t buf[32];
	char name[96];
	size_t size = sizeof(buf);
	TEE_Result res = TEE_SUCCESS;

	EXPECT(types, 0, VIN);
	EXPECT(types, 1, MIN_);
	EXPECT(types, 2, MOUT);
	if (params[1].memref.size >= sizeof(name))
		return TEE_ERROR_BAD_PARAMETERS;
	memcpy(name, params[1].memref.buffer, params[1].memref.size);
	name[params[1].memref.size] = 0;
	if (as == PROBE_AS_STRING && params[2].memref.size + 1 < size)
		size = params[2].memref.size + 1;
	res = property_as(as, prop_set(params), name, buf, &size);
	if (res == TEE_ERROR_SHORT_BUFFER)
		params[2].memref.size = size - (as == PROBE_AS_STRING);
	if (res)
		return res;
	return give(params + 2, buf, as == PROBE_AS_STRING ? size - 1 : size);
}

static TEE_Result enumerate_into(TEE_PropSetHandle e, TEE_Param *p)
{
	char name[96];
	char value[160];
	char *out = p->memref.buffer;
	size_t room = p->memref.size;
	size_t used = 0;
	TEE_Result res = TEE_SUCCESS;

	while (!res) {
		size_t name_len = sizeof(name);
		size_t value_len = sizeof(value);

		res = TEE_GetPropertyName(e, name, &name_len);
		if (!res)
			res = TEE_GetPropertyAsString(e, NULL, value, &value_len);
		if (res)
			break;
		used += snprintf(out + used, used < room ? room - used : 0, "%s=%s\n", name, value);
		if (used >= room)
			return TEE_ERROR_SHORT_BUFFER;
		res = TEE_GetNextProperty(e);
	}
	p->memref.size = used;
	return res == TEE_ERROR_ITEM_NOT_FOUND ? TEE_SUCCESS : res;
}

static TEE_Result enumerate(uint32_t types, TEE_Param params[4])
{
	TEE_PropSetHandle e = TEE_HANDLE_NULL;
	TEE_Result res = TEE_SUCCESS;

	EXPECT(types, 0, VIN);
	EXPECT(types, 1, MOUT);
	res = TEE_AllocatePropertyEnumerator(&e);
	if (res)
		return res;
	TEE_StartPropertyEnumerator(e, prop_set(params));
	res = enumerate_into(e, params + 1);
	TEE_FreePropertyEnumerator(e);
	return res;
}

static TEE_Result cancel_mask(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VOUT);
	params[1].value.a = 0;
	if (params[0].value.a == 0)
		params[1].value.a = TEE_MaskCancellation();
	else if (params[0].value.a == 1)
		params[1].value.a = TEE_UnmaskCancellation();
	params[1].value.b = TEE_GetCancellationFlag();
	return TEE_SUCCESS;
}

static TEE_Result loop_cancellable(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VOUT);
	params[1].value.a = 0;
	TEE_UnmaskCancellation();
	while (!TEE_GetCancellationFlag())
		params[1].value.a++;
	return TEE_ERROR_CANCEL;
}

static uint32_t rotate(uint32_t v, int n)
{
	return v >> n | v << (32 - n);
}

/* Not SHA-256, but its mixture of instructions. */
static TEE_Result burn(uint32_t types, TEE_Param params[4])
{
	uint32_t s[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint32_t n = 0;
	uint32_t i = 0;

	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VOUT);
	for (n = 0; n < params[0].value.a; n++) {
		for (i = 0; i < 64; i++) {
			uint32_t *h = s + (i & 7);
			uint32_t e = s[(i + 5) & 7];

			*h += (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & s[(i + 6) & 7]) ^ i);
		}
	}
	params[1].value.a = s[0];
	params[1].value.b = s[4];
	return TEE_SUCCESS;
}

static TEE_Result cache(uint32_t types, TEE_Param params[4])
{
	char *buf = params[1].memref.buffer;
	size_t size = params[1].memref.size;

	EXPECT(types, 0, VIN);
	if (!is_memref(types, 1))
		return TEE_ERROR_BAD_PARAMETERS;
	switch (params[0].value.a) {
	case 0:
		return TEE_CacheClean(buf, size);
	case 1:
		return TEE_CacheFlush(buf, size);
	default:
		return TEE_CacheInvalidate(buf, size);
	}
}

TEE_Result probe_services(uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	switch (cmd) {
	case PROBE_CMD_WAIT:
		return do_wait(types, params);
	case PROBE_CMD_RANDOM:
		return get_random(types, params);
	case PROBE_CMD_GET_TIME:
		return get_time(types, params);
	case PROBE_CMD_SET_TIME:
		return set_time(types, params);
	case PROBE_CMD_GET_PROPERTY:
		return get_property(types, params);
	case PROBE_CMD_ENUMERATE:
		return enumerate(types, params);
	case PROBE_CMD_CANCEL_MASK:
		return cancel_mask(types, params);
	case PROBE_CMD_LOOP_CANCELLABLE:
		return loop_cancellable(types, params);
	case PROBE_CMD_LOG:
		EXPECT(types, 0, MIN_);
		IMSG("%.*s", (int)params[0].memref.size, (const char *)params[0].memref.buffer);
		return TEE_SUCCESS;
	case PROBE_CMD_BURN:
		return burn(types, params);
	case PROBE_CMD_CACHE:
		return cache(types, params);
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

/* Internal Core API: calling other TAs. Memory that is private to this TA travels through a copy. */
#include <string.h>
#include <utee_syscalls.h>

#include "runtime.h"

/* The system pseudo TA gives memory that may be shown to other TAs. */
#define PTA_SYSTEM_UUID \
	{ 0x3a2f8978, 0x5dc0, 0x11e8, { 0x9c, 0x2d, 0xfa, 0x7a, 0xe0, 0x1b, 0xbe, 0xbc } }
#define PTA_SYSTEM_MAP_ZI 2
#define PTA_SYSTEM_UNMAP 3
#define PTA_SYSTEM_MAP_FLAG_SHAREABLE BIT32(0)

/* A call's parameters on their way: what the core gets, and the copies it is shown. */
struct outgoing {
	struct utee_params up;
	void *copy[TEE_NUM_PARAMS];
	uint8_t *buf;
	size_t buf_len;
};

void __utee_to_params(struct utee_params *up, uint32_t types, const TEE_Param params[TEE_NUM_PARAMS])
{
	size_t n = 0;

	memset(up, 0, sizeof(*up));
	up->types = types;
	for (n = 0; n < TEE_NUM_PARAMS; n++) {
		uint32_t type = TEE_PARAM_TYPE_GET(types, n);

		if (__utee_is_value(type)) {
			up->vals[n * 2] = params[n].value.a;
			up->vals[n * 2 + 1] = params[n].value.b;
		} else if (__utee_is_memref(type)) {
			up->vals[n * 2] = (uintptr_t)params[n].memref.buffer;
			up->vals[n * 2 + 1] = params[n].memref.size;
		}
	}
}

static size_t rounded(size_t size)
{
	return ROUNDUP(size, 2 * sizeof(uintptr_t));
}

static bool is_private(const TEE_Param *p)
{
	return p->memref.buffer && p->memref.size &&
	       !TEE_CheckMemoryAccessRights(TEE_MEMORY_ACCESS_READ, p->memref.buffer, p->memref.size);
}

/* Breaking a parameter's own rights, or showing memory that must not be shared, is a programming error. */
static void check_memref(uint32_t type, const TEE_Param *p)
{
	uint32_t flags = TEE_MEMORY_ACCESS_READ | TEE_MEMORY_ACCESS_ANY_OWNER;

	if (type != TEE_PARAM_TYPE_MEMREF_INPUT)
		flags |= TEE_MEMORY_ACCESS_WRITE;
	if (__utee_check_against_params(flags, p->memref.buffer, p->memref.size) ||
	    heap_overlaps(&ta_no_share_malloc_heap, p->memref.buffer, p->memref.size))
		TEE_Panic(0);
}

static void check_params(uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	size_t n = 0;

	if (types)
		__utee_check(TEE_MEMORY_ACCESS_READ | TEE_MEMORY_ACCESS_WRITE, params,
			     sizeof(TEE_Param) * TEE_NUM_PARAMS);
	for (n = 0; n < TEE_NUM_PARAMS; n++)
		if (__utee_is_memref(TEE_PARAM_TYPE_GET(types, n)))
			check_memref(TEE_PARAM_TYPE_GET(types, n), params + n);
}

/* Put private buffers into memory of the system pseudo TA, one after the other. */
static TEE_Result copy_private(struct outgoing *o, uint32_t types, const TEE_Param params[TEE_NUM_PARAMS])
{
	bool private[TEE_NUM_PARAMS] = { false };
	uint8_t *next = NULL;
	size_t n = 0;

	for (n = 0; n < TEE_NUM_PARAMS; n++) {
		if (!__utee_is_memref(TEE_PARAM_TYPE_GET(types, n)) || !is_private(params + n))
			continue;
		private[n] = true;
		if (ADD_OVERFLOW(o->buf_len, rounded(params[n].memref.size), &o->buf_len))
			return TEE_ERROR_OUT_OF_MEMORY;
	}
	if (!o->buf_len)
		return TEE_SUCCESS;
	o->buf = tee_map_zi(o->buf_len, TEE_MEMORY_ACCESS_ANY_OWNER);
	if (!o->buf)
		return TEE_ERROR_OUT_OF_MEMORY;
	next = o->buf;
	for (n = 0; n < TEE_NUM_PARAMS; n++) {
		if (!private[n])
			continue;
		o->copy[n] = next;
		o->up.vals[n * 2] = (uintptr_t)next;
		if (TEE_PARAM_TYPE_GET(types, n) != TEE_PARAM_TYPE_MEMREF_OUTPUT)
			memcpy(next, params[n].memref.buffer, params[n].memref.size);
		next += rounded(params[n].memref.size);
	}
	return TEE_SUCCESS;
}

static TEE_Result prepare(struct outgoing *o, uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	size_t n = 0;

	check_params(types, params);
	memset(o, 0, sizeof(*o));
	__utee_to_params(&o->up, types, params);
	for (n = 0; n < TEE_NUM_PARAMS; n++)
		if (TEE_PARAM_TYPE_GET(types, n) == TEE_PARAM_TYPE_VALUE_OUTPUT)
			o->up.vals[n * 2] = o->up.vals[n * 2 + 1] = 0;
	return copy_private(o, types, params);
}

static void take_memref(TEE_Param *p, const void *copy, size_t size)
{
	if (copy)
		memcpy(p->memref.buffer, copy, MIN(size, p->memref.size));
	p->memref.size = size;
}

static void finish(struct outgoing *o, TEE_Param params[TEE_NUM_PARAMS])
{
	TEE_Result res = TEE_SUCCESS;
	size_t n = 0;

	for (n = 0; n < TEE_NUM_PARAMS; n++) {
		uint64_t *v = o->up.vals + n * 2;

		switch (TEE_PARAM_TYPE_GET(o->up.types, n)) {
		case TEE_PARAM_TYPE_VALUE_OUTPUT:
		case TEE_PARAM_TYPE_VALUE_INOUT:
			params[n].value.a = (uint32_t)v[0];
			params[n].value.b = (uint32_t)v[1];
			break;
		case TEE_PARAM_TYPE_MEMREF_OUTPUT:
		case TEE_PARAM_TYPE_MEMREF_INOUT:
			take_memref(params + n, o->copy[n], (size_t)v[1]);
			break;
		default:
			break;
		}
	}
	if (o->buf)
		res = tee_unmap(o->buf, o->buf_len);
	if (res)
		TEE_Panic(res);
}

TEE_Result TEE_OpenTASession(const TEE_UUID *destination, uint32_t cancellationRequestTimeout, uint32_t paramTypes,
			     TEE_Param params[TEE_NUM_PARAMS], TEE_TASessionHandle *session,
			     uint32_t *returnOrigin)
{
	struct outgoing o;
	uint32_t handle = TEE_HANDLE_NULL;
	uint32_t origin = TEE_ORIGIN_TEE;
	TEE_Result res = TEE_SUCCESS;

	__utee_check_out(session);
	res = prepare(&o, paramTypes, params);
	if (!res) {
		res = _utee_open_ta_session(destination, cancellationRequestTimeout, &o.up, &handle, &origin);
		finish(&o, params);
	}
	if (returnOrigin)
		*returnOrigin = origin;
	*session = (TEE_TASessionHandle)(uintptr_t)(res ? TEE_HANDLE_NULL : handle);
	return res;
}

void TEE_CloseTASession(TEE_TASessionHandle session)
{
	TEE_Result res = TEE_SUCCESS;

	if (session != TEE_HANDLE_NULL)
		res = _utee_close_ta_session((uintptr_t)session);
	if (res)
		TEE_Panic(res);
}

TEE_Result TEE_InvokeTACommand(TEE_TASessionHandle session, uint32_t cancellationRequestTimeout, uint32_t commandID,
			       uint32_t paramTypes, TEE_Param params[TEE_NUM_PARAMS], uint32_t *returnOrigin)
{
	struct outgoing o;
	uint32_t origin = TEE_ORIGIN_TEE;
	TEE_Result res = TEE_SUCCESS;

	if (returnOrigin)
		__utee_check_out(returnOrigin);
	res = prepare(&o, paramTypes, params);
	if (!res) {
		res = _utee_invoke_ta_command((uintptr_t)session, cancellationRequestTimeout, commandID, &o.up,
					      &origin);
		finish(&o, params);
	}
	if (returnOrigin)
		*returnOrigin = origin;
	if (res && origin != TEE_ORIGIN_TRUSTED_APP && res != TEE_ERROR_OUT_OF_MEMORY &&
	    res != TEE_ERROR_TARGET_DEAD)
		TEE_Panic(res);
	return res;
}

TEE_Result __utee_invoke_system_pta(uint32_t cmd, uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	static const TEE_UUID uuid = PTA_SYSTEM_UUID;
	static TEE_TASessionHandle session = TEE_HANDLE_NULL;
	TEE_Result res = TEE_SUCCESS;

	if (session == TEE_HANDLE_NULL)
		res = TEE_OpenTASession(&uuid, TEE_TIMEOUT_INFINITE, 0, NULL, &session, NULL);
	if (!res)
		res = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE, cmd, types, params, NULL);
	return res;
}

void *tee_map_zi(size_t len, uint32_t flags)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_VALUE_INOUT,
					       TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_NONE);
	TEE_Param params[TEE_NUM_PARAMS] = { 0 };

	params[0].value.a = (uint32_t)len;
	if (params[0].value.a != len || (flags & ~(uint32_t)TEE_MEMORY_ACCESS_ANY_OWNER))
		return NULL;
	params[0].value.b = flags ? PTA_SYSTEM_MAP_FLAG_SHAREABLE : 0;
	if (__utee_invoke_system_pta(PTA_SYSTEM_MAP_ZI, types, params))
		return NULL;
	return (void *)(uintptr_t)(SHIFT_U64(params[1].value.a, 32) | params[1].value.b);
}

TEE_Result tee_unmap(void *buf, size_t len)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_VALUE_INPUT,
					       TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);
	TEE_Param params[TEE_NUM_PARAMS] = { 0 };

	params[0].value.a = (uint32_t)len;
	if (params[0].value.a != len)
		return TEE_ERROR_BAD_PARAMETERS;
	params[1].value.a = (uint32_t)((uint64_t)(uintptr_t)buf >> 32);
	params[1].value.b = (uint32_t)(uintptr_t)buf;
	return __utee_invoke_system_pta(PTA_SYSTEM_UNMAP, types, params);
}

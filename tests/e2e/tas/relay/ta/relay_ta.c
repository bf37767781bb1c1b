#include <relay_ta.h>
#include <stdlib.h>
#include <string.h>
#include <tee_internal_api.h>

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[4], void **session)
{
	(void)types;
	(void)params;
	*session = TEE_Malloc(sizeof(TEE_TASessionHandle), 0);
	return *session ? TEE_SUCCESS : TEE_ERROR_OUT_OF_MEMORY;
}

void TA_CloseSessionEntryPoint(void *session)
{
	TEE_Free(session);
}

static TEE_Result open_other(TEE_TASessionHandle *other, uint32_t types, TEE_Param params[4])
{
	const uint8_t *o = params[0].memref.buffer;
	TEE_UUID u = { 0 };

	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT, 0, 0) ||
	    params[0].memref.size != 16)
		return TEE_ERROR_BAD_PARAMETERS;
	u.timeLow = (uint32_t)o[0] << 24 | o[1] << 16 | o[2] << 8 | o[3];
	u.timeMid = (uint16_t)(o[4] << 8 | o[5]);
	u.timeHiAndVersion = (uint16_t)(o[6] << 8 | o[7]);
	memcpy(u.clockSeqAndNode, o + 8, 8);
	return TEE_OpenTASession(&u, TEE_TIMEOUT_INFINITE, 0, NULL, other, &params[1].value.a);
}

static bool is_memref(uint32_t type)
{
	return type >= TEE_PARAM_TYPE_MEMREF_INPUT && type <= TEE_PARAM_TYPE_MEMREF_INOUT;
}

static TEE_Result invoke(TEE_TASessionHandle other, struct relay_call *call, TEE_Param params[4])
{
	TEE_Param inner[4] = { 0 };
	void *copies[4] = { 0 };
	TEE_Result res = TEE_SUCCESS;
	uint32_t origin = 0;
	size_t next = 1;
	size_t n = 0;

	for (n = 0; n < 4; n++) {
		inner[n].value.a = call->value[n][0];
		inner[n].value.b = call->value[n][1];
		if (!is_memref(TEE_PARAM_TYPE_GET(call->types, n)))
			continue;
		if (next > 3)
			return TEE_ERROR_BAD_PARAMETERS;
		inner[n] = params[next++];
		if (!call->value[n][0] || !inner[n].memref.buffer)
			continue;
		copies[n] = TEE_Malloc(inner[n].memref.size, 0);
		if (!copies[n])
			return TEE_ERROR_OUT_OF_MEMORY;
		memcpy(copies[n], inner[n].memref.buffer, inner[n].memref.size);
		inner[n].memref.buffer = copies[n];
	}
	res = TEE_InvokeTACommand(other, TEE_TIMEOUT_INFINITE, call->cmd, call->types, inner, &origin);
	call->origin = origin;
	for (n = 0, next = 1; n < 4; n++) {
		if (!is_memref(TEE_PARAM_TYPE_GET(call->types, n))) {
			call->value[n][0] = inner[n].value.a;
			call->value[n][1] = inner[n].value.b;
			continue;
		}
		if (copies[n] && inner[n].memref.size <= params[next].memref.size)
			memcpy(params[next].memref.buffer, copies[n], inner[n].memref.size);
		params[next++].memref.size = inner[n].memref.size;
		TEE_Free(copies[n]);
	}
	return res;
}

static __attribute__((noinline)) void count(uint32_t iterations)
{
	volatile uint32_t n = 0;

	while (n < iterations)
		n++;
}

static TEE_Result profile(TEE_TASessionHandle gprof, uint32_t types, TEE_Param params[4])
{
	TEE_Param start[4] = { params[1] };
	TEE_Param stop[4] = { 0 };
	TEE_Result res = TEE_SUCCESS;

	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_MEMREF_INOUT,
				     TEE_PARAM_TYPE_VALUE_OUTPUT, 0))
		return TEE_ERROR_BAD_PARAMETERS;
	start[1].value.a = (uint32_t)(uintptr_t)count & ~1u;
	start[1].value.b = 65536;
	res = TEE_InvokeTACommand(gprof, TEE_TIMEOUT_INFINITE, 1,
				  TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INOUT, TEE_PARAM_TYPE_VALUE_INPUT, 0, 0), start,
				  NULL);
	if (res)
		return res;
	count(params[0].value.a);
	res = TEE_InvokeTACommand(gprof, TEE_TIMEOUT_INFINITE, 2,
				  TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_OUTPUT, 0, 0, 0), stop, NULL);
	params[2].value.a = stop[0].value.a;
	return res;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	TEE_TASessionHandle *other = session;

	switch (cmd) {
	case RELAY_CMD_OPEN:
		return open_other(other, types, params);
	case RELAY_CMD_INVOKE:
		if (TEE_PARAM_TYPE_GET(types, 0) != TEE_PARAM_TYPE_MEMREF_INOUT ||
		    params[0].memref.size != sizeof(struct relay_call))
			return TEE_ERROR_BAD_PARAMETERS;
		return invoke(*other, params[0].memref.buffer, params);
	case RELAY_CMD_PROFILE:
		return profile(*other, types, params);
	case RELAY_CMD_CLOSE:
		TEE_CloseTASession(*other);
		return TEE_SUCCESS;
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

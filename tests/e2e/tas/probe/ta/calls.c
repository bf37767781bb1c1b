/* Commands that call other TAs. */
#include <stdlib.h>
#include <string.h>

#include "probe.h"

static TEE_UUID uuid_of(const uint8_t *o)
{
	TEE_UUID u = {
		.timeLow = (uint32_t)o[0] << 24 | o[1] << 16 | o[2] << 8 | o[3],
		.timeMid = (uint16_t)(o[4] << 8 | o[5]),
		.timeHiAndVersion = (uint16_t)(o[6] << 8 | o[7]),
	};

	memcpy(u.clockSeqAndNode, o + 8, 8);
	return u;
}

static TEE_Result forward(TEE_TASessionHandle session, uint32_t cmd, uint32_t types, TEE_Param params[4],
			  uint32_t *origin)
{
	uint32_t inner_types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_GET(types, 1), TEE_PARAM_TYPE_GET(types, 2), NONE, NONE);
	TEE_Param inner[4] = { params[1], params[2] };
	TEE_Result res = TEE_SUCCESS;

	res = TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE, cmd, inner_types, inner, origin);
	params[1] = inner[0];
	params[2] = inner[1];
	return res;
}

static TEE_Result call_ta(uint32_t types, TEE_Param params[4])
{
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	TEE_Result res = TEE_SUCCESS;
	uint32_t cmd = 0;
	TEE_UUID uuid;

	EXPECT(types, 0, MIN_);
	EXPECT(types, 3, VOUT);
	if (params[0].memref.size != 20)
		return TEE_ERROR_BAD_PARAMETERS;
	uuid = uuid_of(params[0].memref.buffer);
	memcpy(&cmd, (uint8_t *)params[0].memref.buffer + 16, sizeof(cmd));
	params[3].value.a = 1;
	res = TEE_OpenTASession(&uuid, TEE_TIMEOUT_INFINITE, 0, NULL, &session, &params[3].value.b);
	if (res)
		return res;
	params[3].value.a = 2;
	res = forward(session, cmd, types, params, &params[3].value.b);
	TEE_CloseTASession(session);
	if (!res)
		params[3].value.a = 3;
	return res;
}

static void *duplicate(const TEE_Param *p)
{
	void *copy = malloc(p->memref.size);

	return copy ? memcpy(copy, p->memref.buffer, p->memref.size) : NULL;
}

static TEE_Result call_ta_private(uint32_t types, TEE_Param params[4])
{
	void *shared[4] = { NULL };
	void *copies[4] = { NULL };
	size_t sizes[4] = { 0 };
	TEE_Result res = TEE_SUCCESS;
	size_t n = 0;

	for (n = 1; n < 3; n++) {
		if (!is_memref(types, n))
			continue;
		copies[n] = duplicate(params + n);
		if (!copies[n])
			return TEE_ERROR_OUT_OF_MEMORY;
		shared[n] = params[n].memref.buffer;
		sizes[n] = params[n].memref.size;
		params[n].memref.buffer = copies[n];
	}
	res = call_ta(types, params);
	for (n = 1; n < 3; n++) {
		if (!copies[n])
			continue;
		if (params[n].memref.size <= sizes[n] && TEE_PARAM_TYPE_GET(types, n) != MIN_)
			memcpy(shared[n], copies[n], params[n].memref.size);
		params[n].memref.buffer = shared[n];
		free(copies[n]);
	}
	return res;
}

static TEE_Result open_ta(uint32_t types, TEE_Param params[4])
{
	TEE_TASessionHandle session = TEE_HANDLE_NULL;
	TEE_Result res = TEE_SUCCESS;
	TEE_UUID uuid;

	EXPECT(types, 0, MIN_);
	EXPECT(types, 1, VOUT);
	if (params[0].memref.size != 16)
		return TEE_ERROR_BAD_PARAMETERS;
	uuid = uuid_of(params[0].memref.buffer);
	res = TEE_OpenTASession(&uuid, TEE_TIMEOUT_INFINITE, 0, NULL, &session, &params[1].value.b);
	params[1].value.a = (uint32_t)(uintptr_t)session;
	return res;
}

static TEE_TASessionHandle handle_of(const TEE_Param *p)
{
	return (TEE_TASessionHandle)(uintptr_t)p->value.a;
}

TEE_Result probe_calls(uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	switch (cmd) {
	case PROBE_CMD_CALL_TA:
		return call_ta(types, params);
	case PROBE_CMD_CALL_TA_PRIVATE:
		return call_ta_private(types, params);
	case PROBE_CMD_OPEN_TA:
		return open_ta(types, params);
	case PROBE_CMD_INVOKE_TA:
		EXPECT(types, 0, VIN);
		EXPECT(types, 3, VOUT);
		return forward(handle_of(params), params[0].value.b, types, params, &params[3].value.b);
	case PROBE_CMD_CLOSE_TA:
		EXPECT(types, 0, VIN);
		TEE_CloseTASession(handle_of(params));
		return TEE_SUCCESS;
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

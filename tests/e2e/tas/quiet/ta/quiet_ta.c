#include <quiet_ta.h>
#include <tee_internal_api.h>

#include "../../common/plain_entries.h"

static uint32_t work(uint32_t rounds, uint32_t x)
{
	while (rounds--) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
	}
	return x;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	size_t n = 0;

	(void)session;
	switch (cmd) {
	case QUIET_CMD_INC:
		if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INOUT, 0, 0, 0))
			return TEE_ERROR_BAD_PARAMETERS;
		params[0].value.a++;
		return TEE_SUCCESS;
	case QUIET_CMD_NOP:
		return TEE_SUCCESS;
	case QUIET_CMD_INC_BYTES:
		if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INOUT, 0, 0, 0))
			return TEE_ERROR_BAD_PARAMETERS;
		for (n = 0; n < params[0].memref.size; n++)
			((uint8_t *)params[0].memref.buffer)[n]++;
		return TEE_SUCCESS;
	case QUIET_CMD_WORK:
		if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INOUT, 0, 0, 0))
			return TEE_ERROR_BAD_PARAMETERS;
		params[0].value.b = work(params[0].value.a, params[0].value.b);
		return TEE_SUCCESS;
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

#include "../../../tests/e2e/tas/common/plain_entries.h"
#include "speed.h"

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	const uint32_t a = params[0].value.a;
	const uint32_t b = params[0].value.b;
	void *const buffer = params[1].memref.buffer;
	const size_t len = params[1].memref.size;

	(void)session;
	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INOUT, TEE_PARAM_TYPE_MEMREF_INOUT, 0, 0))
		return TEE_ERROR_BAD_PARAMETERS;
	switch (cmd) {
	case SPEED_CMD_DATA:
		data(a, buffer, len);
		break;
	case SPEED_CMD_SIGN:
		sign(a, b);
		break;
	case SPEED_CMD_VERIFY:
		verify(a, b);
		break;
	case SPEED_CMD_KEYGEN:
		generate_key(a, b);
		break;
	case SPEED_CMD_CALLS:
		calls(a, b);
		break;
	case SPEED_CMD_CREATE:
		create_object(b, buffer, len);
		break;
	case SPEED_CMD_WRITE:
		write_object(buffer, len);
		break;
	case SPEED_CMD_READ:
		read_object(b, buffer, len);
		break;
	case SPEED_CMD_ENUMERATE:
		params[0].value.a = count_objects();
		break;
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
	return TEE_SUCCESS;
}

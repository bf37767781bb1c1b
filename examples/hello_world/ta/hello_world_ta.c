/* A trusted application that counts up and down. */
#include <hello_world_ta.h>
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

/* A new instance: before its first session. */
TEE_Result TA_CreateEntryPoint(void)
{
	DMSG("instance created");
	return TEE_SUCCESS;
}

/* The instance goes: after its last session. */
void TA_DestroyEntryPoint(void)
{
	DMSG("instance destroyed");
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types, TEE_Param params[4], void **session)
{
	(void)params;
	(void)session;
	if (param_types != 0)
		return TEE_ERROR_BAD_PARAMETERS;
	IMSG("Hello World!");
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session)
{
	(void)session;
	IMSG("Goodbye!");
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t param_types, TEE_Param params[4])
{
	const uint32_t expected = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INOUT, TEE_PARAM_TYPE_NONE,
						  TEE_PARAM_TYPE_NONE, TEE_PARAM_TYPE_NONE);

	(void)session;
	if (param_types != expected)
		return TEE_ERROR_BAD_PARAMETERS;

	IMSG("Got value: %u from NW", params[0].value.a);
	switch (cmd) {
	case TA_HELLO_WORLD_CMD_INC_VALUE:
		params[0].value.a++;
		IMSG("Increase value to: %u", params[0].value.a);
		return TEE_SUCCESS;
	case TA_HELLO_WORLD_CMD_DEC_VALUE:
		params[0].value.a--;
		IMSG("Decrease value to: %u", params[0].value.a);
		return TEE_SUCCESS;
	default:
		return TEE_ERROR_BAD_PARAMETERS;
	}
}

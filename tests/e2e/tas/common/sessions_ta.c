/* Included by the one source file of each TA. CREATE_RESULT: what the create entry point returns. */
#include <sessions_ta.h>
#include <tee_internal_api.h>

#ifndef CREATE_RESULT
#define CREATE_RESULT TEE_SUCCESS
#endif

struct session {
	uint32_t counter;
};

static uint32_t creates, opens, closes, live, counter;
static bool panic_in_close, panic_in_destroy;

TEE_Result TA_CreateEntryPoint(void)
{
	creates++;
	DMSG("create %u", creates);
	return CREATE_RESULT;
}

void TA_DestroyEntryPoint(void)
{
	DMSG("destroy");
	if (panic_in_destroy)
		TEE_Panic(5);
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[4], void **session)
{
	opens++;
	DMSG("open %u", opens);
	if (TEE_PARAM_TYPE_GET(types, 0) == TEE_PARAM_TYPE_VALUE_INPUT) {
		if (params[0].value.a == SESSIONS_OPEN_REFUSE)
			return params[0].value.b;
		if (params[0].value.a == SESSIONS_OPEN_PANIC)
			TEE_Panic(params[0].value.b);
	}
	*session = TEE_Malloc(sizeof(struct session), TEE_MALLOC_FILL_ZERO);
	if (!*session)
		return TEE_ERROR_OUT_OF_MEMORY;
	live++;
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session)
{
	closes++;
	live--;
	DMSG("close %u", closes);
	if (panic_in_close)
		TEE_Panic(4);
	TEE_Free(session);
}

static TEE_Result counts(TEE_Param params[4])
{
	params[0].value.a = creates;
	params[0].value.b = opens;
	params[1].value.a = closes;
	params[1].value.b = live;
	return TEE_SUCCESS;
}

static TEE_Result count(struct session *s, TEE_Param params[4])
{
	params[0].value.a = s->counter++;
	params[0].value.b = counter++;
	return TEE_SUCCESS;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	const uint32_t in = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, 0, 0, 0);
	const uint32_t out = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_OUTPUT, 0, 0, 0);
	const uint32_t out2 = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_VALUE_OUTPUT, 0, 0);

	if (cmd == SESSIONS_CMD_COUNTS && types == out2)
		return counts(params);
	if (cmd == SESSIONS_CMD_COUNT && types == out)
		return count(session, params);
	if (cmd == SESSIONS_CMD_PANIC && types == in)
		TEE_Panic(params[0].value.a);
	if (cmd == SESSIONS_CMD_WAIT && types == in) {
		TEE_UnmaskCancellation();
		return TEE_Wait(params[0].value.a);
	}
	if (cmd == SESSIONS_CMD_PANIC_IN_CLOSE || cmd == SESSIONS_CMD_PANIC_IN_DESTROY) {
		panic_in_close |= cmd == SESSIONS_CMD_PANIC_IN_CLOSE;
		panic_in_destroy |= cmd == SESSIONS_CMD_PANIC_IN_DESTROY;
		return TEE_SUCCESS;
	}
	return TEE_ERROR_BAD_PARAMETERS;
}

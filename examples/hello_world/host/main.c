/* The client: opens a session, counts up, counts down, closes it. */
#include <err.h>
#include <hello_world_ta.h>
#include <stdio.h>
#include <stdlib.h>
#include <tee_client_api.h>

static uint32_t count(TEEC_Session *session, uint32_t cmd, uint32_t value)
{
	TEEC_Operation op = {
		.paramTypes = TEEC_PARAM_TYPES(TEEC_VALUE_INOUT, TEEC_NONE, TEEC_NONE, TEEC_NONE),
		.params[0].value.a = value,
	};
	uint32_t origin = 0;
	TEEC_Result res = TEEC_InvokeCommand(session, cmd, &op, &origin);

	if (res != TEEC_SUCCESS)
		errx(1, "TEEC_InvokeCommand: 0x%x, origin 0x%x", res, origin);
	return op.params[0].value.a;
}

int main(int argc, char *argv[])
{
	const TEEC_UUID uuid = TA_HELLO_WORLD_UUID;
	uint32_t value = argc > 1 ? strtoul(argv[1], NULL, 0) : 42;
	uint32_t origin = 0;
	TEEC_Context ctx;
	TEEC_Session session;
	TEEC_Result res = TEEC_InitializeContext(NULL, &ctx);

	if (res != TEEC_SUCCESS)
		errx(1, "TEEC_InitializeContext: 0x%x (is there a /dev/tee0?)", res);
	res = TEEC_OpenSession(&ctx, &session, &uuid, TEEC_LOGIN_PUBLIC, NULL, NULL, &origin);
	if (res != TEEC_SUCCESS)
		errx(1, "TEEC_OpenSession: 0x%x, origin 0x%x", res, origin);

	printf("The TA gets %u\n", value);
	value = count(&session, TA_HELLO_WORLD_CMD_INC_VALUE, value);
	printf("one more is %u\n", value);
	value = count(&session, TA_HELLO_WORLD_CMD_DEC_VALUE, value);
	printf("one less is %u\n", value);

	TEEC_CloseSession(&session);
	TEEC_FinalizeContext(&ctx);
	return 0;
}

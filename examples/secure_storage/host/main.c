/* The client: puts, gets, lists and deletes notes. */
#include <err.h>
#include <secure_storage_ta.h>
#include <stdio.h>
#include <string.h>
#include <tee_client_api.h>

static const char usage[] = "put NAME NOTE | get NAME | delete NAME | list";

static char answer[NOTE_MAX];

struct command {
	const char *verb;
	int args;
	uint32_t cmd;
	uint32_t types;
};

static const struct command commands[] = {
	{ "put", 2, TA_SECURE_STORAGE_CMD_PUT,
	  TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT, TEEC_MEMREF_TEMP_INPUT, TEEC_NONE, TEEC_NONE) },
	{ "get", 1, TA_SECURE_STORAGE_CMD_GET,
	  TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT, TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE) },
	{ "delete", 1, TA_SECURE_STORAGE_CMD_DELETE,
	  TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_INPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE) },
	{ "list", 0, TA_SECURE_STORAGE_CMD_LIST,
	  TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_NONE) },
};

static const struct command *find(int argc, char *argv[])
{
	size_t n = 0;

	for (n = 0; argc > 1 && n < sizeof(commands) / sizeof(commands[0]); n++)
		if (!strcmp(argv[1], commands[n].verb) && argc - 2 == commands[n].args)
			return commands + n;
	errx(2, "usage: %s", usage);
}

/* Arguments first, then room for the answer. */
static void set_params(TEEC_Operation *op, const struct command *c, char *args[])
{
	int n = 0;

	op->paramTypes = c->types;
	for (n = 0; n < c->args; n++) {
		op->params[n].tmpref.buffer = args[n];
		op->params[n].tmpref.size = strlen(args[n]);
	}
	if (n < 2) {
		op->params[n].tmpref.buffer = answer;
		op->params[n].tmpref.size = sizeof(answer);
	}
}

static void print_answer(const struct command *c, size_t size)
{
	size_t at = 0;

	if (c->cmd == TA_SECURE_STORAGE_CMD_GET)
		printf("%.*s\n", (int)size, answer);
	for (at = 0; c->cmd == TA_SECURE_STORAGE_CMD_LIST && at < size; at += strlen(answer + at) + 1)
		printf("%s\n", answer + at);
}

int main(int argc, char *argv[])
{
	const TEEC_UUID uuid = TA_SECURE_STORAGE_UUID;
	const struct command *c = find(argc, argv);
	TEEC_Operation op = { 0 };
	uint32_t origin = 0;
	TEEC_Context ctx;
	TEEC_Session session;
	TEEC_Result res = TEEC_InitializeContext(NULL, &ctx);

	if (res != TEEC_SUCCESS)
		errx(1, "TEEC_InitializeContext: 0x%x (is there a /dev/tee0?)", res);
	res = TEEC_OpenSession(&ctx, &session, &uuid, TEEC_LOGIN_PUBLIC, NULL, NULL, &origin);
	if (res != TEEC_SUCCESS)
		errx(1, "TEEC_OpenSession: 0x%x, origin 0x%x", res, origin);
	set_params(&op, c, argv + 2);
	res = TEEC_InvokeCommand(&session, c->cmd, &op, &origin);
	if (res == TEEC_ERROR_ITEM_NOT_FOUND)
		errx(1, "there is no note of that name");
	if (res != TEEC_SUCCESS)
		errx(1, "%s: 0x%x, origin 0x%x", c->verb, res, origin);
	print_answer(c, op.params[c->args].tmpref.size);
	TEEC_CloseSession(&session);
	TEEC_FinalizeContext(&ctx);
	return 0;
}

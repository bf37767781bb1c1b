/*
 * bench: UUID bytes in argv[1] (32 hex digits), command, calls, p0.a, p0.b (default 0), size of the memory that is p1
 * (default: there is no p1); prints "min p50 p99 total": of one invoke and of all, in nanoseconds.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tee_client_api.h>
#include <time.h>

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static uint32_t number(int argc, char *argv[], int n)
{
	return n < argc ? strtoul(argv[n], NULL, 0) : 0;
}

static TEEC_UUID uuid_of(const char *hex)
{
	TEEC_UUID uuid;
	uint8_t raw[16];

	for (int n = 0; n < 16; n++)
		sscanf(hex + 2 * n, "%2hhx", &raw[n]);
	uuid.timeLow = (uint32_t)raw[0] << 24 | raw[1] << 16 | raw[2] << 8 | raw[3];
	uuid.timeMid = raw[4] << 8 | raw[5];
	uuid.timeHiAndVersion = raw[6] << 8 | raw[7];
	memcpy(uuid.clockSeqAndNode, raw + 8, 8);
	return uuid;
}

int main(int argc, char *argv[])
{
	TEEC_Context context;
	TEEC_Session session;
	TEEC_Operation op = { 0 };
	TEEC_UUID uuid;
	TEEC_SharedMemory shm = { .flags = TEEC_MEM_INPUT | TEEC_MEM_OUTPUT };
	uint32_t origin;
	int count = number(argc, argv, 3);
	int64_t *took = calloc(count + 1, sizeof(*took));

	if (count < 1 || strlen(argv[1]) != 32 || !took)
		return 2;
	uuid = uuid_of(argv[1]);
	if (TEEC_InitializeContext(NULL, &context) ||
	    TEEC_OpenSession(&context, &session, &uuid, TEEC_LOGIN_PUBLIC, NULL, NULL, &origin))
		return 1;
	shm.size = number(argc, argv, 6);
	if (argc > 6 && TEEC_AllocateSharedMemory(&context, &shm))
		return 1;
	op.paramTypes = TEEC_PARAM_TYPES(TEEC_VALUE_INOUT, argc > 6 ? TEEC_MEMREF_WHOLE : TEEC_NONE, TEEC_NONE,
					 TEEC_NONE);
	op.params[1].memref.parent = &shm;
	int64_t begin = now();

	for (int n = 0; n < count; n++) {
		int64_t start = now();

		op.params[0].value.a = number(argc, argv, 4);
		op.params[0].value.b = number(argc, argv, 5);
		if (TEEC_InvokeCommand(&session, number(argc, argv, 2), &op, &origin))
			return 1;
		took[n] = now() - start;
	}
	int64_t total = now() - begin;

	qsort(took, count, sizeof(*took), by_value);
	printf("%lld %lld %lld %lld\n", (long long)took[0], (long long)took[count / 2],
	       (long long)took[count * 99 / 100], (long long)total);
	TEEC_CloseSession(&session);
	TEEC_FinalizeContext(&context);
	return 0;
}

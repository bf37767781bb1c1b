#include <linked.h>
#include <stdlib.h>
#include <tee_internal_api.h>
#include <trace.h>

uint32_t started;
_Thread_local uint32_t linked_tls = 200;
static _Thread_local uint32_t hidden_tls;

static uint32_t subtract(uint32_t a, uint32_t b)
{
	return a - b;
}

uint32_t (*const linked_table[2])(uint32_t a, uint32_t b) = { linked_add, subtract };

__attribute__((constructor)) static void start(void)
{
	started = started << 4 | 2;
}

__attribute__((destructor)) static void stop(void)
{
	IMSG("linked library stops");
}

uint32_t linked_add(uint32_t a, uint32_t b)
{
	return a + b;
}

/* By way of the heap, which is the TA's. */
uint32_t linked_call_back(uint32_t (*fn)(uint32_t), uint32_t arg)
{
	uint32_t *result = malloc(sizeof(*result));
	uint32_t copy = 0;

	if (!result)
		return 0;
	*result = fn(arg) + ta_triple(arg);
	copy = *result;
	free(result);
	return copy;
}

uint32_t linked_next_tls(void)
{
	hidden_tls++;
	return ++linked_tls + hidden_tls;
}

void linked_panic(void)
{
	TEE_Panic(0x11b);
}

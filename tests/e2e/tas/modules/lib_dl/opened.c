#include <linked.h>
#include <stdint.h>
#include <trace.h>

uint32_t opened_half(uint32_t n);
uint32_t opened_next_tls(uint32_t n);
uint32_t opened_constructed(uint32_t n);

static _Thread_local uint32_t counter = 300;
static uint32_t constructed;

__attribute__((constructor)) static void start(void)
{
	constructed = 1;
	started = started << 4 | 3;
}

__attribute__((destructor)) static void stop(void)
{
	IMSG("opened library stops");
}

uint32_t opened_half(uint32_t n)
{
	return linked_add(n / 2, 0);
}

uint32_t opened_next_tls(uint32_t n)
{
	counter += n;
	return counter;
}

uint32_t opened_constructed(uint32_t n)
{
	return constructed + n;
}

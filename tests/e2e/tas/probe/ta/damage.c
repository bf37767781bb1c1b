/* Commands that end in a fault or a panic, or may. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <util.h>

#include "probe.h"

unsigned long probe_raw_syscall(const unsigned long args[8], unsigned long number);

static const char volatile constant[] = "constant";

static void write_to(const volatile void *p)
{
	*(volatile char *)(uintptr_t)p = 1;
}

static void jump_to(const void *p)
{
	/* volatile: a call that is sure to be through NULL would be removed */
	void (*volatile f)(void) = (void (*)(void))(uintptr_t)p;

	f();
}

static volatile char *address(const TEE_Param *p)
{
	return (volatile char *)(uintptr_t)(SHIFT_U64(p->value.b, 32) | p->value.a);
}

static void jump_heap(void)
{
	/* Two words of "ret", so that a heap that is executable comes back. */
	static const uint32_t ret[2] = { 0xd65f03c0, 0xd65f03c0 };
	void *p = malloc(sizeof(ret));

	jump_to(memcpy(p, ret, sizeof(ret)));
}

static void loop(void)
{
	while (true)
		__asm__ volatile("" : : : "memory");
}

/* Ends, if the stack never does; volatile hides that from the compiler. */
static volatile uint32_t bottom = UINT32_MAX;

static __noinline uint32_t recurse(uint32_t depth)
{
	volatile uint8_t frame[64];

	if (depth == bottom)
		return 0;
	frame[depth & 63] = (uint8_t)depth;
	return recurse(depth + 1) + frame[depth & 63];
}

static void double_free(void)
{
	void *p = malloc(32);

	free(p);
	free(p);
}

static TEE_Result peek(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VOUT);
	params[1].value.a = (uint8_t)*address(params);
	return TEE_SUCCESS;
}

static TEE_Result poke(uint32_t types, TEE_Param params[4])
{
	EXPECT(types, 0, VIN);
	EXPECT(types, 1, VIN);
	*address(params) = (char)params[1].value.a;
	return TEE_SUCCESS;
}

static TEE_Result raw_syscall(uint32_t types, TEE_Param params[4])
{
	uint64_t in[8];
	unsigned long args[8];
	uint64_t res = 0;
	size_t n = 0;

	EXPECT(types, 0, VIN);
	EXPECT(types, 1, MIN_);
	EXPECT(types, 2, VOUT);
	if (params[1].memref.size != sizeof(in))
		return TEE_ERROR_BAD_PARAMETERS;
	memcpy(in, params[1].memref.buffer, sizeof(in));
	for (n = 0; n < 8; n++) {
		if (is_memref(types, 3) && (in[n] >> 48) == (PROBE_ARG_P3 >> 48))
			in[n] += (uintptr_t)params[3].memref.buffer - PROBE_ARG_P3;
		args[n] = (unsigned long)in[n];
	}
	res = probe_raw_syscall(args, params[0].value.a);
	params[2].value.a = (uint32_t)res;
	params[2].value.b = (uint32_t)(res >> 32);
	return TEE_SUCCESS;
}

static bool misbehave(uint32_t cmd)
{
	switch (cmd) {
	case PROBE_CMD_WRITE_NULL:
		write_to(NULL);
		return true;
	case PROBE_CMD_WRITE_RODATA:
		write_to(constant);
		return true;
	case PROBE_CMD_WRITE_CODE:
		write_to((const void *)(uintptr_t)misbehave);
		return true;
	case PROBE_CMD_JUMP_NULL:
		jump_to(NULL);
		return true;
	case PROBE_CMD_JUMP_HEAP:
		jump_heap();
		return true;
	case PROBE_CMD_LOOP:
		loop();
		return true;
	case PROBE_CMD_RECURSE:
		recurse(0);
		return true;
	case PROBE_CMD_UNDEFINED:
		__asm__ volatile("udf #0");
		return true;
	case PROBE_CMD_BREAKPOINT:
#ifdef __aarch64__
		__asm__ volatile("brk #7");
#else
		__asm__ volatile("bkpt #7");
#endif
		return true;
	case PROBE_CMD_ASSERT:
		assert(cmd == 0);
		return true;
	case PROBE_CMD_DOUBLE_FREE:
		double_free();
		return true;
	default:
		return false;
	}
}

/* A damaging command that comes back found a door open: TEE_SUCCESS tells the test. */
TEE_Result probe_damage(uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	switch (cmd) {
	case PROBE_CMD_PANIC:
		EXPECT(types, 0, VIN);
		TEE_Panic(params[0].value.a);
		return TEE_SUCCESS;
	case PROBE_CMD_PEEK:
		return peek(types, params);
	case PROBE_CMD_POKE:
		return poke(types, params);
	case PROBE_CMD_RAW_SYSCALL:
		return raw_syscall(types, params);
	default:
		return misbehave(cmd) ? TEE_SUCCESS : TEE_ERROR_NOT_SUPPORTED;
	}
}

#include <compiler.h>
#include <tee_internal_api.h>
#include <traced_ta.h>
#include <user_ta_header.h>
#include <utee_syscalls.h>

#include "../../common/plain_entries.h"

static uint32_t __noinline leaf(uint32_t x, bool panic)
{
	if (panic)
		TEE_Panic(0x7AC3D);
	return x + 1;
}

static uint32_t __noinline middle(uint32_t x, bool panic)
{
	return leaf(x, panic) * 2;
}

static uint32_t __noinline outer(uint32_t x, bool panic)
{
	return middle(x, false) + middle(x + 1, panic);
}

static uint32_t __noinline __attribute__((optnone)) nested(uint32_t x) /* no loop made of it */
{
	return x ? nested(x - 1) + x : 0;
}

static double __noinline half(double x)
{
	return x * 0.5;
}

static TEE_Result run(uint32_t cmd, uint32_t a, uint32_t *b)
{
	uint32_t rounds = 0;

	switch (cmd) {
	case TRACED_CMD_CALLS:
		*b = outer(a, false);
		return TEE_SUCCESS;
	case TRACED_CMD_NESTED:
		for (rounds = *b; rounds; rounds--)
			*b = nested(a);
		return TEE_SUCCESS;
	case TRACED_CMD_FLOATING:
		*b = (uint32_t)((half(a) + half(half(a))) * 100);
		return TEE_SUCCESS;
	case TRACED_CMD_PANIC:
		*b = outer(a, true);
		return TEE_SUCCESS;
	case TRACED_CMD_LIE:
		__ftrace_buf_start.ret_idx = 0;
		__ftrace_buf_start.curr_idx = a;
		_utee_return(TEE_SUCCESS);
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	(void)session;
	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INOUT, 0, 0, 0))
		return TEE_ERROR_BAD_PARAMETERS;
	return run(cmd, params[0].value.a, &params[0].value.b);
}

#include <compiler.h>
#include <guard_ta.h>
#include <tee_internal_api.h>

#include "../../common/plain_entries.h"

void land_c(void);
void land_j(void);
void land_jc(void);
void land_none(void);
void jump_blr(void (*to)(void));
void jump_br(void (*to)(void));
void jump_br_x16(void (*to)(void));
void corrupt_return(void);

static TEE_Result jump(uint32_t how, uint32_t where)
{
	void (*const jumps[])(void (*)(void)) = { jump_blr, jump_br, jump_br_x16 };
	void (*const places[])(void) = { land_c, land_j, land_jc, land_none };

	if (how >= 3 || where >= 4)
		return TEE_ERROR_BAD_PARAMETERS;
	jumps[how](places[where]);
	return TEE_SUCCESS;
}

static TEE_Result try_signing(TEE_Param *p)
{
	uint64_t signatures = 0;
	uint64_t n = 0;
	bool implemented = false;

	for (n = 0; n < 10; n++) {
		uint64_t x = n;

		__asm__(".arch_extension pauth\n\tpaciza %0" : "+r"(x));
		signatures |= x ^ n;
	}
	p->value.a = signatures != 0;
	p->value.b = TEE_GetPropertyAsBool(TEE_PROPSET_TEE_IMPLEMENTATION,
					   "org.trustedfirmware.optee.cpu.feat_pauth_implemented", &implemented);
	return TEE_SUCCESS;
}

static __noinline uint32_t deep(uint32_t n)
{
	if (!n)
		TEE_Panic(0x9a4d);
	return deep(n - 1) + n;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	(void)session;
	(void)types;
	switch (cmd) {
	case GUARD_CMD_JUMP:
		return jump(params[0].value.a, params[0].value.b);
	case GUARD_CMD_SIGNS:
		return try_signing(params);
	case GUARD_CMD_CORRUPT:
		corrupt_return();
		return TEE_SUCCESS;
	case GUARD_CMD_PANIC:
		params[0].value.a = deep(4);
		return TEE_SUCCESS;
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

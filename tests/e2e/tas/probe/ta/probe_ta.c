/* Entry points, and the table of what answers which command. */
#include <string.h>

#include "probe.h"

struct state state;

TEE_Result give(TEE_Param *p, const void *data, size_t size)
{
	bool fits = size <= p->memref.size;

	if (fits)
		memcpy(p->memref.buffer, data, size);
	p->memref.size = size;
	return fits ? TEE_SUCCESS : TEE_ERROR_SHORT_BUFFER;
}

TEE_Result TA_CreateEntryPoint(void)
{
	state.creates++;
	DMSG("create");
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
	DMSG("destroy");
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[4], void **session)
{
	(void)types;
	(void)params;
	(void)session;
	state.opens++;
	DMSG("open");
	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session)
{
	(void)session;
	DMSG("close");
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	TEE_Result (*const parts[])(uint32_t, uint32_t, TEE_Param[4]) = {
		probe_params,
		probe_services,
		probe_calls,
		probe_damage,
	};
	TEE_Result res = TEE_ERROR_NOT_SUPPORTED;
	size_t n = 0;

	(void)session;
	for (n = 0; res == TEE_ERROR_NOT_SUPPORTED && n < 4; n++)
		res = parts[n](cmd, types, params);
	return res;
}

#include <large_ta.h>
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

#include "../../common/plain_entries.h"

#define WORDS (LARGE_SIZE / sizeof(uint32_t))

/* volatile: or the compiler keeps the two words and drops the rest */
static volatile uint32_t data[WORDS] = { [0] = 11, [WORDS - 1] = 22 };

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	const size_t size = LARGE_SIZE - (1 << 20);
	uint8_t *p = TEE_Malloc(size, TEE_USER_MEM_HINT_NO_FILL_ZERO);

	(void)session;
	if (cmd != LARGE_CMD_TOUCH ||
	    types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_VALUE_OUTPUT, 0, 0))
		return TEE_ERROR_BAD_PARAMETERS;
	params[0].value.a = data[0]++;
	params[0].value.b = data[WORDS - 1]++;
	data[WORDS / 2]++;
	params[1].value.a = p != NULL;
	if (p) {
		params[1].value.b = p[0];
		p[0] = 0xAA;
		p[size - 1] = 0xBB;
	}
	return TEE_SUCCESS;
}

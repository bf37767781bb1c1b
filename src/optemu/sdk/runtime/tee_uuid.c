/* tee_uuid_from_str(). */
#include <string.h>

#include "runtime.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

TEE_Result tee_uuid_from_str(TEE_UUID *uuid, const char *s)
{
	uint8_t o[16] = { 0 };
	size_t digits = 0;
	size_t i = 0;

	if (strnlen(s, 37) != 36)
		return TEE_ERROR_BAD_FORMAT;
	for (i = 0; i < 36; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		int v = hex(s[i]);

		if (dash ? s[i] != '-' : v < 0)
			return TEE_ERROR_BAD_FORMAT;
		if (dash)
			continue;
		o[digits / 2] = (uint8_t)(o[digits / 2] << 4 | v);
		digits++;
	}
	uuid->timeLow = (uint32_t)o[0] << 24 | o[1] << 16 | o[2] << 8 | o[3];
	uuid->timeMid = (uint16_t)(o[4] << 8 | o[5]);
	uuid->timeHiAndVersion = (uint16_t)(o[6] << 8 | o[7]);
	memcpy(uuid->clockSeqAndNode, o + 8, 8);
	return TEE_SUCCESS;
}

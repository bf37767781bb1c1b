/* What a plugin of the supplicant exports: struct plugin_method of libteec's tee_plugin_method.h. */
#ifndef PLUGIN_METHOD_H
#define PLUGIN_METHOD_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t TEEC_Result;
typedef struct { uint32_t timeLow; uint16_t timeMid; uint16_t timeHiAndVersion; uint8_t clockSeqAndNode[8]; } TEEC_UUID;

struct plugin_method {
	const char *name;
	TEEC_UUID uuid;
	TEEC_Result (*init)(void);
	TEEC_Result (*invoke)(unsigned int cmd, unsigned int sub_cmd, void *data, size_t in_len, size_t *out_len);
};

/* The plugin that xtest calls. */
#define TEST_PLUGIN_UUID { 0xf07bfc66, 0x958c, 0x4a15, { 0x99, 0xc0, 0x26, 0x0e, 0x4e, 0x73, 0x75, 0xdd } }

#endif

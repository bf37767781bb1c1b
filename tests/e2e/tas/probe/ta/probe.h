/* Shared by the source files of the probe. */
#ifndef PROBE_H
#define PROBE_H

#include <probe_ta.h>
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

#define NONE TEE_PARAM_TYPE_NONE
#define VIN TEE_PARAM_TYPE_VALUE_INPUT
#define VOUT TEE_PARAM_TYPE_VALUE_OUTPUT
#define VINOUT TEE_PARAM_TYPE_VALUE_INOUT
#define MIN_ TEE_PARAM_TYPE_MEMREF_INPUT
#define MOUT TEE_PARAM_TYPE_MEMREF_OUTPUT
#define MINOUT TEE_PARAM_TYPE_MEMREF_INOUT

/* Return from the command unless the parameter has this type. */
#define EXPECT(types, n, type)                                   \
	do {                                                     \
		if (TEE_PARAM_TYPE_GET((types), (n)) != (type))  \
			return TEE_ERROR_BAD_PARAMETERS;         \
	} while (0)

struct state {
	uint32_t creates;
	uint32_t opens;
};

extern struct state state;

static inline bool is_memref(uint32_t types, size_t n)
{
	uint32_t type = TEE_PARAM_TYPE_GET(types, n);

	return type >= TEE_PARAM_TYPE_MEMREF_INPUT && type <= TEE_PARAM_TYPE_MEMREF_INOUT;
}

/* Bytes into a memref_out, or the size wanted and TEE_ERROR_SHORT_BUFFER. */
TEE_Result give(TEE_Param *p, const void *data, size_t size);

/* Each TEE_ERROR_NOT_SUPPORTED for a command that is not its own. */
TEE_Result probe_params(uint32_t cmd, uint32_t types, TEE_Param params[4]);
TEE_Result probe_services(uint32_t cmd, uint32_t types, TEE_Param params[4]);
TEE_Result probe_calls(uint32_t cmd, uint32_t types, TEE_Param params[4]);
TEE_Result probe_damage(uint32_t cmd, uint32_t types, TEE_Param params[4]);

#endif

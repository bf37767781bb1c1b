/* Structures and numbers that cross the boundary between TA and core. */
#ifndef UTEE_TYPES_H
#define UTEE_TYPES_H

#include <inttypes.h>
#include <tee_api_defines.h>

enum utee_time_category {
	UTEE_TIME_CAT_SYSTEM,
	UTEE_TIME_CAT_TA_PERSISTENT,
	UTEE_TIME_CAT_REE,
};

enum utee_entry_func {
	UTEE_ENTRY_FUNC_OPEN_SESSION,
	UTEE_ENTRY_FUNC_CLOSE_SESSION,
	UTEE_ENTRY_FUNC_INVOKE_COMMAND,
	UTEE_ENTRY_FUNC_DUMP_MEMSTATS,
};

enum utee_cache_operation {
	TEE_CACHECLEAN,
	TEE_CACHEFLUSH,
	TEE_CACHEINVALIDATE,
};

/* Parameter n is vals[2n] (value.a or the buffer's address) and vals[2n + 1] (value.b or its size). */
struct utee_params {
	uint64_t types;
	uint64_t vals[TEE_NUM_PARAMS * 2];
};

struct utee_attribute {
	uint64_t a; /* or the buffer's address */
	uint64_t b; /* or its size */
	uint32_t attribute_id;
};

struct utee_object_info {
	uint32_t obj_type;
	uint32_t obj_size;
	uint32_t max_obj_size;
	uint32_t obj_usage;
	uint32_t data_size;
	uint32_t data_pos;
	uint32_t handle_flags;
};

#endif

/* What the loader reads of a TA: struct ta_head, its flags, and the property table. Layout is OP-TEE's. */
#ifndef USER_TA_HEADER_H
#define USER_TA_HEADER_H

#include <tee_api_types.h>
#include <util.h>

#define TA_FLAG_USER_MODE 0 /* historical */
#define TA_FLAG_EXEC_DDR 0 /* historical */
#define TA_FLAG_REMAP_SUPPORT 0 /* historical */
#define TA_FLAG_SINGLE_INSTANCE BIT32(2)
#define TA_FLAG_MULTI_SESSION BIT32(3)
#define TA_FLAG_INSTANCE_KEEP_ALIVE BIT32(4) /* the instance survives its last session */
#define TA_FLAG_SECURE_DATA_PATH BIT32(5)
#define TA_FLAG_CACHE_MAINTENANCE BIT32(7) /* may call TEE_Cache*() */
#define TA_FLAG_CONCURRENT BIT32(8) /* pseudo TAs only */
#define TA_FLAG_DEVICE_ENUM BIT32(9) /* listed to the REE before tee-supplicant is there */
#define TA_FLAG_DEVICE_ENUM_SUPP BIT32(10) /* listed once it is */
#define TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT BIT32(11)
#define TA_FLAG_DEVICE_ENUM_TEE_STORAGE_PRIVATE BIT32(12) /* listed once secure storage works */
#define TA_FLAG_INSTANCE_KEEP_CRASHED BIT32(13) /* a crashed keep-alive instance is not restarted */

struct ta_head {
	TEE_UUID uuid;
	uint32_t stack_size;
	uint32_t flags;
	uint64_t depr_entry; /* all ones: the entry is the ELF's */
};

enum user_ta_prop_type {
	USER_TA_PROP_TYPE_BOOL, /* bool */
	USER_TA_PROP_TYPE_U32, /* uint32_t */
	USER_TA_PROP_TYPE_UUID, /* TEE_UUID */
	USER_TA_PROP_TYPE_IDENTITY, /* TEE_Identity */
	USER_TA_PROP_TYPE_STRING, /* terminated string */
	USER_TA_PROP_TYPE_BINARY_BLOCK, /* terminated string in base64 */
	USER_TA_PROP_TYPE_U64, /* uint64_t */
	USER_TA_PROP_TYPE_INVALID,
};

struct user_ta_property {
	const char *name;
	enum user_ta_prop_type type;
	const void *value;
};

extern const struct ta_head ta_head;
extern const struct user_ta_property ta_props[];
extern const size_t ta_num_props;

/* Function tracing (ftrace = true in optemu-build.toml); the loader looks for __ftrace_info. */
#define FTRACE_RETFUNC_DEPTH 50

struct ftrace_buf {
	uint64_t ret_func_ptr;
	uint64_t ret_stack[FTRACE_RETFUNC_DEPTH]; /* where the functions being executed return to */
	uint32_t ret_idx;
	uint32_t lr_idx;
	uint64_t begin_time[FTRACE_RETFUNC_DEPTH];
	uint64_t suspend_time;
	uint32_t curr_idx; /* of the next event in the ring */
	uint32_t max_size; /* of the ring; 0 when nobody will read it */
	uint32_t head_off;
	uint32_t buf_off; /* where the ring begins */
	uint32_t dump_id;
	bool syscall_trace_enabled;
	bool syscall_trace_suspended;
	bool overflow; /* the ring is full of events, the oldest one at curr_idx */
};

extern struct ftrace_buf __ftrace_buf_start;
unsigned long ftrace_return(void);
void __ftrace_return(void);

/* The call being served; TEE_CheckMemoryAccessRights() looks at its memrefs. */
extern uint32_t ta_param_types;
extern TEE_Param ta_params[TEE_NUM_PARAMS];

#endif

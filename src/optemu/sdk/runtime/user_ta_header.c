/* The part of the runtime built anew for each TA, from its user_ta_header_defines.h. */
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>
#include <user_ta_header.h>
#include <user_ta_header_defines.h>
#include <utee_syscalls.h>

#include "runtime.h"

#ifndef TA_VERSION
#define TA_VERSION "Undefined version"
#endif
#ifndef TA_DESCRIPTION
#define TA_DESCRIPTION "Undefined description"
#endif
#ifndef TA_NO_SHARE_DATA_SIZE
#define TA_NO_SHARE_DATA_SIZE 0
#endif
#if TA_DATA_SIZE < 1024
#error TA_DATA_SIZE is too small: the heap needs 1024 bytes at least
#endif

/* TA_STACK_SIZE is what the TA itself needs; this is for the runtime below it. */
#define TA_FRAMEWORK_STACK_SIZE 2048

const struct ta_head ta_head __section(".ta_head") = {
	.uuid = TA_UUID,
	.stack_size = TA_STACK_SIZE + TA_FRAMEWORK_STACK_SIZE,
	.flags = TA_FLAGS,
	.depr_entry = UINT64_MAX,
};

int trace_level = TRACE_LEVEL;
const char trace_ext_prefix[] = "TA";

uint8_t ta_heap[TA_DATA_SIZE];
const size_t ta_heap_size = sizeof(ta_heap);
uint8_t __ta_no_share_heap[TA_NO_SHARE_DATA_SIZE];
const size_t __ta_no_share_heap_size = sizeof(__ta_no_share_heap);

#define PROP_FLAG(name, flag) { name, USER_TA_PROP_TYPE_BOOL, &(const bool){ (TA_FLAGS & (flag)) != 0 } }
#define PROP_U32(name, value) { name, USER_TA_PROP_TYPE_U32, &(const uint32_t){ value } }
#define PROP_STRING(name, value) { name, USER_TA_PROP_TYPE_STRING, value }

/* Kept even if the TA never asks: tools look for them in the image. */
#define __kept __attribute__((used, retain))

__kept const struct user_ta_property ta_props[] = {
	PROP_FLAG("gpd.ta.singleInstance", TA_FLAG_SINGLE_INSTANCE),
	PROP_FLAG("gpd.ta.multiSession", TA_FLAG_MULTI_SESSION),
	PROP_FLAG("gpd.ta.instanceKeepAlive", TA_FLAG_INSTANCE_KEEP_ALIVE),
	PROP_FLAG("optee.ta.instanceKeepCrashed", TA_FLAG_INSTANCE_KEEP_CRASHED),
	PROP_U32("gpd.ta.dataSize", TA_DATA_SIZE),
	PROP_U32("gpd.ta.stackSize", TA_STACK_SIZE),
	PROP_STRING("gpd.ta.version", TA_VERSION),
	PROP_STRING("gpd.ta.description", TA_DESCRIPTION),
	PROP_U32("gpd.ta.endian", 0),
	PROP_FLAG("gpd.ta.doesNotCloseHandleOnCorruptObject", TA_FLAG_DONT_CLOSE_HANDLE_ON_CORRUPT_OBJECT),
#ifdef TA_CURRENT_TA_EXT_PROPERTIES
	TA_CURRENT_TA_EXT_PROPERTIES
#endif
};

__kept const size_t ta_num_props = ARRAY_SIZE(ta_props);

#ifdef CFG_FTRACE_SUPPORT
#ifndef CFG_FTRACE_BUF_SIZE
#define CFG_FTRACE_BUF_SIZE 65536
#endif

static union {
	struct ftrace_buf head;
	uint8_t room[CFG_FTRACE_BUF_SIZE];
} ftrace_room;

extern struct ftrace_buf __ftrace_buf_start __attribute__((alias("ftrace_room")));

/* Addresses of the size of a word, of which the loader wants 64 bits. */
__kept struct {
	const void *address __aligned(8);
} __ftrace_info[] = { { &ftrace_room }, { &ftrace_room + 1 }, { __ftrace_return } };
#endif

/* Arm32 comes here through a piece of assembly that marks the bottom of the call stack. */
#ifdef __arm__
#define TA_ENTRY __ta_entry_c
#else
#define TA_ENTRY __ta_entry
#endif

void __noreturn TA_ENTRY(unsigned long func, unsigned long session_id, struct utee_params *up, unsigned long cmd_id);

void __noreturn TA_ENTRY(unsigned long func, unsigned long session_id, struct utee_params *up, unsigned long cmd_id)
{
	TEE_Result res = __utee_entry(func, session_id, up, cmd_id);

#ifdef CFG_FTRACE_SUPPORT
	ftrace_return(); /* _utee_return() does not: nobody else would tell that this function ends */
#endif
	_utee_return(res);
}

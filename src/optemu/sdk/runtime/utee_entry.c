/* What the core calls: sessions, the instance's life, parameters in and out. */
#include <stdlib.h>
#include <string.h>
#include <utee_syscalls.h>

#include "runtime.h"

struct ta_session {
	struct ta_session *next;
	unsigned long id;
	void *ctx;
};

static struct ta_session *ta_sessions;

static void runtime_init(void)
{
	heap_init(&ta_malloc_heap, ta_heap, ta_heap_size);
	heap_init(&ta_no_share_malloc_heap, __ta_no_share_heap, __ta_no_share_heap_size);
	__utee_tcb_init();
	__utee_call_elf_init_fn();
}

/* Before the first session; TA_CreateEntryPoint() is tried again by the next one if it fails. */
static TEE_Result init_instance(void)
{
	static bool runtime_ready;
	static bool created;
	TEE_Result res = TEE_SUCCESS;

	if (!runtime_ready)
		runtime_init();
	runtime_ready = true;
	if (!created)
		res = TA_CreateEntryPoint();
	created = res == TEE_SUCCESS;
	return res;
}

/* After the last session, if the core will not keep the instance. */
static void uninit_instance(void)
{
	TA_DestroyEntryPoint();
	__utee_call_elf_fini_fn();
}

static bool is_kept_alive(void)
{
	const uint32_t both = TA_FLAG_SINGLE_INSTANCE | TA_FLAG_INSTANCE_KEEP_ALIVE;

	return (ta_head.flags & both) == both;
}

static struct ta_session *find_session(unsigned long id)
{
	struct ta_session *s = ta_sessions;

	while (s && s->id != id)
		s = s->next;
	return s;
}

static TEE_Result add_session(unsigned long id, struct ta_session **out)
{
	struct ta_session *s = find_session(id);
	TEE_Result res = TEE_SUCCESS;

	if (!s) {
		res = init_instance();
		if (res)
			return res;
		s = calloc(1, sizeof(*s));
		if (!s)
			return TEE_ERROR_OUT_OF_MEMORY;
		s->id = id;
		s->next = ta_sessions;
		ta_sessions = s;
	}
	*out = s;
	return TEE_SUCCESS;
}

static void remove_session(struct ta_session *s)
{
	struct ta_session **link = &ta_sessions;

	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	free(s);
	if (!ta_sessions && !is_kept_alive())
		uninit_instance();
}

static uint32_t from_utee_params(TEE_Param params[TEE_NUM_PARAMS], const struct utee_params *up)
{
	uint32_t types = (uint32_t)up->types;
	size_t n = 0;

	memset(params, 0, sizeof(TEE_Param) * TEE_NUM_PARAMS);
	for (n = 0; n < TEE_NUM_PARAMS; n++) {
		uint32_t type = TEE_PARAM_TYPE_GET(types, n);

		if (__utee_is_value(type)) {
			params[n].value.a = (uint32_t)up->vals[n * 2];
			params[n].value.b = (uint32_t)up->vals[n * 2 + 1];
		} else if (__utee_is_memref(type)) {
			params[n].memref.buffer = (void *)(uintptr_t)up->vals[n * 2];
			params[n].memref.size = (size_t)up->vals[n * 2 + 1];
		}
	}
	ta_param_types = types;
	memcpy(ta_params, params, sizeof(ta_params));
	return types;
}

static TEE_Result entry_open_session(unsigned long session_id, struct utee_params *up)
{
	TEE_Param params[TEE_NUM_PARAMS];
	struct ta_session *s = NULL;
	uint32_t types = 0;
	TEE_Result res = add_session(session_id, &s);

	if (res)
		return res;
	types = from_utee_params(params, up);
	res = TA_OpenSessionEntryPoint(types, params, &s->ctx);
	__utee_to_params(up, types, params);
	if (res)
		remove_session(s);
	return res;
}

static TEE_Result entry_close_session(unsigned long session_id)
{
	struct ta_session *s = find_session(session_id);

	if (!s)
		return TEE_ERROR_BAD_STATE;
	TA_CloseSessionEntryPoint(s->ctx);
	remove_session(s);
	return TEE_SUCCESS;
}

static TEE_Result entry_invoke_command(unsigned long session_id, struct utee_params *up, unsigned long cmd_id)
{
	TEE_Param params[TEE_NUM_PARAMS];
	struct ta_session *s = find_session(session_id);
	uint32_t types = 0;
	TEE_Result res = TEE_SUCCESS;

	if (!s)
		return TEE_ERROR_BAD_STATE;
	types = from_utee_params(params, up);
	res = TA_InvokeCommandEntryPoint(s->ctx, (uint32_t)cmd_id, types, params);
	__utee_to_params(up, types, params);
	return res;
}

/* The stats pseudo TA asks: bytes in use, most ever, pool, failures, biggest one, bytes in use then. */
static TEE_Result entry_dump_memstats(struct utee_params *up)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_VALUE_OUTPUT,
					       TEE_PARAM_TYPE_VALUE_OUTPUT, TEE_PARAM_TYPE_NONE);
	const struct heap *h = &ta_malloc_heap;

	if (up->types != types)
		return TEE_ERROR_BAD_PARAMETERS;
	up->vals[0] = h->used;
	up->vals[1] = h->max_used;
	up->vals[2] = heap_size(h);
	up->vals[3] = h->num_failed;
	up->vals[4] = h->biggest_failed;
	up->vals[5] = h->biggest_failed_used;
	return TEE_SUCCESS;
}

static TEE_Result dispatch(unsigned long func, unsigned long session_id, struct utee_params *up, unsigned long cmd_id)
{
	switch (func) {
	case UTEE_ENTRY_FUNC_OPEN_SESSION:
		return entry_open_session(session_id, up);
	case UTEE_ENTRY_FUNC_CLOSE_SESSION:
		return entry_close_session(session_id);
	case UTEE_ENTRY_FUNC_INVOKE_COMMAND:
		return entry_invoke_command(session_id, up, cmd_id);
	case UTEE_ENTRY_FUNC_DUMP_MEMSTATS:
		return entry_dump_memstats(up);
	default:
		return TEE_ERROR_NOT_SUPPORTED;
	}
}

TEE_Result __utee_entry(unsigned long func, unsigned long session_id, struct utee_params *up, unsigned long cmd_id)
{
	TEE_Result res = TEE_SUCCESS;

	__utee_stack_top = up;
	res = dispatch(func, session_id, up, cmd_id);
	ta_param_types = 0;
	return res;
}

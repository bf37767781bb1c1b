/* Internal Core API: panic, cancellation, memory, random numbers, time; OP-TEE's cache operations. */
#include <stdlib.h>
#include <string.h>
#include <string_ext.h>
#include <utee_syscalls.h>

#include "runtime.h"

/* Allocations of no bytes: not NULL, yet nothing to touch. */
#define NULL_SIZED ((void *)1)
#define NULL_SIZED_NO_SHARE ((void *)2)

uint32_t ta_param_types;
TEE_Param ta_params[TEE_NUM_PARAMS];

static const void *instance_data;

/* --- panic --- */

void TEE_Panic(TEE_Result panicCode)
{
	_utee_panic(panicCode);
}

TEE_Result __utee_documented(TEE_Result res, const TEE_Result *codes)
{
	while (*codes != TEE_SUCCESS && *codes != res)
		codes++;
	panic_unless(*codes == res, res);
	return res;
}

/* --- annotation checks --- */

const void *__utee_stack_top;

/* Between this frame and where the stack began: surely the TA's own to read and write, which saves asking the core. */
static bool is_on_stack(const void *buf, size_t len)
{
	const uintptr_t low = (uintptr_t)__builtin_frame_address(0);
	const uintptr_t high = (uintptr_t)__utee_stack_top;
	const uintptr_t start = (uintptr_t)buf;

	return low <= start && start < high && len <= high - start;
}

void __utee_check(uint32_t flags, const void *buf, size_t len)
{
	if (len && !is_on_stack(buf, len))
		panic_unless(buf && !TEE_CheckMemoryAccessRights(flags, (void *)buf, len), 0);
}

void __utee_check_outbuf(void *buf, size_t *len)
{
	__utee_check(TEE_MEMORY_ACCESS_READ | TEE_MEMORY_ACCESS_WRITE, len, sizeof(*len));
	__utee_check(TEE_MEMORY_ACCESS_WRITE | TEE_MEMORY_ACCESS_ANY_OWNER, buf, *len);
}

void __utee_check_instring(const char *s)
{
	__utee_check(TEE_MEMORY_ACCESS_READ, s, strlen(s) + 1);
}

/* --- cancellation --- */

bool TEE_GetCancellationFlag(void)
{
	uint32_t flag = 0;

	return _utee_get_cancellation_flag(&flag) == TEE_SUCCESS && flag;
}

bool TEE_UnmaskCancellation(void)
{
	uint32_t old = 0;
	TEE_Result res = _utee_unmask_cancellation(&old);

	panic_unless(res == TEE_SUCCESS, res);
	return old;
}

bool TEE_MaskCancellation(void)
{
	uint32_t old = 0;
	TEE_Result res = _utee_mask_cancellation(&old);

	panic_unless(res == TEE_SUCCESS, res);
	return old;
}

/* --- memory --- */

static bool intersect(const void *a, size_t a_len, const void *b, size_t b_len)
{
	uintptr_t x = (uintptr_t)a;
	uintptr_t y = (uintptr_t)b;

	return a_len && b_len && x <= y + (b_len - 1) && y <= x + (a_len - 1);
}

/* What a parameter of this type may be used for. */
static uint32_t param_rights(uint32_t type)
{
	if (type == TEE_PARAM_TYPE_MEMREF_INPUT)
		return TEE_MEMORY_ACCESS_READ | TEE_MEMORY_ACCESS_ANY_OWNER;
	if (type == TEE_PARAM_TYPE_MEMREF_OUTPUT || type == TEE_PARAM_TYPE_MEMREF_INOUT)
		return TEE_MEMORY_ACCESS_READ | TEE_MEMORY_ACCESS_WRITE | TEE_MEMORY_ACCESS_ANY_OWNER;
	return 0;
}

TEE_Result __utee_check_against_params(uint32_t flags, const void *buf, size_t len)
{
	size_t n = 0;

	for (n = 0; n < TEE_NUM_PARAMS; n++) {
		uint32_t rights = param_rights(TEE_PARAM_TYPE_GET(ta_param_types, n));

		if (rights && (flags & ~rights) &&
		    intersect(buf, len, ta_params[n].memref.buffer, ta_params[n].memref.size))
			return TEE_ERROR_ACCESS_DENIED;
	}
	return TEE_SUCCESS;
}

TEE_Result TEE_CheckMemoryAccessRights(uint32_t accessFlags, void *buffer, size_t size)
{
	const uint32_t gp_flags = TEE_MEMORY_ACCESS_READ | TEE_MEMORY_ACCESS_WRITE | TEE_MEMORY_ACCESS_ANY_OWNER;

	if (!size)
		return TEE_SUCCESS;
	/* The core knows the mapping, and that the range does not wrap; the rest is only known here. */
	if (_utee_check_access_rights(accessFlags, buffer, size))
		return TEE_ERROR_ACCESS_DENIED;
	if (__utee_check_against_params(accessFlags & gp_flags, buffer, size))
		return TEE_ERROR_ACCESS_DENIED;
	if (heap_overlaps(&ta_malloc_heap, buffer, size) &&
	    !heap_within_allocated(&ta_malloc_heap, buffer, size))
		return TEE_ERROR_ACCESS_DENIED;
	return TEE_SUCCESS;
}

void TEE_SetInstanceData(const void *instanceData)
{
	instance_data = instanceData;
}

const void *TEE_GetInstanceData(void)
{
	return instance_data;
}

void *TEE_Malloc(size_t size, uint32_t hint)
{
	switch (hint) {
	case TEE_MALLOC_FILL_ZERO:
		return size ? heap_calloc(&ta_malloc_heap, size) : NULL_SIZED;
	case TEE_USER_MEM_HINT_NO_FILL_ZERO:
		return size ? heap_alloc(&ta_malloc_heap, size) : NULL_SIZED;
	case TEE_MALLOC_NO_SHARE:
		return size ? heap_calloc(&ta_no_share_malloc_heap, size) : NULL_SIZED_NO_SHARE;
	case TEE_MALLOC_NO_SHARE | TEE_MALLOC_NO_FILL:
		return size ? heap_alloc(&ta_no_share_malloc_heap, size) : NULL_SIZED_NO_SHARE;
	case TEE_MALLOC_NO_FILL:
		/* The specification allows it only together with NO_SHARE. */
		TEE_Panic(0);
		return NULL;
	default:
		EMSG("unknown hint 0x%" PRIx32, hint);
		return NULL;
	}
}

static bool is_null_sized(const void *p)
{
	return p == NULL_SIZED || p == NULL_SIZED_NO_SHARE;
}

static bool is_no_share(const void *p)
{
	return p == NULL_SIZED_NO_SHARE || heap_overlaps(&ta_no_share_malloc_heap, p, 1);
}

void *TEE_Realloc(void *buffer, size_t newSize)
{
	bool no_share = is_no_share(buffer);
	void *old = is_null_sized(buffer) ? NULL : buffer;
	struct heap *h = no_share ? &ta_no_share_malloc_heap : &ta_malloc_heap;

	if (newSize)
		return heap_realloc(h, old, newSize);
	heap_free(h, old);
	return no_share ? NULL_SIZED_NO_SHARE : NULL_SIZED;
}

void TEE_Free(void *buffer)
{
	if (!is_null_sized(buffer))
		heap_free(is_no_share(buffer) ? &ta_no_share_malloc_heap : &ta_malloc_heap, buffer);
}

void TEE_MemMove(void *dest, const void *src, size_t size)
{
	memmove(dest, src, size);
}

int32_t TEE_MemCompare(const void *buffer1, const void *buffer2, size_t size)
{
	return consttime_memcmp(buffer1, buffer2, size);
}

void TEE_MemFill(void *buffer, uint32_t x, size_t size)
{
	memset(buffer, (int)x, size);
}

/* --- random numbers --- */

void TEE_GenerateRandom(void *randomBuffer, size_t randomBufferLen)
{
	TEE_Result res = _utee_cryp_random_number_generate(randomBuffer, randomBufferLen);

	panic_unless(res == TEE_SUCCESS, res);
}

/* --- time --- */

void TEE_GetSystemTime(TEE_Time *time)
{
	TEE_Result res = _utee_get_time(UTEE_TIME_CAT_SYSTEM, time);

	panic_unless(res == TEE_SUCCESS, res);
}

void TEE_GetREETime(TEE_Time *time)
{
	TEE_Result res = _utee_get_time(UTEE_TIME_CAT_REE, time);

	panic_unless(res == TEE_SUCCESS, res);
}

TEE_Result TEE_Wait(uint32_t timeout)
{
	TEE_Result res = _utee_wait(timeout);

	panic_unless(res == TEE_SUCCESS || res == TEE_ERROR_CANCEL, res);
	return res;
}

TEE_Result TEE_GetTAPersistentTime(TEE_Time *time)
{
	TEE_Result res = _utee_get_time(UTEE_TIME_CAT_TA_PERSISTENT, time);

	if (res == TEE_SUCCESS || res == TEE_ERROR_OVERFLOW)
		return res;
	time->seconds = 0;
	time->millis = 0;
	panic_unless(res == TEE_ERROR_TIME_NOT_SET || res == TEE_ERROR_TIME_NEEDS_RESET ||
			     res == TEE_ERROR_OUT_OF_MEMORY,
		     res);
	return res;
}

TEE_Result TEE_SetTAPersistentTime(const TEE_Time *time)
{
	TEE_Result res = _utee_set_ta_time(time);

	panic_unless(res == TEE_SUCCESS || res == TEE_ERROR_OUT_OF_MEMORY || res == TEE_ERROR_STORAGE_NO_SPACE,
		     res);
	return res;
}

/* --- cache --- */

TEE_Result TEE_CacheClean(char *buf, size_t len)
{
	return _utee_cache_operation(buf, len, TEE_CACHECLEAN);
}

TEE_Result TEE_CacheFlush(char *buf, size_t len)
{
	return _utee_cache_operation(buf, len, TEE_CACHEFLUSH);
}

TEE_Result TEE_CacheInvalidate(char *buf, size_t len)
{
	return _utee_cache_operation(buf, len, TEE_CACHEINVALIDATE);
}

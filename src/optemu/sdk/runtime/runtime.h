/* What the parts of the runtime share with each other and not with the TA. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>
#include <user_ta_header.h>
#include <utee_types.h>

static inline bool __utee_is_memref(uint32_t type)
{
	return type >= TEE_PARAM_TYPE_MEMREF_INPUT && type <= TEE_PARAM_TYPE_MEMREF_INOUT;
}

static inline bool __utee_is_value(uint32_t type)
{
	return type >= TEE_PARAM_TYPE_VALUE_INPUT && type <= TEE_PARAM_TYPE_VALUE_INOUT;
}

/* --- heap.c --- */
struct heap_block;

struct heap {
	struct heap_block *free; /* doubly linked through the free blocks */
	struct heap_block *first;
	struct heap_block *end; /* sentinel header, always used */
	size_t used;
	size_t max_used;
	size_t num_failed;
	size_t biggest_failed;
	size_t biggest_failed_used;
};

extern struct heap ta_malloc_heap;
extern struct heap ta_no_share_malloc_heap;

/* buf must be zeroed and outlive the heap; fewer than some 64 bytes give an empty one. */
void heap_init(struct heap *h, void *buf, size_t len);
void *heap_alloc(struct heap *h, size_t size);
void *heap_calloc(struct heap *h, size_t size);
void *heap_realloc(struct heap *h, void *ptr, size_t size);
void heap_free(struct heap *h, void *ptr);
size_t heap_size(const struct heap *h);
bool heap_overlaps(const struct heap *h, const void *buf, size_t len);
/* Is the range inside one allocated block? */
bool heap_within_allocated(const struct heap *h, const void *buf, size_t len);

/* --- user_ta_header.c, built with the TA --- */
extern uint8_t ta_heap[];
extern const size_t ta_heap_size;
extern uint8_t __ta_no_share_heap[];
extern const size_t __ta_no_share_heap_size;

/* --- utee_entry.c --- */
TEE_Result __utee_entry(unsigned long func, unsigned long session_id, struct utee_params *up,
			unsigned long cmd_id);

/* --- tee_api_session.c --- */
void __utee_to_params(struct utee_params *up, uint32_t types, const TEE_Param params[TEE_NUM_PARAMS]);
TEE_Result __utee_invoke_system_pta(uint32_t cmd, uint32_t types, TEE_Param params[TEE_NUM_PARAMS]);

/* --- modules.c --- */
/* Both take what is new since they were last called. */
void __utee_tcb_init(void);
void __utee_call_elf_init_fn(void);
void __utee_call_elf_fini_fn(void);

/* --- tee_api.c: annotation checks; a TA that breaks one of them panics --- */
void __utee_check(uint32_t flags, const void *buf, size_t len);
#define __utee_check_out(ptr) __utee_check(TEE_MEMORY_ACCESS_WRITE, (ptr), sizeof(*(ptr)))
void __utee_check_outbuf(void *buf, size_t *len);
void __utee_check_instring(const char *s);
/* TEE_ERROR_ACCESS_DENIED when the range touches a parameter of the call being served that forbids flags. */
TEE_Result __utee_check_against_params(uint32_t flags, const void *buf, size_t len);

#endif

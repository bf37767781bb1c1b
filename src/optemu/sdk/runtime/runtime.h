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

/* --- tee_api.c --- */
static inline void panic_unless(bool ok, TEE_Result code)
{
	if (!ok)
		TEE_Panic(code);
}

/* res, if it is TEE_SUCCESS or one of the codes an API function may return; a panic with it if it is not. */
#define documented(res, ...)                                                          \
	__extension__({                                                               \
		static const TEE_Result _codes[] = { __VA_ARGS__, TEE_SUCCESS };      \
		TEE_Result _res = (res);                                              \
		_res ? __utee_documented(_res, _codes) : TEE_SUCCESS;                 \
	})
TEE_Result __utee_documented(TEE_Result res, const TEE_Result *codes);

/* Where the parameters of the call being served lie: nothing above is the stack's. */
extern const void *__utee_stack_top;
/* Annotation checks; a TA that breaks one of them panics. */
void __utee_check(uint32_t flags, const void *buf, size_t len);
#define __utee_check_out(ptr) __utee_check(TEE_MEMORY_ACCESS_WRITE, (ptr), sizeof(*(ptr)))
#define __utee_check_inout(ptr) \
	__utee_check(TEE_MEMORY_ACCESS_READ | TEE_MEMORY_ACCESS_WRITE, (ptr), sizeof(*(ptr)))
void __utee_check_outbuf(void *buf, size_t *len);
void __utee_check_instring(const char *s);
/* TEE_ERROR_ACCESS_DENIED when the range touches a parameter of the call being served that forbids flags. */
TEE_Result __utee_check_against_params(uint32_t flags, const void *buf, size_t len);

/* --- tee_api_attributes.c --- */
/* Checks the array as well; panics when the TA may not read it. */
void __utee_check_attrs(const TEE_Attribute *attrs, uint32_t count);
/* The core's form of the attributes, in an array with room for one at least. */
#define ATTRS_ROOM(count) ((count) ? (count) : 1)
void __utee_from_attr(struct utee_attribute *ua, const TEE_Attribute *attrs, uint32_t count);

/* --- tee_api_algorithms.c --- */
enum algorithm_kind {
	KIND_NONE, /* announced, but there are no operations of it */
	KIND_CIPHER,
	KIND_AE,
	KIND_MAC,
	KIND_DIGEST,
	KIND_ASYMMETRIC_CIPHER,
	KIND_RAW_RSA,
	KIND_SIGNATURE,
	KIND_DERIVATION,
};

/* What this library has to know of an algorithm. The core has the rest, and the last word. */
struct algorithm {
	uint32_t id;
	uint32_t key_type; /* of the public key, if there are two */
	uint8_t kind;
	uint8_t digest_len;
	uint8_t block_size; /* the core gets whole blocks only; 0: it takes anything */
	uint8_t flags; /* ALG_* */
	uint16_t element; /* curve, or ALG_ANY_NIST_CURVE */
	/* bits, from min_key to max_key in steps of a power of two; max_key 0: the key's type decides alone */
	uint16_t min_key;
	uint16_t max_key;
	uint16_t key_step;
};

#define UTEE_MAX_BLOCK 16

#define ALG_TWO_KEYS BIT32(0)
#define ALG_TWO_BLOCKS BIT32(1) /* the core wants the last two blocks, or what there is of them, at once */
#define ALG_WHOLE_BLOCKS BIT32(2) /* data must end at a block's end */
#define ALG_NO_IV BIT32(3)
#define ALG_SILENT BIT32(4) /* TEE_IsAlgorithmSupported() denies it, as OP-TEE's does */

#define ALG_ANY_NIST_CURVE 0xFFFF

/* What an operation of one kind is in one mode. */
struct algorithm_mode {
	uint8_t kind;
	uint8_t operation_class;
	uint8_t mode;
	uint8_t usage; /* what the key must be allowed to be used for */
	bool private_key;
};

/* NULL when there is none. */
const struct algorithm *__utee_find_algorithm(uint32_t id);
const struct algorithm_mode *__utee_find_mode(const struct algorithm *alg, uint32_t mode);
bool __utee_takes_key_size(const struct algorithm *alg, uint32_t bits);

/* --- tee_api_operations.c --- */
struct __TEE_OperationHandle {
	const struct algorithm *alg;
	TEE_OperationInfo info;
	uint32_t operationState;
	uint32_t state; /* the core's handle */
	TEE_ObjectHandle key1;
	TEE_ObjectHandle key2;
	/* Ciphers: input that makes no whole block yet. Digests: the value, once it is being extracted. */
	size_t buffered;
	uint8_t buffer[];
};

/* A panic unless the handle is one and the operation of this class. */
void __utee_check_class(TEE_OperationHandle op, uint32_t operation_class, TEE_Result code);
/* ... and is between its Init and its DoFinal function. */
void __utee_check_active(TEE_OperationHandle op, uint32_t operation_class, TEE_Result code);
void __utee_hash_start(TEE_OperationHandle op, const void *iv, size_t iv_len);
/* After the last function of a message: ready for the Init function of the next. */
void __utee_operation_done(TEE_OperationHandle op);

/* --- tee_api_cipher.c --- */
typedef TEE_Result utee_update_func(unsigned long state, const void *src, size_t src_len, void *dst,
				    uint64_t *dst_len);
/* How much of what is buffered and of len bytes more can go to the core now: the size of the output, too. */
size_t __utee_ready(TEE_OperationHandle op, size_t len);
/* Sends it, keeps the rest; the bytes written. Panics when the core refuses. */
size_t __utee_buffered_update(TEE_OperationHandle op, utee_update_func *update, const void *src, size_t src_len,
			      void *dst, size_t room);

/* --- tee_api_objects.c --- */
/* Panics with what the core says to a handle that is none. */
struct utee_object_info __utee_obj_info(TEE_ObjectHandle object);
void __utee_to_object_info(TEE_ObjectInfo *to, const struct utee_object_info *from);

#endif

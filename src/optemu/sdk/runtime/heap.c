/*
 * Heap: first fit over a list of free blocks with boundary tags, so that neighbours merge in constant time. Blocks
 * that free() does not recognise, a second free() and an overrun into the next header end in a panic.
 */
#include <stdlib.h>
#include <string.h>
#include <utee_syscalls.h>

#include "runtime.h"

#define ALIGNMENT (2 * sizeof(size_t))
#define USED ((size_t)1)

struct heap_block {
	size_t size; /* of the whole block, a multiple of ALIGNMENT; bit 0: used */
	size_t prev_size; /* of the block before, 0 for the first */
	/* free blocks only */
	struct heap_block *next;
	struct heap_block *prev;
};

#define HEADER (2 * sizeof(size_t))
#define MIN_BLOCK sizeof(struct heap_block)

struct heap ta_malloc_heap;
struct heap ta_no_share_malloc_heap;

static size_t block_size(const struct heap_block *b)
{
	return b->size & ~USED;
}

static struct heap_block *block_at(const void *p, size_t offs)
{
	return (struct heap_block *)((uintptr_t)p + offs);
}

static struct heap_block *block_after(const struct heap_block *b)
{
	return block_at(b, block_size(b));
}

static struct heap_block *block_before(const struct heap_block *b)
{
	return (struct heap_block *)((uintptr_t)b - b->prev_size);
}

static void *payload(struct heap_block *b)
{
	return block_at(b, HEADER);
}

static void set_size(struct heap_block *b, size_t size, size_t used)
{
	b->size = size | used;
	block_after(b)->prev_size = size;
}

static void list_add(struct heap *h, struct heap_block *b)
{
	b->prev = NULL;
	b->next = h->free;
	if (h->free)
		h->free->prev = b;
	h->free = b;
}

static void list_remove(struct heap *h, struct heap_block *b)
{
	if (b->next)
		b->next->prev = b->prev;
	if (b->prev)
		b->prev->next = b->next;
	else
		h->free = b->next;
}

void heap_init(struct heap *h, void *buf, size_t len)
{
	uintptr_t start = ROUNDUP((uintptr_t)buf, ALIGNMENT);
	uintptr_t end = ROUNDDOWN((uintptr_t)buf + len, ALIGNMENT);

	memset(h, 0, sizeof(*h));
	if (end < start || end - start < MIN_BLOCK + HEADER)
		return;
	h->first = (struct heap_block *)start;
	h->end = (struct heap_block *)(end - HEADER);
	h->end->size = USED;
	h->first->prev_size = 0;
	set_size(h->first, (uintptr_t)h->end - start, 0);
	list_add(h, h->first);
}

size_t heap_size(const struct heap *h)
{
	return (uintptr_t)h->end - (uintptr_t)h->first;
}

/* The bytes a block for size bytes takes; 0 when there is no such number. */
static size_t wanted(size_t size)
{
	size_t need;

	if (ADD_OVERFLOW(size, HEADER + ALIGNMENT - 1, &need))
		return 0;
	return MAX(ROUNDDOWN(need, ALIGNMENT), MIN_BLOCK);
}

static void note_failure(struct heap *h, size_t size)
{
	h->num_failed++;
	if (size > h->biggest_failed) {
		h->biggest_failed = size;
		h->biggest_failed_used = h->used;
	}
}

/* Shorten the used block b to need bytes if the rest makes a block of its own. */
static void split(struct heap *h, struct heap_block *b, size_t need)
{
	size_t rest = block_size(b) - need;
	struct heap_block *tail = block_at(b, need);
	struct heap_block *next = block_after(b);

	if (rest < MIN_BLOCK)
		return;
	set_size(b, need, USED);
	if (!(next->size & USED)) {
		list_remove(h, next);
		rest += block_size(next);
	}
	set_size(tail, rest, 0);
	list_add(h, tail);
}

void *heap_alloc(struct heap *h, size_t size)
{
	size_t need = wanted(size);
	struct heap_block *b = h->free;

	while (b && (!need || block_size(b) < need))
		b = b->next;
	if (!b) {
		note_failure(h, size);
		return NULL;
	}
	list_remove(h, b);
	b->size |= USED;
	split(h, b, need);
	h->used += block_size(b);
	h->max_used = MAX(h->max_used, h->used);
	return payload(b);
}

void *heap_calloc(struct heap *h, size_t size)
{
	void *p = heap_alloc(h, size);

	return p ? memset(p, 0, size) : NULL;
}

static void corrupt(const void *ptr)
{
	EMSG_RAW("heap: %p is no allocated block, or was overrun", ptr);
	_utee_panic(TEE_ERROR_BAD_STATE);
}

/* The block of an allocated pointer; panics when it cannot be one. */
static struct heap_block *checked_block(const struct heap *h, void *ptr)
{
	uintptr_t p = (uintptr_t)ptr;
	struct heap_block *b = (struct heap_block *)(p - HEADER);

	if (p < (uintptr_t)h->first + HEADER || p >= (uintptr_t)h->end || !IS_ALIGNED(p, ALIGNMENT))
		corrupt(ptr);
	if (!(b->size & USED) || block_size(b) > (uintptr_t)h->end - (uintptr_t)b)
		corrupt(ptr);
	if (block_after(b)->prev_size != block_size(b))
		corrupt(ptr);
	if (b != h->first &&
	    (b->prev_size > (uintptr_t)b - (uintptr_t)h->first || block_size(block_before(b)) != b->prev_size))
		corrupt(ptr);
	return b;
}

void heap_free(struct heap *h, void *ptr)
{
	struct heap_block *b = NULL;
	struct heap_block *next = NULL;
	size_t size = 0;

	if (!ptr)
		return;
	b = checked_block(h, ptr);
	size = block_size(b);
	next = block_after(b);
	h->used -= size;
	if (!(next->size & USED)) {
		list_remove(h, next);
		size += block_size(next);
	}
	if (b->prev_size && !(block_before(b)->size & USED)) {
		size += b->prev_size;
		b = block_before(b);
		list_remove(h, b);
	}
	set_size(b, size, 0);
	list_add(h, b);
}

void *heap_realloc(struct heap *h, void *ptr, size_t size)
{
	size_t need = wanted(size);
	struct heap_block *b = NULL;
	size_t old = 0;
	void *p = NULL;

	if (!ptr)
		return heap_alloc(h, size);
	b = checked_block(h, ptr);
	old = block_size(b);
	if (need && need <= old) {
		split(h, b, need);
		h->used -= old - block_size(b);
		return ptr;
	}
	p = heap_alloc(h, size);
	if (!p)
		return NULL;
	memcpy(p, ptr, old - HEADER);
	heap_free(h, ptr);
	return p;
}

bool heap_overlaps(const struct heap *h, const void *buf, size_t len)
{
	uintptr_t a = (uintptr_t)buf;

	return len && a < (uintptr_t)h->end && (uintptr_t)h->first < a + len;
}

bool heap_within_allocated(const struct heap *h, const void *buf, size_t len)
{
	uintptr_t a = (uintptr_t)buf;
	const struct heap_block *b = NULL;

	for (b = h->first; b < h->end; b = block_after(b)) {
		uintptr_t start = (uintptr_t)b + HEADER;
		uintptr_t end = (uintptr_t)block_after(b);

		if (a >= start && a < end)
			return (b->size & USED) && len <= end - a;
	}
	return false;
}

void *malloc(size_t size)
{
	return heap_alloc(&ta_malloc_heap, size);
}

void *calloc(size_t n, size_t size)
{
	size_t total = 0;

	if (MUL_OVERFLOW(n, size, &total))
		return NULL;
	return heap_calloc(&ta_malloc_heap, total);
}

void *realloc(void *ptr, size_t size)
{
	return heap_realloc(&ta_malloc_heap, ptr, size);
}

void free(void *ptr)
{
	heap_free(&ta_malloc_heap, ptr);
}

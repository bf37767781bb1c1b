/* Small arithmetic helpers under the names OP-TEE's sources use. Arguments are evaluated once. */
#ifndef UTIL_H
#define UTIL_H

#include <compiler.h>
#include <stddef.h>
#include <stdint.h>

#define BIT32(n) (UINT32_C(1) << (n))
#define BIT64(n) (UINT64_C(1) << (n))
#define BIT(n) BIT32(n)
#define SHIFT_U32(v, n) ((uint32_t)(v) << (n))
#define SHIFT_U64(v, n) ((uint64_t)(v) << (n))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MAX(a, b)                                 \
	__extension__({                           \
		__typeof__(a) _max_a = (a);       \
		__typeof__(b) _max_b = (b);       \
		_max_a > _max_b ? _max_a : _max_b; \
	})
#define MIN(a, b)                                 \
	__extension__({                           \
		__typeof__(a) _min_a = (a);       \
		__typeof__(b) _min_b = (b);       \
		_min_a < _min_b ? _min_a : _min_b; \
	})

/* y is a power of two */
#define ROUNDUP(x, y) (((x) + ((__typeof__(x))(y) - 1)) & ~((__typeof__(x))(y) - 1))
#define ROUNDDOWN(x, y) ((x) & ~((__typeof__(x))(y) - 1))
#define IS_ALIGNED(x, y) (((x) & ((y) - 1)) == 0)

#define container_of(ptr, type, member) ((type *)((uintptr_t)(ptr) - offsetof(type, member)))

/* True when the exact result does not fit *res */
#define ADD_OVERFLOW(a, b, res) __builtin_add_overflow((a), (b), (res))
#define SUB_OVERFLOW(a, b, res) __builtin_sub_overflow((a), (b), (res))
#define MUL_OVERFLOW(a, b, res) __builtin_mul_overflow((a), (b), (res))

#endif

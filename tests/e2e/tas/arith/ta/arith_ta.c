#include <string.h>

#include "../../common/plain_entries.h"
#include <arith_ta.h>
#include <tee_internal_api.h>

union parts {
	uint64_t all;
	double wide;
	float narrow[2];
};

#ifdef __SIZEOF_INT128__
static void divide_128(uint64_t *r, uint64_t a, uint64_t b)
{
	unsigned __int128 n = (unsigned __int128)a << 64 | b;
	unsigned __int128 d = (unsigned __int128)b << 64 | a;

	r[ARITH_U128_DIV] = (uint64_t)(n / d);
	r[ARITH_U128_MOD] = (uint64_t)(n % d >> 64);
	r[ARITH_I128_DIV] = (uint64_t)((__int128)n / (__int128)d);
	r[ARITH_I128_MOD] = (uint64_t)((__int128)n % (__int128)d >> 64);
}
#else
static void divide_128(uint64_t *r, uint64_t a, uint64_t b)
{
	(void)r;
	(void)a;
	(void)b;
}
#endif

static void divide(uint64_t *r, uint64_t a, uint64_t b)
{
	r[ARITH_U32_DIV] = (uint32_t)a / (uint32_t)b;
	r[ARITH_U32_MOD] = (uint32_t)a % (uint32_t)b;
	r[ARITH_I32_DIV] = (uint64_t)((int32_t)a / (int32_t)b);
	r[ARITH_I32_MOD] = (uint64_t)((int32_t)a % (int32_t)b);
	r[ARITH_U64_DIV] = a / b;
	r[ARITH_U64_MOD] = a % b;
	r[ARITH_I64_DIV] = (uint64_t)((int64_t)a / (int64_t)b);
	r[ARITH_I64_MOD] = (uint64_t)((int64_t)a % (int64_t)b);
}

static uint64_t bits(double v)
{
	return ((union parts){ .wide = v }).all;
}

static uint64_t float_bits(float v)
{
	return ((union parts){ .narrow = { v } }).all;
}

static void convert(uint64_t *r, uint64_t a)
{
	const union parts v = { .all = a };

	r[ARITH_U64_DOUBLE] = bits((double)a);
	r[ARITH_I64_DOUBLE] = bits((double)(int64_t)a);
	r[ARITH_U64_FLOAT] = float_bits((float)a);
	r[ARITH_I64_FLOAT] = float_bits((float)(int64_t)a);
	r[ARITH_DOUBLE_U64] = (uint64_t)v.wide;
	r[ARITH_DOUBLE_I64] = (uint64_t)(int64_t)v.wide;
	r[ARITH_FLOAT_U64] = (uint64_t)v.narrow[1];
	r[ARITH_FLOAT_I64] = (uint64_t)(int64_t)v.narrow[1];
}

static TEE_Result numbers(uint32_t types, TEE_Param params[4])
{
	uint64_t r[ARITH_RESULTS] = { 0 };
	uint64_t a = 0;
	uint64_t b = 0;

	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INOUT, 0, 0, 0) || params[0].memref.size != sizeof(r))
		return TEE_ERROR_BAD_PARAMETERS;
	memcpy(r, params[0].memref.buffer, sizeof(r));
	a = r[0];
	b = r[1];
	divide(r, a, b);
	divide_128(r, a, b);
	r[ARITH_SHL] = a << (b & 63);
	r[ARITH_SHR] = a >> (b & 63);
	r[ARITH_SAR] = (uint64_t)((int64_t)a >> (b & 63));
	r[ARITH_MUL] = a * b;
	convert(r, a);
	memcpy(params[0].memref.buffer, r, sizeof(r));
	return TEE_SUCCESS;
}

struct octets {
	uint8_t o[ARITH_STRUCTURE];
};

#ifdef __arm__
/* Other compilers than ours call these. */
void __aeabi_memcpy(void *dst, const void *src, size_t n);
void __aeabi_memmove(void *dst, const void *src, size_t n);
void __aeabi_memclr(void *dst, size_t n);
void __aeabi_memset(void *dst, size_t n, int c);
#define copy(dst, src) __aeabi_memcpy(dst, src, sizeof(*(dst)))
#define move(dst, src, n) __aeabi_memmove(dst, src, n)
#define clear(dst) __aeabi_memclr(dst, sizeof(*(dst)))
#define set(dst, c) __aeabi_memset(dst, sizeof(*(dst)), c)
#else
#define copy(dst, src) (*(dst) = *(src))
#define move(dst, src, n) memmove(dst, src, n)
#define clear(dst) (*(dst) = (struct octets){ { 0 } })
#define set(dst, c) memset(dst, c, sizeof(*(dst)))
#endif

static TEE_Result structure(uint32_t types, TEE_Param params[4])
{
	const struct octets *in = params[0].memref.buffer;
	struct octets *out = params[1].memref.buffer;

	if (types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT, 0, 0) ||
	    params[0].memref.size != sizeof(*in) || params[1].memref.size != 4 * sizeof(*out))
		return TEE_ERROR_BAD_PARAMETERS;
	copy(out, in);
	out[1] = *in;
	move(out[1].o + 1, out[1].o, ARITH_STRUCTURE - 1);
	clear(out + 2);
	set(out + 3, in->o[0]);
	return TEE_SUCCESS;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	(void)session;
	switch (cmd) {
	case ARITH_CMD_NUMBERS:
		return numbers(types, params);
	case ARITH_CMD_STRUCTURE:
		return structure(types, params);
	default:
		return TEE_ERROR_NOT_IMPLEMENTED;
	}
}

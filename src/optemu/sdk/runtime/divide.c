/*
 * What the compiler calls where the CPU has no instruction: division, and for Arm32 conversions between 64-bit
 * integers and floating point. Names and registers: Run-time ABI for the Arm Architecture (AEABI), sections 5.1.2 and
 * 5.1.3; for 128 bits on AArch64 those of libgcc. Dividing by zero gives 0 and leaves the dividend, as the instruction
 * of AArch64 does.
 */
#include <stdint.h>

/* Long division, from the highest bit that the quotient may have. */
#define LONG_DIVISION(name, type, leading_zeros)                      \
	static type name(type n, type d, type *rest)                  \
	{                                                             \
		type quotient = 0;                                    \
		int shift = 0;                                        \
                                                                      \
		if (d && n >= d) {                                    \
			shift = leading_zeros(d) - leading_zeros(n);  \
			for (d <<= shift; shift >= 0; shift--) {      \
				quotient <<= 1;                       \
				if (n >= d) {                         \
					n -= d;                       \
					quotient |= 1;                \
				}                                     \
				d >>= 1;                              \
			}                                             \
		}                                                     \
		*rest = n;                                            \
		return quotient;                                      \
	}

/* Rounds to zero: what remains has the sign of the dividend. */
#define SIGNED_DIVISION(name, type, long_division)                                             \
	static type name(type n, type d, type *rest)                                           \
	{                                                                                      \
		const type n_sign = n >> (sizeof(type) * 8 - 1) ? -(type)1 : 0;                \
		const type d_sign = d >> (sizeof(type) * 8 - 1) ? -(type)1 : 0;                \
		const type sign = n_sign ^ d_sign;                                             \
		type quotient = long_division((n ^ n_sign) - n_sign, (d ^ d_sign) - d_sign, rest); \
                                                                                               \
		*rest = (*rest ^ n_sign) - n_sign;                                             \
		return (quotient ^ sign) - sign;                                               \
	}

#ifdef __arm__
LONG_DIVISION(divide32, uint32_t, __builtin_clz)
LONG_DIVISION(divide64, uint64_t, __builtin_clzll)
SIGNED_DIVISION(divide32_signed, uint32_t, divide32)
SIGNED_DIVISION(divide64_signed, uint64_t, divide64)

/* Quotient in r0, rest in r1. */
uint64_t __aeabi_uidivmod(uint32_t n, uint32_t d)
{
	uint32_t rest = 0;
	uint32_t quotient = divide32(n, d, &rest);

	return (uint64_t)rest << 32 | quotient;
}

uint64_t __aeabi_idivmod(uint32_t n, uint32_t d)
{
	uint32_t rest = 0;
	uint32_t quotient = divide32_signed(n, d, &rest);

	return (uint64_t)rest << 32 | quotient;
}

uint32_t __aeabi_uidiv(uint32_t n, uint32_t d)
{
	return (uint32_t)__aeabi_uidivmod(n, d);
}

uint32_t __aeabi_idiv(uint32_t n, uint32_t d)
{
	return (uint32_t)__aeabi_idivmod(n, d);
}

/* For aeabi_a32.S, which puts what these give into registers. */
uint64_t __optemu_uldivmod(uint64_t n, uint64_t d, uint64_t *rest)
{
	return divide64(n, d, rest);
}

uint64_t __optemu_ldivmod(uint64_t n, uint64_t d, uint64_t *rest)
{
	return divide64_signed(n, d, rest);
}

/* Helpers take floating point in general purpose registers, whatever the code that calls them does. */
#define HELPER __attribute__((pcs("aapcs")))
#define TWO_TO_32 4294967296.0

HELPER double __aeabi_ul2d(uint64_t v)
{
	return (double)(uint32_t)(v >> 32) * TWO_TO_32 + (double)(uint32_t)v;
}

HELPER double __aeabi_l2d(int64_t v)
{
	return (double)(int32_t)(v >> 32) * TWO_TO_32 + (double)(uint32_t)v;
}

/* Rounded once: of bits that a double has no room for, only whether there are any can matter to a float. */
HELPER float __aeabi_ul2f(uint64_t v)
{
	if (v >> 53)
		v = (v & ~(uint64_t)0x7ff) | (v & 0x7ff ? 0x800 : 0);
	return (float)__aeabi_ul2d(v);
}

HELPER float __aeabi_l2f(int64_t v)
{
	return v < 0 ? -__aeabi_ul2f(-(uint64_t)v) : __aeabi_ul2f((uint64_t)v);
}

HELPER uint64_t __aeabi_d2ulz(double v)
{
	uint32_t high = (uint32_t)(v / TWO_TO_32);

	return (uint64_t)high << 32 | (uint32_t)(v - (double)high * TWO_TO_32);
}

HELPER int64_t __aeabi_d2lz(double v)
{
	return (int64_t)(v < 0 ? -__aeabi_d2ulz(-v) : __aeabi_d2ulz(v));
}

HELPER uint64_t __aeabi_f2ulz(float v)
{
	return __aeabi_d2ulz(v);
}

HELPER int64_t __aeabi_f2lz(float v)
{
	return __aeabi_d2lz(v);
}
#else
typedef unsigned __int128 octa;

static int leading_zeros(octa v)
{
	uint64_t high = (uint64_t)(v >> 64);

	return high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)v);
}

LONG_DIVISION(divide128, octa, leading_zeros)
SIGNED_DIVISION(divide128_signed, octa, divide128)

octa __udivti3(octa n, octa d)
{
	return divide128(n, d, &n);
}

octa __umodti3(octa n, octa d)
{
	divide128(n, d, &n);
	return n;
}

octa __divti3(octa n, octa d)
{
	return divide128_signed(n, d, &n);
}

octa __modti3(octa n, octa d)
{
	divide128_signed(n, d, &n);
	return n;
}
#endif

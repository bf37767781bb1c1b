/* arith: what the compiler makes of C's operators, where the CPU has no instruction for them and where it has. */
#ifndef ARITH_TA_H
#define ARITH_TA_H

#define TA_ARITH_UUID \
	{ 0x5d1f0b7e, 0x66c4, 0x4f0d, { 0x8e, 0x21, 0x90, 0x3a, 0x5b, 0xd4, 0x36, 0x34 } }
/* The same built for Arm32. */
#define TA_ARITH_ARM_UUID \
	{ 0x5d1f0b7e, 0x66c4, 0x4f0d, { 0x8e, 0x21, 0x90, 0x3a, 0x5b, 0xd4, 0x33, 0x32 } }

/* p0 memref_inout, u64: a, b (not 0, nor are its low 32 bits). Results take their place, by number as below. */
#define ARITH_CMD_NUMBERS 0
#define ARITH_U32_DIV 0
#define ARITH_U32_MOD 1
#define ARITH_I32_DIV 2
#define ARITH_I32_MOD 3
#define ARITH_U64_DIV 4
#define ARITH_U64_MOD 5
#define ARITH_I64_DIV 6
#define ARITH_I64_MOD 7
/* By b's low six bits. */
#define ARITH_SHL 8
#define ARITH_SHR 9
#define ARITH_SAR 10
#define ARITH_MUL 11
/* The bits of a as a double and as a float. */
#define ARITH_U64_DOUBLE 12
#define ARITH_I64_DOUBLE 13
#define ARITH_U64_FLOAT 14
#define ARITH_I64_FLOAT 15
/* a's bits as a double, and its upper 32 as a float, made whole. Meaningless when they have no room. */
#define ARITH_DOUBLE_U64 16
#define ARITH_DOUBLE_I64 17
#define ARITH_FLOAT_U64 18
#define ARITH_FLOAT_I64 19
/* The high halves of quotient and rest of (a, b) by (b, a), 128 bits each; on Arm32 0. */
#define ARITH_U128_DIV 20
#define ARITH_U128_MOD 21
#define ARITH_I128_DIV 22
#define ARITH_I128_MOD 23
#define ARITH_RESULTS 24

/* p0 memref_in, p1 memref_out, 4 times ARITH_STRUCTURE octets: copied, moved up by 1, cleared, set to the first. */
#define ARITH_CMD_STRUCTURE 1
#define ARITH_STRUCTURE 300

#endif

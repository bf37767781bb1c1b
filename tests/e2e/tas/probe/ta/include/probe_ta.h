/*
 * probe: one TA with a command for everything a test may want a TA to do, well behaved or not.
 *
 * Numbers after "p" are parameters; "name" is a value in, "-> name" a value out, mem* a memory reference. A value
 * holds .a and .b. Commands whose parameter types are not as stated return TEE_ERROR_BAD_PARAMETERS.
 * Multi-instance: every session has an instance of its own. Opening takes no parameters.
 */
#ifndef PROBE_TA_H
#define PROBE_TA_H

#define TA_PROBE_UUID \
	{ 0x7daf3188, 0x0195, 0x46a9, { 0x8c, 0xf8, 0x05, 0xc1, 0x7e, 0xd2, 0xb2, 0x6b } }
/* The same built for Arm32. */
#define TA_PROBE_ARM_UUID \
	{ 0x2f6c1d0a, 0x8a3e, 0x4c71, { 0x9b, 0x54, 0x61, 0x72, 0x6d, 0x33, 0x32, 0x00 } }

/*
 * Any types. value_inout: a and b swapped. value_out: a and b of the last value_in before it, else 0xEC0 + its number
 * and its number. memref_inout: bytes reversed. memref_out: the bytes of the last memref_in before it (none: zero
 * bytes); TEE_ERROR_SHORT_BUFFER and the size wanted when they do not fit.
 */
#define PROBE_CMD_ECHO 0
/* p0 -> paramTypes as the TA sees them, bit n set if p[n] is a memref with a NULL buffer. p1-p3 any. */
#define PROBE_CMD_PARAM_TYPES 1
/* p0 {a access flags, b one of PROBE_AT_*}, p1 -> {result of TEE_CheckMemoryAccessRights}, p2 none or the memref. */
#define PROBE_CMD_CHECK_ACCESS 2
/* p0 {a milliseconds, b 1: cancellable}. Result of TEE_Wait. */
#define PROBE_CMD_WAIT 3
/* p0 memref_out, filled by way of the heap. */
#define PROBE_CMD_RANDOM 4
/* p0 {a 0 system, 1 TA persistent, 2 REE}, p1 -> {seconds, milliseconds}. Result of the function. */
#define PROBE_CMD_GET_TIME 5
/* p0 {seconds, milliseconds}: TEE_SetTAPersistentTime. */
#define PROBE_CMD_SET_TIME 6
/*
 * p0 {a property set handle, b one of PROBE_AS_*}, p1 memref_in name, p2 memref_out value: text without terminator for
 * PROBE_AS_STRING, else as it lies in memory. Result of the function.
 */
#define PROBE_CMD_GET_PROPERTY 7
/* p0 {a property set handle}, p1 memref_out: lines "name=value\n" of an enumerator, in order. */
#define PROBE_CMD_ENUMERATE 8
/*
 * p0 memref_in {UUID 16 octets, u32 command}, p1 and p2 the callee's p0 and p1 (any type), p3 -> {stage: 1 open,
 * 2 invoke, 3 all done; return origin}. Opens, invokes, closes. Result of the callee. ..._PRIVATE passes copies of
 * memrefs that lie in this TA's heap.
 */
#define PROBE_CMD_CALL_TA 9
#define PROBE_CMD_CALL_TA_PRIVATE 10
/* The same in three commands, for sessions left open. p0 memref_in UUID, p1 -> {handle, origin}. */
#define PROBE_CMD_OPEN_TA 11
/* p0 {handle, command}, p1 and p2 the callee's p0 and p1, p3 -> {0, origin}. */
#define PROBE_CMD_INVOKE_TA 12
/* p0 {handle}. */
#define PROBE_CMD_CLOSE_TA 13
/* p0 {a 0 mask, 1 unmask, 2 leave}, p1 -> {mask before, cancellation flag}. */
#define PROBE_CMD_CANCEL_MASK 14
/* p0 memref_in text, to the log by IMSG. */
#define PROBE_CMD_LOG 15
/* p0 memref_in, p1 memref_out: copied; short buffer as in ECHO. */
#define PROBE_CMD_COPY 16
/* p0 {a result to return}. */
#define PROBE_CMD_RETURN 17
/* p0 {a size, b result}, p1 memref: its size is set to a whatever it was, its bytes are left alone. */
#define PROBE_CMD_SET_SIZE 18
/* p0 {a bytes, b 1: keep}, p1 -> {1 if TEE_Malloc gave memory, sum of its bytes (0: it was zeroed)}. */
#define PROBE_CMD_ALLOC 19
/* p0 -> {a counter in .bss, one in .data that starts at 0xDA7A}, both then incremented; p1 -> {creates, opens}. */
#define PROBE_CMD_STATE 20
/* p0 {a n}, p1 -> {hash}: n rounds of SHA-256 compression over its own state. */
#define PROBE_CMD_BURN 21
/* p0 memref_inout of u64: filled with addresses, PROBE_ADDR_*. */
#define PROBE_CMD_ADDRESSES 22
/* p0 {a 0 clean, 1 flush, 2 invalidate}, p1 memref. Result of the cache function. */
#define PROBE_CMD_CACHE 23
/* p0 {a 0: start, else as left}, p1 -> {iterations}: polls TEE_GetCancellationFlag until it is set. */
#define PROBE_CMD_LOOP_CANCELLABLE 24
/* p0 value_inout {access flags} -> {result of TEE_CheckMemoryAccessRights}, p1 the memref. */
#define PROBE_CMD_CHECK_SHOWN 25
/* As PROBE_CMD_CHECK_ACCESS; before, a function of the API is told to write there, and panics where it may not. */
#define PROBE_CMD_OUT_POINTER 26

/* The rest does not come back, or does damage first. */
/* p0 {a panic code}. */
#define PROBE_CMD_PANIC 40
#define PROBE_CMD_WRITE_NULL 41
#define PROBE_CMD_WRITE_RODATA 42
#define PROBE_CMD_WRITE_CODE 43
#define PROBE_CMD_JUMP_NULL 44
#define PROBE_CMD_JUMP_HEAP 45
#define PROBE_CMD_LOOP 46
#define PROBE_CMD_RECURSE 47
#define PROBE_CMD_UNDEFINED 48
#define PROBE_CMD_BREAKPOINT 49
#define PROBE_CMD_ASSERT 50
#define PROBE_CMD_DOUBLE_FREE 51
/* p0 {a low, b high half of an address}, p1 -> {byte read}. */
#define PROBE_CMD_PEEK 52
/* p0 {a low, b high half of an address}, p1 {byte to write}. */
#define PROBE_CMD_POKE 53
/*
 * p0 {a number}, p1 memref_in eight u64 arguments, p2 -> {result low, high}, p3 none or a memref: each argument of the
 * form PROBE_ARG_P3 + n becomes the address of p3 plus n. Arm32: with a number above 0xffff, its upper half is how many
 * words of arguments lie on the stack, and the fifth argument is their address.
 */
#define PROBE_CMD_RAW_SYSCALL 54

/* PROBE_CMD_CHECK_ACCESS */
#define PROBE_AT_STACK 0
#define PROBE_AT_RODATA 1
#define PROBE_AT_CODE 2
#define PROBE_AT_HEAP 3
#define PROBE_AT_FREED_HEAP 4
#define PROBE_AT_BSS 5
#define PROBE_AT_NULL 6
#define PROBE_AT_WRAP 7
#define PROBE_AT_PARAM 8

/* PROBE_CMD_GET_PROPERTY */
#define PROBE_AS_STRING 0
#define PROBE_AS_BOOL 1
#define PROBE_AS_U32 2
#define PROBE_AS_U64 3
#define PROBE_AS_UUID 4
#define PROBE_AS_IDENTITY 5
#define PROBE_AS_BINARY 6

/* PROBE_CMD_ADDRESSES */
#define PROBE_ADDR_STACK 0
#define PROBE_ADDR_CODE 1
#define PROBE_ADDR_RODATA 2
#define PROBE_ADDR_DATA 3
#define PROBE_ADDR_BSS 4
#define PROBE_ADDR_HEAP 5
#define PROBE_ADDR_PARAM 6
#define PROBE_ADDR_COUNT 7

/* PROBE_CMD_RAW_SYSCALL */
#define PROBE_ARG_P3 0x5033000000000000

#endif

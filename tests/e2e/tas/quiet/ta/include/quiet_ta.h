/* quiet: adds one and says nothing; what benchmarks call. */
#ifndef QUIET_TA_H
#define QUIET_TA_H

#define TA_QUIET_UUID \
	{ 0xb2617ad4, 0x7189, 0x4dd4, { 0x97, 0xde, 0xcf, 0x86, 0x04, 0x15, 0xc9, 0x62 } }

/* p0 value_inout: a + 1. */
#define QUIET_CMD_INC 0
/* Any parameters, left alone. */
#define QUIET_CMD_NOP 1
/* p0 memref_inout: each byte + 1. */
#define QUIET_CMD_INC_BYTES 2
/* p0 value_inout: b becomes what a rounds of xorshift32 make of it. */
#define QUIET_CMD_WORK 3

#endif

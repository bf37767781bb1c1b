/* guard: a TA with guarded pages (BTI) and signed return addresses (PAC), both checked by the processor. */
#ifndef GUARD_TA_H
#define GUARD_TA_H

#define TA_GUARD_UUID \
	{ 0x5d2a8c61, 0x1f0e, 0x4b9a, { 0xa3, 0x77, 0x67, 0x75, 0x61, 0x72, 0x64, 0x00 } }

/* p0 {0 blr, 1 br, 2 br by way of x16; 0 "bti c", 1 "bti j", 2 "bti jc", 3 none}: TEE_SUCCESS when it gets there. */
#define GUARD_CMD_JUMP 0
/* p0 -> {1 if paciza signs, result of reading feat_pauth_implemented}. */
#define GUARD_CMD_SIGNS 1
/* Returns by a return address with one bit of its signature turned over. */
#define GUARD_CMD_CORRUPT 2
/* Panics some calls deep. */
#define GUARD_CMD_PANIC 3

#endif

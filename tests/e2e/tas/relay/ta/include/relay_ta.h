/*
 * relay: a TA that calls another TA, static or not, exactly as its client says.
 *
 * Multi-instance; each session holds one session to another TA, which stays open between commands.
 */
#ifndef RELAY_TA_H
#define RELAY_TA_H

#include <stdint.h>

#define TA_RELAY_UUID \
	{ 0x5c9a2f0e, 0x3b6d, 0x4c1f, { 0x9a, 0x37, 0x51, 0x0c, 0xe4, 0x7d, 0x28, 0x66 } }

/* p0 memref_in UUID, 16 octets; p1 -> {origin}. Result of the open. */
#define RELAY_CMD_OPEN 0
/* p0 memref_inout struct relay_call, p1 to p3 memref_inout: the callee's memory references in order. Its result. */
#define RELAY_CMD_INVOKE 1
/* Nothing. */
#define RELAY_CMD_CLOSE 2

/* p0 {a iterations}, p1 memref_inout u16 counters, p2 -> {rate}: has itself sampled by gprof while it counts so far. */
#define RELAY_CMD_PROFILE 3

/* value[n] are a and b of a value parameter; of a memory reference, a is 1 for a copy in private memory. */
struct relay_call {
	uint32_t cmd;
	uint32_t types;
	uint32_t origin;
	uint32_t pad;
	uint32_t value[4][2];
};

#endif

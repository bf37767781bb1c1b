/* Commands of the TAs about instances and sessions, single and multi. */
#ifndef SESSIONS_TA_H
#define SESSIONS_TA_H

/* Opening takes p0 value_in {a, b}, or nothing. a = SESSIONS_OPEN_REFUSE: the entry point returns b. */
#define SESSIONS_OPEN_REFUSE 0xBAD
/* Panics with b. */
#define SESSIONS_OPEN_PANIC 0xDEAD

/* p0 -> {create entry calls, open entry calls}, p1 -> {close entry calls, sessions now open} of this instance. */
#define SESSIONS_CMD_COUNTS 0
/* p0 -> {this session's counter, the instance's}; both then incremented. */
#define SESSIONS_CMD_COUNT 1
/* p0 {a panic code}. */
#define SESSIONS_CMD_PANIC 2
/* p0 {a milliseconds}: TEE_Wait, cancellable; the context is busy meanwhile. */
#define SESSIONS_CMD_WAIT 3
/* Panic in the next close entry point, in the destroy entry point. */
#define SESSIONS_CMD_PANIC_IN_CLOSE 4
#define SESSIONS_CMD_PANIC_IN_DESTROY 5

#endif

/* Function tracing: what _mcount() or mcount() calls in a TA built with -pg. Built without -pg itself. */
#include <user_ta_header.h>

#include "ftrace.h"

#define SCALE_BITS 8
#define NS_PER_S 1000000000

/* Nanoseconds in a tick of the counter, times 2 to the SCALE_BITS. Arm32 has no division here. */
static uint64_t ns_per_tick(void)
{
	static uint64_t quotient;
	uint64_t rest = (uint64_t)NS_PER_S << SCALE_BITS;
	uint64_t freq = counter_frequency();
	int shift = 0;

	if (quotient || !freq)
		return quotient;
	while (freq << (shift + 1) <= rest)
		shift++;
	for (; shift >= 0; shift--) {
		if (freq << shift <= rest) {
			rest -= freq << shift;
			quotient |= 1ULL << shift;
		}
	}
	return quotient;
}

static void add_event(struct ftrace_buf *fbuf, uint32_t depth, uint64_t value)
{
	uint64_t *events = (uint64_t *)((uint8_t *)fbuf + fbuf->buf_off);

	events[fbuf->curr_idx++] = (uint64_t)depth << 56 | value;
	if ((fbuf->curr_idx + 1) * sizeof(*events) > fbuf->max_size) {
		fbuf->curr_idx = 0;
		fbuf->overflow = true;
	}
}

/* In the function at pc, whose return address is kept at lr. Calls nested too deeply are left out. */
void ftrace_enter(unsigned long pc, unsigned long *lr)
{
	struct ftrace_buf *fbuf = &__ftrace_buf_start;

	if (!fbuf->max_size || fbuf->ret_idx >= FTRACE_RETFUNC_DEPTH)
		return;
	add_event(fbuf, fbuf->ret_idx + 1, pc);
	fbuf->ret_stack[fbuf->ret_idx] = *lr;
	fbuf->begin_time[fbuf->ret_idx] = counter();
	fbuf->ret_idx++;
	*lr = (unsigned long)__ftrace_return;
}

/* The innermost function has returned; where to. */
unsigned long ftrace_return(void)
{
	struct ftrace_buf *fbuf = &__ftrace_buf_start;
	uint64_t now = counter();

	if (!fbuf->ret_idx || fbuf->ret_idx > FTRACE_RETFUNC_DEPTH)
		return 0;
	fbuf->ret_idx--;
	add_event(fbuf, 0, ((now - fbuf->begin_time[fbuf->ret_idx]) * ns_per_tick()) >> SCALE_BITS & (1ULL << 56) - 1);
	return fbuf->ret_stack[fbuf->ret_idx];
}

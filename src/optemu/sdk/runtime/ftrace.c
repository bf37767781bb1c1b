/* Function tracing: what _mcount() or mcount() calls in a TA built with -pg. Built without -pg itself. */
#include <user_ta_header.h>

#include "ftrace.h"

#define NS_PER_S 1000000000

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
	uint64_t ns = 0;

	if (!fbuf->ret_idx || fbuf->ret_idx > FTRACE_RETFUNC_DEPTH)
		return 0;
	fbuf->ret_idx--;
	ns = (now - fbuf->begin_time[fbuf->ret_idx]) * NS_PER_S / counter_frequency();
	add_event(fbuf, 0, ns & ((1ULL << 56) - 1));
	return fbuf->ret_stack[fbuf->ret_idx];
}

/* The counter, as far as EL0 may read it. */
#ifndef FTRACE_H
#define FTRACE_H

#include <stdint.h>

void ftrace_enter(unsigned long pc, unsigned long *lr);

static inline uint64_t counter(void)
{
	uint64_t ticks = 0;

#ifdef __aarch64__
	__asm__ volatile("isb\n\tmrs %0, cntpct_el0" : "=r"(ticks));
#else
	__asm__ volatile("isb\n\tmrrc p15, 0, %Q0, %R0, c14" : "=r"(ticks));
#endif
	return ticks;
}

static inline uint32_t counter_frequency(void)
{
	unsigned long hz = 0;

#ifdef __aarch64__
	__asm__("mrs %0, cntfrq_el0" : "=r"(hz));
#else
	__asm__("mrc p15, 0, %0, c14, c0, 0" : "=r"(hz));
#endif
	return hz;
}

#endif

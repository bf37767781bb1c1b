/* traced: built with function tracing. */
#ifndef TRACED_TA_H
#define TRACED_TA_H

#define TA_TRACED_UUID \
	{ 0x3b6c0f5e, 0x52a7, 0x4d0c, { 0x8e, 0x21, 0x0d, 0x9a, 0x77, 0x4c, 0x18, 0x01 } }
#define TA_TRACED_ARM_UUID \
	{ 0x3b6c0f5e, 0x52a7, 0x4d0c, { 0x8e, 0x21, 0x0d, 0x9a, 0x77, 0x4c, 0x18, 0x02 } }

/* p0 value_inout: b becomes outer(a), which calls middle() twice, which calls leaf(). */
#define TRACED_CMD_CALLS 0
/* p0 value_inout: b becomes the sum of 1 to a, by so many calls in one another and one; b times. */
#define TRACED_CMD_NESTED 1
/* p0 value_inout: b becomes floating(a): a half, and a quarter of it, as hundredths. */
#define TRACED_CMD_FLOATING 2
/* outer() panics where it calls leaf(). */
#define TRACED_CMD_PANIC 3
/* p0 value_inout: the ring says that there are a events in it. */
#define TRACED_CMD_LIE 4

#endif

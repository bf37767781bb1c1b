/* Arm32: number in r7, r6 words of further arguments at r5, which are the caller's stack. */

	.syntax unified
	.arm

	.macro UTEE_SYSCALL name, number, args
	.section .text.\name, "ax", %progbits
	.balign 4
	.globl \name
	.type \name, %function
\name:
	.fnstart
	push	{r5-r7, lr}
	.save	{r5-r7, lr}
	mov	r7, #\number
	.if \args > 4
	mov	r6, #(\args - 4)
	add	r5, sp, #16
	.else
	mov	r6, #0
	.endif
	svc	#0
	pop	{r5-r7, pc}
	.fnend
	.size \name, . - \name
	.endm

#include "syscalls.inc"

/* The core unwinds the call stack from the registers r1 points to: pc, r0-r11, lr. */
	.section .text._utee_panic, "ax", %progbits
	.balign 4
	.globl _utee_panic
	.type _utee_panic, %function
_utee_panic:
	.fnstart
	push	{r0-r11, lr}
	.save	{r0-r11, lr}
	mov	lr, pc
	push	{lr}
	.save	{lr}
	mov	r1, sp
	bl	__utee_panic
	udf	#0
	.fnend
	.size _utee_panic, . - _utee_panic

/* Unwind tables refer to the personality routines of C++; unwinding here is the core's affair. */
	.section .text.__aeabi_unwind_cpp_pr, "ax", %progbits
	.balign 4
	.globl __aeabi_unwind_cpp_pr0, __aeabi_unwind_cpp_pr1, __aeabi_unwind_cpp_pr2
__aeabi_unwind_cpp_pr0:
__aeabi_unwind_cpp_pr1:
__aeabi_unwind_cpp_pr2:
	udf	#0

	.section .note.GNU-stack, "", %progbits

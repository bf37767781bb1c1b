/* Arm32: a function built with -pg calls mcount() once its frame pointer stands, which is r7 in Thumb and r11 in Arm. */

	.syntax unified
	.arm

	.section .text.mcount, "ax", %progbits
	.balign 4
	.globl mcount
	.type mcount, %function
mcount:
	.fnstart
	push	{r4, lr}
	.save	{r4, lr}
	tst	lr, #1
	addne	r1, r7, #4
	addeq	r1, r11, #4
	bic	r0, lr, #1
	sub	r0, r0, #4
	bl	ftrace_enter
	pop	{r4, pc}
	.fnend
	.size mcount, . - mcount

/* Where such a function returns to; with what it returns in r0 to r3 and d0 to d7. */
	.section .text.__ftrace_return, "ax", %progbits
	.balign 4
	.globl __ftrace_return
	.type __ftrace_return, %function
__ftrace_return:
	.fnstart
	.cantunwind
	push	{r0-r3}
	.fpu	vfpv3
	vpush	{d0-d7}
	bl	ftrace_return
	mov	lr, r0
	vpop	{d0-d7}
	pop	{r0-r3}
	bx	lr
	.fnend
	.size __ftrace_return, . - __ftrace_return

	.section .note.GNU-stack, "", %progbits

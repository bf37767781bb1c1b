/* AArch64: a function built with -pg calls _mcount() once its frame record stands. */

#ifdef __ARM_FEATURE_BTI_DEFAULT
	.pushsection .note.gnu.property, "a"
	.balign 8
	.word 4, 16, 5
	.asciz "GNU"
	.word 0xc0000000, 4, 1, 0
	.popsection
#endif

	.section .text._mcount, "ax", %progbits
	.balign 4
	.globl _mcount
	.type _mcount, %function
_mcount:
	.cfi_startproc
#ifdef __ARM_FEATURE_BTI_DEFAULT
	bti	c
#endif
	sub	x0, x30, #4
	add	x1, x29, #8
	b	ftrace_enter
	.cfi_endproc
	.size _mcount, . - _mcount

/* Where such a function returns to; with what it returns in x0 to x7 and v0 to v7. */
	.section .text.__ftrace_return, "ax", %progbits
	.balign 4
	.globl __ftrace_return
	.type __ftrace_return, %function
__ftrace_return:
	stp	x0, x1, [sp, #-192]!
	stp	x2, x3, [sp, #16]
	stp	x4, x5, [sp, #32]
	stp	x6, x7, [sp, #48]
	stp	q0, q1, [sp, #64]
	stp	q2, q3, [sp, #96]
	stp	q4, q5, [sp, #128]
	stp	q6, q7, [sp, #160]
	bl	ftrace_return
	mov	x30, x0
	ldp	q6, q7, [sp, #160]
	ldp	q4, q5, [sp, #128]
	ldp	q2, q3, [sp, #96]
	ldp	q0, q1, [sp, #64]
	ldp	x6, x7, [sp, #48]
	ldp	x4, x5, [sp, #32]
	ldp	x2, x3, [sp, #16]
	ldp	x0, x1, [sp], #192
	ret
	.size __ftrace_return, . - __ftrace_return

	.section .note.GNU-stack, "", %progbits

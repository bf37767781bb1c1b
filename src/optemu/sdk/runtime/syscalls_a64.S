/* AArch64: number in x8, arguments already where the call put them. */

#ifdef __ARM_FEATURE_BTI_DEFAULT
#define BTI_C bti c
	.pushsection .note.gnu.property, "a"
	.balign 8
	.word 4, 16, 5
	.asciz "GNU"
	.word 0xc0000000, 4, 1, 0
	.popsection
#else
#define BTI_C
#endif

	.macro UTEE_SYSCALL name, number, args
	.section .text.\name, "ax", %progbits
	.balign 4
	.globl \name
	.type \name, %function
\name:
	.cfi_startproc
	BTI_C
	mov	x8, #\number
	svc	#0
	ret
	.cfi_endproc
	.size \name, . - \name
	.endm

#include "syscalls.inc"

/* The core unwinds the call stack from the frame record that x1 points to. */
	.section .text._utee_panic, "ax", %progbits
	.balign 4
	.globl _utee_panic
	.type _utee_panic, %function
_utee_panic:
	.cfi_startproc
	BTI_C
	stp	x29, x30, [sp, #-16]!
	.cfi_def_cfa_offset 16
	.cfi_offset x29, -16
	.cfi_offset x30, -8
	mov	x1, sp
	bl	__utee_panic
	brk	#1
	.cfi_endproc
	.size _utee_panic, . - _utee_panic

	.section .note.GNU-stack, "", %progbits

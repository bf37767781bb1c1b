/* Arm32: helpers of the Run-time ABI for the Arm Architecture that C cannot express. */

	.syntax unified
	.arm

	.macro HELPER name
	.section .text.\name, "ax", %progbits
	.balign 4
	.globl \name
	.type \name, %function
\name:
	.fnstart
	.endm

	.macro END name
	.fnend
	.size \name, . - \name
	.endm

/* Dividend in r0 and r1, divisor in r2 and r3; quotient in r0 and r1, rest in r2 and r3. */
	.macro DIVISION name, function
	HELPER \name
	push	{r4, lr}
	.save	{r4, lr}
	sub	sp, sp, #16
	.pad	#16
	add	r4, sp, #8
	str	r4, [sp]
	bl	\function
	ldrd	r2, r3, [sp, #8]
	add	sp, sp, #16
	pop	{r4, pc}
	END \name
	.endm

DIVISION __aeabi_uldivmod, __optemu_uldivmod
DIVISION __aeabi_ldivmod, __optemu_ldivmod

/* Those ending in 4 or 8 may rely on aligned pointers, and need not. */
	.macro SAME name, function
	HELPER \name
	b	\function
	END \name
	.endm

	.irp	alignment, , 4, 8
	SAME __aeabi_memcpy\alignment, memcpy
	SAME __aeabi_memmove\alignment, memmove

/* Size before value. */
	HELPER __aeabi_memset\alignment
	mov	r3, r1
	mov	r1, r2
	mov	r2, r3
	b	memset
	END __aeabi_memset\alignment

	HELPER __aeabi_memclr\alignment
	mov	r2, r1
	mov	r1, #0
	b	memset
	END __aeabi_memclr\alignment
	.endr

	.section .note.GNU-stack, "", %progbits

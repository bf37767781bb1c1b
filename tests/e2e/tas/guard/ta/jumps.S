/* Ways to jump, places to jump to. Each place returns. */
	.arch_extension pauth

	.macro FUNC name
	.balign 4
	.globl \name
	.type \name, %function
\name:
	.endm

	.text
	FUNC land_c
	bti	c
	ret
	FUNC land_j
	bti	j
	ret
	FUNC land_jc
	bti	jc
	ret
	FUNC land_none
	nop
	ret

	FUNC jump_blr
	bti	c
	stp	x29, x30, [sp, #-16]!
	blr	x0
	ldp	x29, x30, [sp], #16
	ret
	FUNC jump_br
	bti	c
	br	x0
	FUNC jump_br_x16
	bti	c
	mov	x16, x0
	br	x16

	FUNC corrupt_return
	paciasp
	stp	x29, x30, [sp, #-16]!
	ldr	x1, [sp, #8]
	eor	x1, x1, #(1 << 42)
	str	x1, [sp, #8]
	ldp	x29, x30, [sp], #16
	autiasp
	ret

	.section .note.gnu.property, "a"
	.balign 8
	.word 4, 16, 5
	.asciz "GNU"
	.word 0xc0000000, 4, 3, 0
	.section .note.GNU-stack, "", %progbits

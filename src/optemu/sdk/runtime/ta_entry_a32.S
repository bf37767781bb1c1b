/* Arm32: where the core enters a TA. */

	.syntax unified
	.arm

/* The bottom of the call stack: unwinders stop here. */
	.section .text.__ta_entry, "ax", %progbits
	.balign 4
	.globl __ta_entry
	.type __ta_entry, %function
__ta_entry:
	.fnstart
	.cantunwind
	bl	__ta_entry_c
	.fnend
	.size __ta_entry, . - __ta_entry

	.section .note.GNU-stack, "", %progbits

/* unsigned long probe_raw_syscall(const unsigned long args[8], unsigned long number): any call, any arguments. */
	.text
	.globl probe_raw_syscall
	.type probe_raw_syscall, %function
probe_raw_syscall:
#ifdef __aarch64__
	mov	x8, x1
	mov	x9, x0
	ldp	x0, x1, [x9]
	ldp	x2, x3, [x9, #16]
	ldp	x4, x5, [x9, #32]
	ldp	x6, x7, [x9, #48]
	svc	#0
	ret
#else
	.syntax unified
	push	{r4-r7, lr}
	mov	r4, r0
	/* Bits 16 on of the number: how many words follow on the stack, and where, if not four in their place. */
	lsrs	r6, r1, #16
	uxth	r7, r1
	ite	eq
	addeq	r5, r4, #16
	ldrne	r5, [r4, #16]
	it	eq
	moveq	r6, #4
	ldm	r4, {r0-r3}
	svc	#0
	pop	{r4-r7, pc}
#endif
	.size probe_raw_syscall, . - probe_raw_syscall
	.section .note.GNU-stack, "", %progbits

/*
 * The core's system calls, by number: AArch64 x8, svc #0, arguments from x0; Arm32 r7, svc #0, arguments from r0
 * and beyond four on the stack. Integers are passed in whole registers.
 */
#ifndef UTEE_SYSCALLS_H
#define UTEE_SYSCALLS_H

#include <compiler.h>
#include <tee_api_types.h>
#include <utee_types.h>

void _utee_return(unsigned long ret) __noreturn;
void _utee_log(const void *buf, size_t len);
/* Does not return, and must not be declared so: Arm32 unwinding wants a way back. */
void _utee_panic(unsigned long code);
TEE_Result _utee_get_property(unsigned long prop_set, unsigned long index, void *name, uint32_t *name_len,
			      void *buf, uint32_t *blen, uint32_t *prop_type);
TEE_Result _utee_get_property_name_to_index(unsigned long prop_set, const void *name, unsigned long name_len,
					    uint32_t *index);
TEE_Result _utee_open_ta_session(const TEE_UUID *dest, unsigned long cancel_req_to, struct utee_params *params,
				 uint32_t *sess, uint32_t *ret_orig);
TEE_Result _utee_close_ta_session(unsigned long sess);
TEE_Result _utee_invoke_ta_command(unsigned long sess, unsigned long cancel_req_to, unsigned long cmd_id,
				   struct utee_params *params, uint32_t *ret_orig);
TEE_Result _utee_check_access_rights(uint32_t flags, const void *buf, size_t len);
TEE_Result _utee_get_cancellation_flag(uint32_t *cancel);
TEE_Result _utee_unmask_cancellation(uint32_t *old_mask);
TEE_Result _utee_mask_cancellation(uint32_t *old_mask);
TEE_Result _utee_wait(unsigned long timeout);
TEE_Result _utee_get_time(unsigned long cat, TEE_Time *time);
TEE_Result _utee_set_ta_time(const TEE_Time *time);
TEE_Result _utee_cryp_random_number_generate(void *buf, size_t blen);
TEE_Result _utee_cache_operation(void *va, size_t len, unsigned long op);

#endif

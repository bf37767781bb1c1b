/* The Linux TEE subsystem's user interface; numbers and layouts of include/uapi/linux/tee.h. */
#ifndef TEE_IOCTL_H
#define TEE_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define TEE_IMPL_ID_OPTEE 1
#define TEE_OPTEE_CAP_TZ (1u << 0)
#define TEE_GEN_CAP_GP (1u << 0)
#define TEE_GEN_CAP_REG_MEM (1u << 2)
#define TEE_GEN_CAP_MEMREF_NULL (1u << 3)
#define TEE_MEMREF_NULL UINT64_MAX

#define TEE_PARAM_MEMREF_INPUT 5
#define TEE_PARAM_MEMREF_OUTPUT 6
#define TEE_PARAM_MEMREF_INOUT 7

struct tee_version_data {
	uint32_t impl_id;
	uint32_t impl_caps;
	uint32_t gen_caps;
};

struct tee_shm_alloc_data {
	uint64_t size;
	uint32_t flags;
	int32_t id;
};

struct tee_shm_register_data {
	uint64_t addr;
	uint64_t length;
	uint32_t flags;
	int32_t id;
};

struct tee_buf_data {
	uint64_t buf_ptr;
	uint64_t buf_len;
};

/* Values: a, b. Memory: offset, size, shared memory id. */
struct tee_param {
	uint64_t attr;
	uint64_t a;
	uint64_t b;
	uint64_t c;
};

struct tee_open_session_arg {
	uint8_t uuid[16];
	uint8_t clnt_uuid[16];
	uint32_t clnt_login;
	uint32_t cancel_id;
	uint32_t session;
	uint32_t ret;
	uint32_t ret_origin;
	uint32_t num_params;
	struct tee_param params[4];
};

struct tee_invoke_arg {
	uint32_t func;
	uint32_t session;
	uint32_t cancel_id;
	uint32_t ret;
	uint32_t ret_origin;
	uint32_t num_params;
	struct tee_param params[4];
};

struct tee_cancel_arg {
	uint32_t cancel_id;
	uint32_t session;
};

struct tee_close_session_arg {
	uint32_t session;
};

#define TEE_IOC_VERSION _IOR(0xa4, 0, struct tee_version_data)
#define TEE_IOC_SHM_ALLOC _IOWR(0xa4, 1, struct tee_shm_alloc_data)
#define TEE_IOC_OPEN_SESSION _IOR(0xa4, 2, struct tee_buf_data)
#define TEE_IOC_INVOKE _IOR(0xa4, 3, struct tee_buf_data)
#define TEE_IOC_CANCEL _IOR(0xa4, 4, struct tee_cancel_arg)
#define TEE_IOC_CLOSE_SESSION _IOR(0xa4, 5, struct tee_close_session_arg)
#define TEE_IOC_SHM_REGISTER _IOWR(0xa4, 9, struct tee_shm_register_data)

#endif

/* TEE Client API 1.0 over /dev/tee0. Thread safe as the API demands: nothing here is shared but the cancel counter. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <tee_client_api.h>
#include <unistd.h>

#include "tee_ioctl.h"

#define MAX_DEVICES 10
#define NUM_PARAMS TEEC_CONFIG_PAYLOAD_REF_COUNT
#define INOUT (TEEC_MEM_INPUT | TEEC_MEM_OUTPUT)

/* Shared memory ids are not negative */
#define NO_SHM (-1)

static TEEC_Result errno_to_result(int err)
{
	switch (err) {
	case ENOMEM:
		return TEEC_ERROR_OUT_OF_MEMORY;
	case EINVAL:
		return TEEC_ERROR_BAD_PARAMETERS;
	default:
		return TEEC_ERROR_GENERIC;
	}
}

/* --- context --- */

static bool is_wanted(const struct tee_version_data *v, const char *name)
{
	if (!(v->gen_caps & TEE_GEN_CAP_GP))
		return false;
	if (!name)
		return true;
	return !strcmp(name, "optee-tz") && v->impl_id == TEE_IMPL_ID_OPTEE && (v->impl_caps & TEE_OPTEE_CAP_TZ);
}

static bool open_device(const char *path, const char *name, TEEC_Context *ctx)
{
	struct tee_version_data v = { 0 };
	int fd = open(path, O_RDWR);

	if (fd < 0)
		return false;
	if (ioctl(fd, TEE_IOC_VERSION, &v) || !is_wanted(&v, name)) {
		close(fd);
		return false;
	}
	ctx->imp.fd = fd;
	ctx->imp.reg_mem = v.gen_caps & TEE_GEN_CAP_REG_MEM;
	ctx->imp.memref_null = v.gen_caps & TEE_GEN_CAP_MEMREF_NULL;
	return true;
}

TEEC_Result TEEC_InitializeContext(const char *name, TEEC_Context *context)
{
	char path[24];
	int n = 0;

	if (!context)
		return TEEC_ERROR_BAD_PARAMETERS;
	for (n = 0; n < MAX_DEVICES; n++) {
		snprintf(path, sizeof(path), "/dev/tee%d", n);
		if (open_device(path, name, context))
			return TEEC_SUCCESS;
	}
	return TEEC_ERROR_ITEM_NOT_FOUND;
}

void TEEC_FinalizeContext(TEEC_Context *context)
{
	if (context)
		close(context->imp.fd);
}

/* --- shared memory --- */

static void init_shm(TEEC_SharedMemory *shm)
{
	shm->imp.id = NO_SHM;
	shm->imp.fd = -1;
	shm->imp.mapping = NULL;
	shm->imp.mapping_size = 0;
}

static TEEC_Result alloc_shm(TEEC_Context *ctx, TEEC_SharedMemory *shm, size_t size)
{
	struct tee_shm_alloc_data data = { .size = size };
	int fd = ioctl(ctx->imp.fd, TEE_IOC_SHM_ALLOC, &data);
	void *p = NULL;

	if (fd < 0)
		return errno_to_result(errno);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	/* The mapping keeps the memory alive */
	close(fd);
	if (p == MAP_FAILED)
		return TEEC_ERROR_OUT_OF_MEMORY;
	shm->imp.id = data.id;
	shm->imp.mapping = p;
	shm->imp.mapping_size = size;
	return TEEC_SUCCESS;
}

static bool register_shm(TEEC_Context *ctx, TEEC_SharedMemory *shm, size_t size)
{
	struct tee_shm_register_data data = { .addr = (uintptr_t)shm->buffer, .length = size };
	int fd = ctx->imp.reg_mem ? ioctl(ctx->imp.fd, TEE_IOC_SHM_REGISTER, &data) : -1;

	if (fd < 0)
		return false;
	shm->imp.id = data.id;
	shm->imp.fd = fd;
	return true;
}

static bool bad_shm(const TEEC_Context *ctx, const TEEC_SharedMemory *shm)
{
	return !ctx || !shm || !shm->flags || (shm->flags & ~INOUT);
}

/* Nothing can be shared of no bytes, but the API allows it */
static size_t real_size(const TEEC_SharedMemory *shm)
{
	return shm->size ? shm->size : 8;
}

TEEC_Result TEEC_AllocateSharedMemory(TEEC_Context *context, TEEC_SharedMemory *sharedMem)
{
	TEEC_Result res = TEEC_SUCCESS;

	if (bad_shm(context, sharedMem))
		return TEEC_ERROR_BAD_PARAMETERS;
	init_shm(sharedMem);
	res = alloc_shm(context, sharedMem, real_size(sharedMem));
	sharedMem->buffer = sharedMem->imp.mapping;
	return res;
}

/*
 * Memory that cannot be registered (no such capability, or it is read-only) gets a shadow allocated by the driver;
 * then imp.mapping is not buffer, and every call copies.
 */
TEEC_Result TEEC_RegisterSharedMemory(TEEC_Context *context, TEEC_SharedMemory *sharedMem)
{
	if (bad_shm(context, sharedMem) || !sharedMem->buffer)
		return TEEC_ERROR_BAD_PARAMETERS;
	init_shm(sharedMem);
	if (register_shm(context, sharedMem, real_size(sharedMem)))
		return TEEC_SUCCESS;
	return alloc_shm(context, sharedMem, real_size(sharedMem));
}

void TEEC_ReleaseSharedMemory(TEEC_SharedMemory *sharedMem)
{
	if (!sharedMem || sharedMem->imp.id == NO_SHM)
		return;
	if (sharedMem->imp.mapping)
		munmap(sharedMem->imp.mapping, sharedMem->imp.mapping_size);
	if (sharedMem->imp.fd >= 0)
		close(sharedMem->imp.fd);
	init_shm(sharedMem);
	sharedMem->buffer = NULL;
	sharedMem->size = 0;
}

static char *shadow(const TEEC_SharedMemory *shm)
{
	return shm->imp.mapping != shm->buffer ? shm->imp.mapping : NULL;
}

/* --- parameters --- */

struct call {
	TEEC_Operation *op; /* may be NULL */
	struct tee_param *params;
	TEEC_SharedMemory tmp[NUM_PARAMS];
};

static uint64_t attr_of_flags(uint32_t flags)
{
	switch (flags & INOUT) {
	case TEEC_MEM_INPUT:
		return TEE_PARAM_MEMREF_INPUT;
	case TEEC_MEM_OUTPUT:
		return TEE_PARAM_MEMREF_OUTPUT;
	default:
		return TEE_PARAM_MEMREF_INOUT;
	}
}

/* TEEC_MEMREF_TEMP_* and TEEC_MEMREF_PARTIAL_* both count input, output, inout */
static uint32_t flags_of_type(uint32_t type)
{
	switch (type) {
	case TEEC_MEMREF_TEMP_INPUT:
	case TEEC_MEMREF_PARTIAL_INPUT:
		return TEEC_MEM_INPUT;
	case TEEC_MEMREF_TEMP_OUTPUT:
	case TEEC_MEMREF_PARTIAL_OUTPUT:
		return TEEC_MEM_OUTPUT;
	default:
		return INOUT;
	}
}

static void set_memref(struct tee_param *p, uint32_t flags, const TEEC_SharedMemory *shm, size_t offset, size_t size)
{
	p->attr = attr_of_flags(flags);
	p->a = offset;
	p->b = size;
	p->c = (uint64_t)(int64_t)shm->imp.id;
	if ((flags & TEEC_MEM_INPUT) && shadow(shm))
		memcpy(shadow(shm) + offset, (const char *)shm->buffer + offset, size);
}

static TEEC_Result prepare_temp(TEEC_Context *ctx, struct tee_param *p, uint32_t type,
				const TEEC_TempMemoryReference *ref, TEEC_SharedMemory *shm)
{
	TEEC_Result res = TEEC_SUCCESS;

	shm->flags = flags_of_type(type);
	shm->buffer = ref->buffer;
	shm->size = ref->size;
	if (ref->buffer)
		res = TEEC_RegisterSharedMemory(ctx, shm);
	else if (ref->size)
		res = TEEC_ERROR_BAD_PARAMETERS;
	else if (!ctx->imp.memref_null)
		res = TEEC_AllocateSharedMemory(ctx, shm);
	/* A null reference without memory has id NO_SHM, which as 64 bits is TEE_MEMREF_NULL */
	if (!res)
		set_memref(p, shm->flags, shm, 0, ref->size);
	return res;
}

static TEEC_Result prepare_whole(struct tee_param *p, const TEEC_RegisteredMemoryReference *ref)
{
	const TEEC_SharedMemory *shm = ref->parent;

	if (!shm || !(shm->flags & INOUT))
		return TEEC_ERROR_BAD_PARAMETERS;
	set_memref(p, shm->flags, shm, 0, shm->size);
	return TEEC_SUCCESS;
}

static TEEC_Result prepare_partial(struct tee_param *p, uint32_t type, const TEEC_RegisteredMemoryReference *ref)
{
	const TEEC_SharedMemory *shm = ref->parent;
	uint32_t flags = flags_of_type(type);

	if (!shm || (shm->flags & flags) != flags)
		return TEEC_ERROR_BAD_PARAMETERS;
	if (ref->offset > shm->size || ref->size > shm->size - ref->offset)
		return TEEC_ERROR_BAD_PARAMETERS;
	set_memref(p, flags, shm, ref->offset, ref->size);
	return TEEC_SUCCESS;
}

static TEEC_Result prepare_param(TEEC_Context *ctx, struct call *c, size_t n)
{
	uint32_t type = TEEC_PARAM_TYPE_GET(c->op->paramTypes, n);
	TEEC_Parameter *from = c->op->params + n;
	struct tee_param *p = c->params + n;

	switch (type) {
	case TEEC_NONE:
		return TEEC_SUCCESS;
	case TEEC_VALUE_INPUT:
	case TEEC_VALUE_OUTPUT:
	case TEEC_VALUE_INOUT:
		p->attr = type;
		p->a = from->value.a;
		p->b = from->value.b;
		return TEEC_SUCCESS;
	case TEEC_MEMREF_TEMP_INPUT:
	case TEEC_MEMREF_TEMP_OUTPUT:
	case TEEC_MEMREF_TEMP_INOUT:
		return prepare_temp(ctx, p, type, &from->tmpref, c->tmp + n);
	case TEEC_MEMREF_WHOLE:
		return prepare_whole(p, &from->memref);
	case TEEC_MEMREF_PARTIAL_INPUT:
	case TEEC_MEMREF_PARTIAL_OUTPUT:
	case TEEC_MEMREF_PARTIAL_INOUT:
		return prepare_partial(p, type, &from->memref);
	default:
		return TEEC_ERROR_BAD_PARAMETERS;
	}
}

static TEEC_Result prepare(TEEC_Context *ctx, struct call *c)
{
	TEEC_Result res = TEEC_SUCCESS;
	size_t n = 0;

	for (n = 0; n < NUM_PARAMS; n++)
		init_shm(c->tmp + n);
	for (n = 0; c->op && !res && n < NUM_PARAMS; n++)
		res = prepare_param(ctx, c, n);
	return res;
}

/* What the TA wrote, or the size it wants: more than there was means the buffer is too short. */
static void take_memref(const TEEC_SharedMemory *shm, const struct tee_param *p, size_t offset, size_t *size)
{
	size_t out = p->b;

	if (p->attr == TEE_PARAM_MEMREF_INPUT)
		return;
	if (shadow(shm) && out <= *size)
		memcpy((char *)shm->buffer + offset, shadow(shm) + offset, out);
	*size = out;
}

static void take_param(struct call *c, size_t n)
{
	TEEC_Parameter *to = c->op->params + n;
	const struct tee_param *p = c->params + n;

	switch (TEEC_PARAM_TYPE_GET(c->op->paramTypes, n)) {
	case TEEC_VALUE_OUTPUT:
	case TEEC_VALUE_INOUT:
		to->value.a = (uint32_t)p->a;
		to->value.b = (uint32_t)p->b;
		break;
	case TEEC_MEMREF_TEMP_OUTPUT:
	case TEEC_MEMREF_TEMP_INOUT:
		take_memref(c->tmp + n, p, 0, &to->tmpref.size);
		break;
	case TEEC_MEMREF_WHOLE:
		to->memref.size = to->memref.parent->size;
		take_memref(to->memref.parent, p, 0, &to->memref.size);
		break;
	case TEEC_MEMREF_PARTIAL_OUTPUT:
	case TEEC_MEMREF_PARTIAL_INOUT:
		take_memref(to->memref.parent, p, to->memref.offset, &to->memref.size);
		break;
	default:
		break;
	}
}

static void finish(struct call *c, bool served)
{
	size_t n = 0;

	for (n = 0; c->op && n < NUM_PARAMS; n++) {
		if (served)
			take_param(c, n);
		TEEC_ReleaseSharedMemory(c->tmp + n);
	}
}

/* --- sessions --- */

static TEEC_Result result(uint32_t *returnOrigin, uint32_t origin, TEEC_Result res)
{
	if (returnOrigin)
		*returnOrigin = origin;
	return res;
}

static void uuid_to_octets(uint8_t d[16], const TEEC_UUID *u)
{
	const uint8_t head[8] = {
		u->timeLow >> 24, u->timeLow >> 16, u->timeLow >> 8, u->timeLow,
		u->timeMid >> 8, u->timeMid, u->timeHiAndVersion >> 8, u->timeHiAndVersion,
	};

	memcpy(d, head, 8);
	memcpy(d + 8, u->clockSeqAndNode, 8);
}

/* Of all logins only those by group carry data: the gid, which the kernel checks. */
static bool set_login(struct tee_open_session_arg *arg, uint32_t method, const void *data)
{
	arg->clnt_login = method;
	if (method != TEEC_LOGIN_GROUP && method != TEEC_LOGIN_GROUP_APPLICATION)
		return true;
	if (data)
		memcpy(arg->clnt_uuid, data, sizeof(gid_t));
	return data;
}

static TEEC_Result do_ioctl(TEEC_Context *ctx, unsigned long cmd, void *arg, size_t size)
{
	struct tee_buf_data buf = { .buf_ptr = (uintptr_t)arg, .buf_len = size };

	return ioctl(ctx->imp.fd, cmd, &buf) ? errno_to_result(errno) : TEEC_SUCCESS;
}

TEEC_Result TEEC_OpenSession(TEEC_Context *context, TEEC_Session *session, const TEEC_UUID *destination,
			     uint32_t connectionMethod, const void *connectionData, TEEC_Operation *operation,
			     uint32_t *returnOrigin)
{
	struct tee_open_session_arg arg = { .num_params = NUM_PARAMS };
	struct call call = { .op = operation, .params = arg.params };
	TEEC_Result res = TEEC_SUCCESS;

	if (!context || !session || !destination || !set_login(&arg, connectionMethod, connectionData))
		return result(returnOrigin, TEEC_ORIGIN_API, TEEC_ERROR_BAD_PARAMETERS);
	uuid_to_octets(arg.uuid, destination);
	res = prepare(context, &call);
	if (res) {
		finish(&call, false);
		return result(returnOrigin, TEEC_ORIGIN_API, res);
	}
	res = do_ioctl(context, TEE_IOC_OPEN_SESSION, &arg, sizeof(arg));
	finish(&call, !res);
	if (res)
		return result(returnOrigin, TEEC_ORIGIN_COMMS, res);
	if (arg.ret == TEEC_SUCCESS) {
		session->imp.ctx = context;
		session->imp.session_id = arg.session;
	}
	return result(returnOrigin, arg.ret_origin, arg.ret);
}

void TEEC_CloseSession(TEEC_Session *session)
{
	struct tee_close_session_arg arg = { 0 };

	if (!session)
		return;
	arg.session = session->imp.session_id;
	ioctl(session->imp.ctx->imp.fd, TEE_IOC_CLOSE_SESSION, &arg);
}

/* --- invocation and its cancellation --- */

static uint32_t next_cancel_id(void)
{
	static uint32_t counter;

	return __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED);
}

/* From here to unpublish() another thread may cancel the operation. */
static void publish(TEEC_Operation *op, TEEC_Session *session, uint32_t cancel_id)
{
	if (!op)
		return;
	op->started = 1;
	op->imp.cancel_id = cancel_id;
	__atomic_store_n(&op->imp.session, session, __ATOMIC_RELEASE);
}

static void unpublish(TEEC_Operation *op)
{
	if (op)
		__atomic_store_n(&op->imp.session, NULL, __ATOMIC_RELEASE);
}

TEEC_Result TEEC_InvokeCommand(TEEC_Session *session, uint32_t commandID, TEEC_Operation *operation,
			       uint32_t *returnOrigin)
{
	struct tee_invoke_arg arg = { .func = commandID, .num_params = NUM_PARAMS };
	struct call call = { .op = operation, .params = arg.params };
	TEEC_Result res = TEEC_SUCCESS;

	if (!session)
		return result(returnOrigin, TEEC_ORIGIN_API, TEEC_ERROR_BAD_PARAMETERS);
	arg.session = session->imp.session_id;
	arg.cancel_id = next_cancel_id();
	res = prepare(session->imp.ctx, &call);
	if (res) {
		finish(&call, false);
		return result(returnOrigin, TEEC_ORIGIN_API, res);
	}
	publish(operation, session, arg.cancel_id);
	res = do_ioctl(session->imp.ctx, TEE_IOC_INVOKE, &arg, sizeof(arg));
	unpublish(operation);
	finish(&call, !res);
	if (res)
		return result(returnOrigin, TEEC_ORIGIN_COMMS, res);
	return result(returnOrigin, arg.ret_origin, arg.ret);
}

void TEEC_RequestCancellation(TEEC_Operation *operation)
{
	struct tee_cancel_arg arg = { 0 };
	TEEC_Session *session = NULL;

	if (!operation)
		return;
	session = __atomic_load_n(&operation->imp.session, __ATOMIC_ACQUIRE);
	if (!session)
		return;
	arg.session = session->imp.session_id;
	arg.cancel_id = operation->imp.cancel_id;
	ioctl(session->imp.ctx->imp.fd, TEE_IOC_CANCEL, &arg);
}

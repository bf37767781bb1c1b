/* Internal Core API: what operations of all classes have in common. */
#include <string.h>
#include <utee_syscalls.h>

#include "runtime.h"

static bool is_digest(TEE_OperationHandle op)
{
	return op->info.operationClass == TEE_OPERATION_DIGEST;
}

static bool has_two_keys(TEE_OperationHandle op)
{
	return op->info.handleState & TEE_HANDLE_FLAG_EXPECT_TWO_KEYS;
}

static bool has_state(TEE_OperationHandle op, uint32_t flag)
{
	return op->info.handleState & flag;
}

void __utee_check_class(TEE_OperationHandle op, uint32_t operation_class, TEE_Result code)
{
	panic_unless(op != TEE_HANDLE_NULL && op->info.operationClass == operation_class, code);
}

void __utee_check_active(TEE_OperationHandle op, uint32_t operation_class, TEE_Result code)
{
	__utee_check_class(op, operation_class, code);
	panic_unless(has_state(op, TEE_HANDLE_FLAG_INITIALIZED), code);
	panic_unless(op->operationState == TEE_OPERATION_STATE_ACTIVE, code);
}

void __utee_hash_start(TEE_OperationHandle op, const void *iv, size_t iv_len)
{
	TEE_Result res = _utee_hash_init(op->state, iv, iv_len);

	panic_unless(!res, res);
	op->buffered = 0;
	op->info.handleState |= TEE_HANDLE_FLAG_INITIALIZED;
	op->info.handleState &= ~TEE_HANDLE_FLAG_EXTRACTING;
}

void __utee_operation_done(TEE_OperationHandle op)
{
	op->info.handleState &= ~TEE_HANDLE_FLAG_INITIALIZED;
	op->operationState = TEE_OPERATION_STATE_INITIAL;
}

static void reset(TEE_OperationHandle op)
{
	__utee_operation_done(op);
	if (is_digest(op))
		__utee_hash_start(op, NULL, 0);
}

/* --- allocation --- */

/* Digests keep their value, ciphers what makes no whole blocks. */
static size_t buffer_size(const struct algorithm *alg)
{
	if (alg->kind == KIND_DIGEST)
		return alg->digest_len;
	return alg->flags & ALG_TWO_BLOCKS ? 2 * alg->block_size : alg->block_size;
}

static TEE_Result allocate_keys(TEE_OperationHandle op, const struct algorithm_mode *mode)
{
	const uint32_t pair = TEE_TYPE_RSA_KEYPAIR - TEE_TYPE_RSA_PUBLIC_KEY;
	uint32_t type = op->alg->key_type | (mode->private_key ? pair : 0);
	uint32_t size = op->info.maxKeySize / (has_two_keys(op) ? 2 : 1);
	TEE_Result res = TEE_SUCCESS;

	if (is_digest(op))
		return TEE_SUCCESS;
	res = TEE_AllocateTransientObject(type, size, &op->key1);
	if (!res && has_two_keys(op))
		res = TEE_AllocateTransientObject(type, size, &op->key2);
	return res;
}

/* From the first success on the keys belong to the core's state. */
static TEE_Result allocate_state(TEE_OperationHandle op, const struct algorithm_mode *mode)
{
	TEE_Result res = allocate_keys(op, mode);

	if (!res)
		res = _utee_cryp_state_alloc(op->alg->id, op->info.mode, (uintptr_t)op->key1, (uintptr_t)op->key2,
					     &op->state);
	if (res) {
		TEE_FreeTransientObject(op->key1);
		TEE_FreeTransientObject(op->key2);
	}
	return res;
}

static void set_info(TEE_OperationHandle op, const struct algorithm_mode *mode, uint32_t max_key_size)
{
	op->info.algorithm = op->alg->id;
	op->info.operationClass = mode->operation_class;
	op->info.mode = mode->mode;
	op->info.digestLength = op->alg->digest_len;
	op->info.maxKeySize = max_key_size;
	op->info.requiredKeyUsage = mode->usage;
	if (op->alg->flags & ALG_TWO_KEYS)
		op->info.handleState |= TEE_HANDLE_FLAG_EXPECT_TWO_KEYS;
	if (is_digest(op))
		op->info.handleState |= TEE_HANDLE_FLAG_KEY_SET;
}

TEE_Result TEE_AllocateOperation(TEE_OperationHandle *operation, uint32_t algorithm, uint32_t mode,
				 uint32_t maxKeySize)
{
	const struct algorithm *alg = __utee_find_algorithm(algorithm);
	const struct algorithm_mode *m = NULL;
	TEE_OperationHandle op = TEE_HANDLE_NULL;
	TEE_Result res = TEE_SUCCESS;

	panic_unless(operation, 0);
	if (alg && __utee_takes_key_size(alg, maxKeySize))
		m = __utee_find_mode(alg, mode);
	if (!m)
		return TEE_ERROR_NOT_SUPPORTED;
	op = TEE_Malloc(sizeof(*op) + buffer_size(alg), TEE_MALLOC_FILL_ZERO);
	if (!op)
		return TEE_ERROR_OUT_OF_MEMORY;
	op->alg = alg;
	set_info(op, m, maxKeySize);
	res = allocate_state(op, m);
	if (res) {
		TEE_Free(op);
		return documented(res, TEE_ERROR_OUT_OF_MEMORY, TEE_ERROR_NOT_SUPPORTED);
	}
	reset(op);
	*operation = op;
	return TEE_SUCCESS;
}

void TEE_FreeOperation(TEE_OperationHandle operation)
{
	TEE_Result res = TEE_SUCCESS;

	if (operation == TEE_HANDLE_NULL)
		return;
	res = _utee_cryp_state_free(operation->state);
	panic_unless(!res, res);
	TEE_MemFill(operation->buffer, 0, buffer_size(operation->alg));
	TEE_Free(operation);
}

/* --- information --- */

void TEE_GetOperationInfo(TEE_OperationHandle operation, TEE_OperationInfo *operationInfo)
{
	panic_unless(operation != TEE_HANDLE_NULL, 0);
	__utee_check_out(operationInfo);
	*operationInfo = operation->info;
	if (has_two_keys(operation)) {
		operationInfo->keySize = 0;
		operationInfo->requiredKeyUsage = 0;
	}
}

static uint32_t number_of_keys(TEE_OperationHandle op)
{
	if (is_digest(op))
		return 0;
	return has_two_keys(op) ? 2 : 1;
}

TEE_Result TEE_GetOperationInfoMultiple(TEE_OperationHandle operation,
					TEE_OperationInfoMultiple *operationInfoMultiple, size_t *operationSize)
{
	TEE_OperationInfoMultiple *multiple = operationInfoMultiple;
	const TEE_OperationInfo *info = NULL;
	size_t room = 0;
	uint32_t n = 0;

	panic_unless(operation != TEE_HANDLE_NULL, TEE_ERROR_BAD_PARAMETERS);
	info = &operation->info;
	__utee_check_outbuf(multiple, operationSize);
	panic_unless(*operationSize >= sizeof(*multiple), TEE_ERROR_BAD_PARAMETERS);
	memset(multiple, 0, *operationSize);
	room = (*operationSize - sizeof(*multiple)) / sizeof(TEE_OperationInfoKey);
	if (room < number_of_keys(operation))
		return TEE_ERROR_SHORT_BUFFER;
	multiple->algorithm = info->algorithm;
	multiple->operationClass = info->operationClass;
	multiple->mode = info->mode;
	multiple->digestLength = info->digestLength;
	multiple->maxKeySize = info->maxKeySize;
	multiple->handleState = info->handleState;
	multiple->operationState = operation->operationState;
	multiple->numberOfKeys = number_of_keys(operation);
	for (n = 0; n < multiple->numberOfKeys; n++) {
		TEE_ObjectHandle key = n ? operation->key2 : operation->key1;

		multiple->keyInformation[n].keySize = __utee_obj_info(key).obj_size;
		multiple->keyInformation[n].requiredKeyUsage = info->requiredKeyUsage;
	}
	return TEE_SUCCESS;
}

/* --- states and keys --- */

void TEE_ResetOperation(TEE_OperationHandle operation)
{
	panic_unless(operation != TEE_HANDLE_NULL, 0);
	panic_unless(has_state(operation, TEE_HANDLE_FLAG_KEY_SET), 0);
	reset(operation);
}

static void clear_keys(TEE_OperationHandle op)
{
	TEE_ResetTransientObject(op->key1);
	TEE_ResetTransientObject(op->key2);
	op->info.handleState &= ~TEE_HANDLE_FLAG_KEY_SET;
	op->info.keySize = 0;
}

static void reset_if_started(TEE_OperationHandle op)
{
	if (op->operationState != TEE_OPERATION_STATE_INITIAL)
		reset(op);
}

/* TEE_SUCCESS and *size, when the operation may use the key. */
static TEE_Result check_key(TEE_OperationHandle op, TEE_ObjectHandle key, uint32_t *size)
{
	const uint32_t usage = op->info.requiredKeyUsage;
	TEE_ObjectInfo info = { 0 };
	TEE_Result res = TEE_GetObjectInfo1(key, &info);

	*size = info.objectSize;
	if (!res && ((info.objectUsage & usage) != usage || info.objectSize > op->info.maxKeySize))
		res = TEE_ERROR_BAD_PARAMETERS;
	return res;
}

/* A storage error, said of the second of two objects. */
static TEE_Result of_second(TEE_Result res)
{
	if (res == TEE_ERROR_CORRUPT_OBJECT)
		return TEE_ERROR_CORRUPT_OBJECT_2;
	return res == TEE_ERROR_STORAGE_NOT_AVAILABLE ? TEE_ERROR_STORAGE_NOT_AVAILABLE_2 : res;
}

/* key2 is TEE_HANDLE_NULL for an operation with one key; key1 too: the operation loses what it has. */
static TEE_Result set_keys(TEE_OperationHandle op, TEE_ObjectHandle key1, TEE_ObjectHandle key2)
{
	uint32_t size1 = 0;
	uint32_t size2 = 0;
	TEE_Result res = TEE_SUCCESS;

	if (key1 == TEE_HANDLE_NULL && key2 == TEE_HANDLE_NULL) {
		clear_keys(op);
		reset_if_started(op);
		return TEE_SUCCESS;
	}
	if (is_digest(op) || key1 == TEE_HANDLE_NULL || has_two_keys(op) != (key2 != TEE_HANDLE_NULL))
		return TEE_ERROR_BAD_PARAMETERS;
	res = check_key(op, key1, &size1);
	if (!res && has_two_keys(op))
		res = of_second(check_key(op, key2, &size2));
	if (!res && has_two_keys(op) && size1 != size2)
		res = TEE_ERROR_BAD_PARAMETERS;
	if (res)
		return res;
	clear_keys(op);
	res = TEE_CopyObjectAttributes1(op->key1, key1);
	if (!res && has_two_keys(op))
		res = of_second(TEE_CopyObjectAttributes1(op->key2, key2));
	if (res)
		return res;
	op->info.handleState |= TEE_HANDLE_FLAG_KEY_SET;
	op->info.keySize = size1;
	reset_if_started(op);
	return TEE_SUCCESS;
}

TEE_Result TEE_SetOperationKey(TEE_OperationHandle operation, TEE_ObjectHandle key)
{
	panic_unless(operation != TEE_HANDLE_NULL && !has_state(operation, TEE_HANDLE_FLAG_INITIALIZED), 0);
	return documented(set_keys(operation, key, TEE_HANDLE_NULL), TEE_ERROR_CORRUPT_OBJECT,
			  TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_SetOperationKey2(TEE_OperationHandle operation, TEE_ObjectHandle key1, TEE_ObjectHandle key2)
{
	if (operation != TEE_HANDLE_NULL && key1 != TEE_HANDLE_NULL && key1 == key2)
		return TEE_ERROR_SECURITY;
	panic_unless(operation != TEE_HANDLE_NULL && operation->operationState == TEE_OPERATION_STATE_INITIAL, 0);
	panic_unless(key1 == TEE_HANDLE_NULL || has_two_keys(operation), TEE_ERROR_BAD_PARAMETERS);
	return documented(set_keys(operation, key1, key2), TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_CORRUPT_OBJECT_2,
			  TEE_ERROR_STORAGE_NOT_AVAILABLE, TEE_ERROR_STORAGE_NOT_AVAILABLE_2);
}

static void copy_keys(TEE_OperationHandle dst, TEE_OperationHandle src)
{
	bool set = has_state(src, TEE_HANDLE_FLAG_KEY_SET);
	TEE_Result res = set_keys(dst, set ? src->key1 : TEE_HANDLE_NULL, set ? src->key2 : TEE_HANDLE_NULL);

	panic_unless(!res, res);
}

void TEE_CopyOperation(TEE_OperationHandle dstOperation, TEE_OperationHandle srcOperation)
{
	TEE_OperationHandle dst = dstOperation;
	TEE_OperationHandle src = srcOperation;
	TEE_Result res = TEE_SUCCESS;

	panic_unless(dst != TEE_HANDLE_NULL && src != TEE_HANDLE_NULL, 0);
	panic_unless(dst->alg == src->alg && dst->info.mode == src->info.mode, 0);
	if (!is_digest(src))
		copy_keys(dst, src);
	dst->info.handleState = src->info.handleState;
	dst->info.keySize = src->info.keySize;
	dst->info.digestLength = src->info.digestLength;
	dst->operationState = src->operationState;
	dst->buffered = src->buffered;
	memcpy(dst->buffer, src->buffer, buffer_size(src->alg));
	res = _utee_cryp_state_copy(dst->state, src->state);
	panic_unless(!res, res);
}

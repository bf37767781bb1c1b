/* Internal Core API: digests and message authentication codes. To the core both are hashes. */
#include <string.h>
#include <string_ext.h>
#include <utee_syscalls.h>

#include "runtime.h"

#define MAX_MAC_LEN 64

static TEE_Result hash_final(TEE_OperationHandle op, const void *chunk, size_t len, void *out, size_t *out_len)
{
	uint64_t size = *out_len;
	TEE_Result res = _utee_hash_final(op->state, chunk, len, out, &size);

	*out_len = (size_t)size;
	return res;
}

static void hash_update(TEE_OperationHandle op, const void *chunk, size_t len)
{
	TEE_Result res = _utee_hash_update(op->state, chunk, len);

	panic_unless(!res, res);
}

/* --- digests --- */

static bool is_extracting(TEE_OperationHandle op)
{
	return op->operationState == TEE_OPERATION_STATE_EXTRACTING;
}

/* SHAKE: the core gives as much as is asked for, as often as it is asked. */
static bool is_endless(TEE_OperationHandle op)
{
	return !op->alg->digest_len;
}

void TEE_DigestUpdate(TEE_OperationHandle operation, const void *chunk, size_t chunkSize)
{
	__utee_check_class(operation, TEE_OPERATION_DIGEST, 0);
	panic_unless(!is_extracting(operation), 0);
	operation->operationState = TEE_OPERATION_STATE_ACTIVE;
	hash_update(operation, chunk, chunkSize);
}

/* The next bytes of a digest that lies in the buffer, from operation->buffered on. */
static void take_extracted(TEE_OperationHandle op, void *hash, size_t *len)
{
	*len = MIN(*len, op->alg->digest_len - op->buffered);
	memcpy(hash, op->buffer + op->buffered, *len);
	op->buffered += *len;
}

TEE_Result TEE_DigestDoFinal(TEE_OperationHandle operation, const void *chunk, size_t chunkLen, void *hash,
			     size_t *hashLen)
{
	TEE_Result res = TEE_SUCCESS;

	__utee_check_class(operation, TEE_OPERATION_DIGEST, TEE_ERROR_BAD_PARAMETERS);
	panic_unless(chunk || !chunkLen, TEE_ERROR_BAD_PARAMETERS);
	panic_unless(!is_extracting(operation) || !chunkLen, TEE_ERROR_BAD_PARAMETERS);
	__utee_check_inout(hashLen);
	if (is_extracting(operation) && !is_endless(operation))
		take_extracted(operation, hash, hashLen);
	else
		res = documented(hash_final(operation, chunk, chunkLen, hash, hashLen), TEE_ERROR_SHORT_BUFFER);
	if (!res)
		TEE_ResetOperation(operation);
	return res;
}

TEE_Result TEE_DigestExtract(TEE_OperationHandle operation, void *hash, size_t *hashLen)
{
	bool first = false;

	__utee_check_class(operation, TEE_OPERATION_DIGEST, 0);
	__utee_check_inout(hashLen);
	first = !is_extracting(operation);
	operation->operationState = TEE_OPERATION_STATE_EXTRACTING;
	operation->info.handleState |= TEE_HANDLE_FLAG_EXTRACTING;
	if (is_endless(operation)) {
		panic_unless(!hash_final(operation, NULL, 0, hash, hashLen), 0);
		return TEE_SUCCESS;
	}
	if (first) {
		size_t len = operation->alg->digest_len;

		panic_unless(!hash_final(operation, NULL, 0, operation->buffer, &len), 0);
	}
	take_extracted(operation, hash, hashLen);
	return TEE_SUCCESS;
}

/* --- message authentication codes --- */

void TEE_MACInit(TEE_OperationHandle operation, const void *IV, size_t IVLen)
{
	__utee_check_class(operation, TEE_OPERATION_MAC, 0);
	panic_unless(operation->info.handleState & TEE_HANDLE_FLAG_KEY_SET, 0);
	if (operation->operationState != TEE_OPERATION_STATE_INITIAL)
		TEE_ResetOperation(operation);
	operation->operationState = TEE_OPERATION_STATE_ACTIVE;
	__utee_hash_start(operation, IV, IVLen);
}

void TEE_MACUpdate(TEE_OperationHandle operation, const void *chunk, size_t chunkSize)
{
	panic_unless(chunk || !chunkSize, 0);
	__utee_check_active(operation, TEE_OPERATION_MAC, 0);
	hash_update(operation, chunk, chunkSize);
}

static TEE_Result mac_final(TEE_OperationHandle op, const void *message, size_t message_len, void *mac, size_t *mac_len)
{
	TEE_Result res = TEE_SUCCESS;

	panic_unless(message || !message_len, TEE_ERROR_BAD_PARAMETERS);
	__utee_check_active(op, TEE_OPERATION_MAC, TEE_ERROR_BAD_PARAMETERS);
	res = hash_final(op, message, message_len, mac, mac_len);
	if (!res)
		__utee_operation_done(op);
	return res;
}

TEE_Result TEE_MACComputeFinal(TEE_OperationHandle operation, const void *message, size_t messageLen, void *mac,
			       size_t *macLen)
{
	__utee_check_inout(macLen);
	return documented(mac_final(operation, message, messageLen, mac, macLen), TEE_ERROR_SHORT_BUFFER);
}

TEE_Result TEE_MACCompareFinal(TEE_OperationHandle operation, const void *message, size_t messageLen,
			       const void *mac, size_t macLen)
{
	uint8_t computed[MAX_MAC_LEN];
	size_t len = sizeof(computed);
	TEE_Result res = mac_final(operation, message, messageLen, computed, &len);
	bool same = false;

	panic_unless(!res, res);
	same = len == macLen && !consttime_memcmp(mac, computed, len);
	memzero_explicit(computed, sizeof(computed));
	return same ? TEE_SUCCESS : TEE_ERROR_MAC_INVALID;
}

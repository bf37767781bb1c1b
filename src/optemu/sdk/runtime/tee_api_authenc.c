/* Internal Core API: authenticated encryption. */
#include <utee_syscalls.h>

#include "runtime.h"

/* GlobalPlatform's tag lengths for GCM, in bits; those of CCM the core knows. */
static bool is_gcm_tag(uint32_t bits)
{
	return bits >= 96 && bits <= 128 && bits % 8 == 0;
}

TEE_Result TEE_AEInit(TEE_OperationHandle operation, const void *nonce, size_t nonceLen, uint32_t tagLen,
		      size_t AADLen, size_t payloadLen)
{
	TEE_Result res = TEE_SUCCESS;

	panic_unless(operation != TEE_HANDLE_NULL && nonce, TEE_ERROR_BAD_PARAMETERS);
	__utee_check_class(operation, TEE_OPERATION_AE, TEE_ERROR_BAD_PARAMETERS);
	panic_unless(operation->operationState == TEE_OPERATION_STATE_INITIAL, TEE_ERROR_BAD_PARAMETERS);
	if (operation->info.algorithm == TEE_ALG_AES_GCM && !is_gcm_tag(tagLen))
		return TEE_ERROR_NOT_SUPPORTED;
	res = _utee_authenc_init(operation->state, nonce, nonceLen, tagLen / 8, AADLen, payloadLen);
	if (!res) {
		operation->info.digestLength = tagLen / 8;
		operation->buffered = 0;
		operation->info.handleState |= TEE_HANDLE_FLAG_INITIALIZED;
	}
	return documented(res, TEE_ERROR_NOT_SUPPORTED);
}

static void check_initialized(TEE_OperationHandle op, TEE_Result code)
{
	__utee_check_class(op, TEE_OPERATION_AE, code);
	panic_unless(op->info.handleState & TEE_HANDLE_FLAG_INITIALIZED, code);
}

/* The operation stays in its initial state until there is payload. */
void TEE_AEUpdateAAD(TEE_OperationHandle operation, const void *AADdata, size_t AADdataLen)
{
	TEE_Result res = TEE_SUCCESS;

	panic_unless(AADdata || !AADdataLen, 0);
	check_initialized(operation, 0);
	panic_unless(operation->operationState == TEE_OPERATION_STATE_INITIAL, 0);
	res = _utee_authenc_update_aad(operation->state, AADdata, AADdataLen);
	panic_unless(!res, res);
}

static size_t update(TEE_OperationHandle op, const void *src, size_t src_len, void *dst, size_t room)
{
	return __utee_buffered_update(op, _utee_authenc_update_payload, src, src_len, dst, room);
}

TEE_Result TEE_AEUpdate(TEE_OperationHandle operation, const void *srcData, size_t srcLen, void *destData,
			size_t *destLen)
{
	size_t needed = 0;

	panic_unless(operation != TEE_HANDLE_NULL && (srcData || !srcLen), TEE_ERROR_BAD_PARAMETERS);
	__utee_check_outbuf(destData, destLen);
	check_initialized(operation, TEE_ERROR_BAD_PARAMETERS);
	needed = srcData ? __utee_ready(operation, srcLen) : 0;
	if (*destLen < needed) {
		*destLen = needed;
		return TEE_ERROR_SHORT_BUFFER;
	}
	*destLen = update(operation, srcData, srcLen, destData, *destLen);
	if (srcLen)
		operation->operationState = TEE_OPERATION_STATE_ACTIVE;
	return TEE_SUCCESS;
}

/* What both final functions begin with: the size of all output that is still to come. */
static size_t check_final(TEE_OperationHandle op, const void *src, size_t src_len)
{
	size_t needed = 0;

	panic_unless(src || !src_len, TEE_ERROR_BAD_PARAMETERS);
	check_initialized(op, TEE_ERROR_BAD_PARAMETERS);
	panic_unless(!ADD_OVERFLOW(op->buffered, src_len, &needed), TEE_ERROR_BAD_PARAMETERS);
	return needed;
}

/* Input that the final system call has yet to get, and where its output goes. */
struct rest {
	const void *src;
	size_t src_len;
	void *dst;
	uint64_t dst_len;
};

/* Sends what can be sent before; with whole blocks only, the rest is then in the buffer. The bytes written. */
static size_t send_first(TEE_OperationHandle op, struct rest *r)
{
	size_t written = 0;

	if (!op->alg->block_size)
		return 0;
	written = update(op, r->src, r->src_len, r->dst, (size_t)r->dst_len);
	*r = (struct rest){ op->buffer, op->buffered, (uint8_t *)r->dst + written, r->dst_len - written };
	return written;
}

TEE_Result TEE_AEEncryptFinal(TEE_OperationHandle operation, const void *srcData, size_t srcLen, void *destData,
			      size_t *destLen, void *tag, size_t *tagLen)
{
	struct rest r = { srcData, srcLen, destData, 0 };
	size_t needed = 0;
	size_t written = 0;
	uint64_t tag_len = 0;
	bool fits = true;
	TEE_Result res = TEE_SUCCESS;

	panic_unless(operation != TEE_HANDLE_NULL, TEE_ERROR_BAD_PARAMETERS);
	__utee_check_inout(destLen);
	__utee_check_inout(tagLen);
	needed = check_final(operation, srcData, srcLen);
	r.dst_len = *destLen;
	tag_len = *tagLen;
	if (*destLen < needed) {
		*destLen = needed;
		fits = false;
	}
	if (*tagLen < operation->info.digestLength) {
		*tagLen = operation->info.digestLength;
		fits = false;
	}
	if (!fits)
		return TEE_ERROR_SHORT_BUFFER;
	written = send_first(operation, &r);
	res = _utee_authenc_enc_final(operation->state, r.src, r.src_len, r.dst, &r.dst_len, tag, &tag_len);
	panic_unless(!res, res);
	*destLen = written + (size_t)r.dst_len;
	*tagLen = (size_t)tag_len;
	__utee_operation_done(operation);
	return TEE_SUCCESS;
}

TEE_Result TEE_AEDecryptFinal(TEE_OperationHandle operation, const void *srcData, size_t srcLen, void *destData,
			      size_t *destLen, void *tag, size_t tagLen)
{
	struct rest r = { srcData, srcLen, destData, 0 };
	size_t needed = 0;
	size_t written = 0;
	TEE_Result res = TEE_SUCCESS;

	panic_unless(operation != TEE_HANDLE_NULL, TEE_ERROR_BAD_PARAMETERS);
	__utee_check_inout(destLen);
	needed = check_final(operation, srcData, srcLen);
	r.dst_len = *destLen;
	if (*destLen < needed) {
		*destLen = needed;
		return TEE_ERROR_SHORT_BUFFER;
	}
	written = send_first(operation, &r);
	res = _utee_authenc_dec_final(operation->state, r.src, r.src_len, r.dst, &r.dst_len, tag, tagLen);
	if (res)
		return documented(res, TEE_ERROR_SHORT_BUFFER, TEE_ERROR_MAC_INVALID);
	*destLen = written + (size_t)r.dst_len;
	__utee_operation_done(operation);
	return tagLen == operation->info.digestLength ? TEE_SUCCESS : TEE_ERROR_MAC_INVALID;
}

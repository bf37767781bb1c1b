/* Internal Core API: asymmetric operations and key derivation. */
#include <utee_syscalls.h>

#include "runtime.h"

static void check(TEE_OperationHandle op, uint32_t operation_class, uint32_t mode, const TEE_Attribute *params,
		  uint32_t count)
{
	panic_unless(op != TEE_HANDLE_NULL, 0);
	__utee_check_attrs(params, count);
	__utee_check_class(op, operation_class, 0);
	panic_unless(op->info.mode == mode, 0);
}

static TEE_Result operate(TEE_OperationHandle op, const TEE_Attribute *params, uint32_t count, const void *src,
			  size_t src_len, void *dst, size_t *dst_len)
{
	struct utee_attribute ua[ATTRS_ROOM(count)];
	uint64_t len = *dst_len;
	TEE_Result res = TEE_SUCCESS;

	__utee_from_attr(ua, params, count);
	res = _utee_asymm_operate(op->state, ua, count, src, src_len, dst, &len);
	*dst_len = (size_t)len;
	return res;
}

static TEE_Result cipher(TEE_OperationHandle op, uint32_t mode, const TEE_Attribute *params, uint32_t count,
			 const void *src, size_t src_len, void *dst, size_t *dst_len)
{
	panic_unless(src || !src_len, 0);
	__utee_check_inout(dst_len);
	check(op, TEE_OPERATION_ASYMMETRIC_CIPHER, mode, params, count);
	return documented(operate(op, params, count, src, src_len, dst, dst_len), TEE_ERROR_SHORT_BUFFER,
			  TEE_ERROR_BAD_PARAMETERS, TEE_ERROR_CIPHERTEXT_INVALID, TEE_ERROR_NOT_SUPPORTED);
}

TEE_Result TEE_AsymmetricEncrypt(TEE_OperationHandle operation, const TEE_Attribute *params, uint32_t paramCount,
				 const void *srcData, size_t srcLen, void *destData, size_t *destLen)
{
	return cipher(operation, TEE_MODE_ENCRYPT, params, paramCount, srcData, srcLen, destData, destLen);
}

TEE_Result TEE_AsymmetricDecrypt(TEE_OperationHandle operation, const TEE_Attribute *params, uint32_t paramCount,
				 const void *srcData, size_t srcLen, void *destData, size_t *destLen)
{
	return cipher(operation, TEE_MODE_DECRYPT, params, paramCount, srcData, srcLen, destData, destLen);
}

TEE_Result TEE_AsymmetricSignDigest(TEE_OperationHandle operation, const TEE_Attribute *params, uint32_t paramCount,
				    const void *digest, size_t digestLen, void *signature, size_t *signatureLen)
{
	panic_unless(digest || !digestLen, 0);
	__utee_check_inout(signatureLen);
	check(operation, TEE_OPERATION_ASYMMETRIC_SIGNATURE, TEE_MODE_SIGN, params, paramCount);
	return documented(operate(operation, params, paramCount, digest, digestLen, signature, signatureLen),
			  TEE_ERROR_SHORT_BUFFER);
}

static TEE_Result verify(TEE_OperationHandle op, const TEE_Attribute *params, uint32_t count, const void *digest,
			 size_t digest_len, const void *signature, size_t signature_len)
{
	struct utee_attribute ua[ATTRS_ROOM(count)];

	__utee_from_attr(ua, params, count);
	return _utee_asymm_verify(op->state, ua, count, digest, digest_len, signature, signature_len);
}

TEE_Result TEE_AsymmetricVerifyDigest(TEE_OperationHandle operation, const TEE_Attribute *params,
				      uint32_t paramCount, const void *digest, size_t digestLen,
				      const void *signature, size_t signatureLen)
{
	panic_unless((digest || !digestLen) && (signature || !signatureLen), 0);
	check(operation, TEE_OPERATION_ASYMMETRIC_SIGNATURE, TEE_MODE_VERIFY, params, paramCount);
	return documented(verify(operation, params, paramCount, digest, digestLen, signature, signatureLen),
			  TEE_ERROR_SIGNATURE_INVALID);
}

void TEE_DeriveKey(TEE_OperationHandle operation, const TEE_Attribute *params, uint32_t paramCount,
		   TEE_ObjectHandle derivedKey)
{
	struct utee_object_info info = { 0 };
	TEE_Result res = TEE_SUCCESS;

	panic_unless(derivedKey != TEE_HANDLE_NULL, 0);
	check(operation, TEE_OPERATION_KEY_DERIVATION, TEE_MODE_DERIVE, params, paramCount);
	panic_unless(operation->info.handleState & TEE_HANDLE_FLAG_KEY_SET, 0);
	info = __utee_obj_info(derivedKey);
	panic_unless(info.obj_type == TEE_TYPE_GENERIC_SECRET, 0);
	panic_unless(!(info.handle_flags & TEE_HANDLE_FLAG_INITIALIZED), 0);
	struct utee_attribute ua[ATTRS_ROOM(paramCount)];

	__utee_from_attr(ua, params, paramCount);
	res = _utee_cryp_derive_key(operation->state, ua, paramCount, (uintptr_t)derivedKey);
	panic_unless(!res, res);
}

/* Operations. The first word is the operation. */
#include <string.h>

#include "crypt.h"

#define OP OPERATION(r->w[0])
#define IN r->in.p, r->in.len
#define OUT r->out.p, &r->out.len
#define ATTRS r->attrs, r->attr_count

static TEE_Result allocate(struct request *r)
{
	TEE_OperationHandle op = TEE_HANDLE_NULL;
	TEE_Result res = TEE_AllocateOperation(&op, (uint32_t)r->w[0], (uint32_t)r->w[1], (uint32_t)r->w[2]);

	r->w[0] = (uintptr_t)op;
	return res;
}

static TEE_Result get_info(struct request *r)
{
	TEE_OperationInfo info = { 0 };

	TEE_GetOperationInfo(OP, &info);
	r->w[0] = info.algorithm;
	r->w[1] = info.operationClass;
	r->w[2] = info.mode;
	r->w[3] = info.digestLength;
	r->w[4] = info.maxKeySize;
	r->w[5] = info.keySize;
	r->w[6] = info.requiredKeyUsage;
	r->w[7] = info.handleState;
	return TEE_SUCCESS;
}

static TEE_Result cipher_update(struct request *r)
{
	const void *src = r->w[1] ? r->out.p : r->in.p;
	size_t len = r->w[1] ? (size_t)r->w[2] : r->in.len;

	return TEE_CipherUpdate(OP, src, len, OUT);
}

/* The core writes random numbers into the TA's own memory only. */
static TEE_Result generate_random(struct request *r)
{
	void *p = TEE_Malloc(r->out.len, TEE_MALLOC_FILL_ZERO);

	if (!p)
		return TEE_ERROR_OUT_OF_MEMORY;
	TEE_GenerateRandom(p, r->out.len);
	if (r->out.len)
		memcpy(r->out.p, p, r->out.len);
	TEE_Free(p);
	return TEE_SUCCESS;
}

/* One function, one call. */
#define RETURNS(name, call)                      \
	static TEE_Result name(struct request *r) \
	{                                         \
		return call;                      \
	}
#define NO_RESULT(name, call)                    \
	static TEE_Result name(struct request *r) \
	{                                         \
		call;                             \
		return TEE_SUCCESS;               \
	}

NO_RESULT(free_operation, TEE_FreeOperation(OP))
RETURNS(get_info_multiple, TEE_GetOperationInfoMultiple(OP, OUT))
NO_RESULT(reset, TEE_ResetOperation(OP))
RETURNS(set_key, TEE_SetOperationKey(OP, OBJECT(r->w[1])))
RETURNS(set_key2, TEE_SetOperationKey2(OP, OBJECT(r->w[1]), OBJECT(r->w[2])))
NO_RESULT(copy, TEE_CopyOperation(OP, OPERATION(r->w[1])))
RETURNS(is_supported, TEE_IsAlgorithmSupported((uint32_t)r->w[0], (uint32_t)r->w[1]))
NO_RESULT(digest_update, TEE_DigestUpdate(OP, IN))
RETURNS(digest_do_final, TEE_DigestDoFinal(OP, IN, OUT))
RETURNS(digest_extract, TEE_DigestExtract(OP, OUT))
NO_RESULT(cipher_init, TEE_CipherInit(OP, IN))
RETURNS(cipher_do_final, TEE_CipherDoFinal(OP, IN, OUT))
NO_RESULT(mac_init, TEE_MACInit(OP, IN))
NO_RESULT(mac_update, TEE_MACUpdate(OP, IN))
RETURNS(mac_compute_final, TEE_MACComputeFinal(OP, IN, OUT))
RETURNS(mac_compare_final, TEE_MACCompareFinal(OP, IN, r->out.p, r->out.len))
RETURNS(ae_init, TEE_AEInit(OP, IN, (uint32_t)r->w[1], (size_t)r->w[2], (size_t)r->w[3]))
NO_RESULT(ae_update_aad, TEE_AEUpdateAAD(OP, IN))
RETURNS(ae_update, TEE_AEUpdate(OP, IN, OUT))
RETURNS(ae_encrypt_final, TEE_AEEncryptFinal(OP, IN, OUT, r->tag.p, &r->tag.len))
RETURNS(ae_decrypt_final, TEE_AEDecryptFinal(OP, IN, OUT, r->tag.p, r->tag.len))
RETURNS(encrypt, TEE_AsymmetricEncrypt(OP, ATTRS, IN, OUT))
RETURNS(decrypt, TEE_AsymmetricDecrypt(OP, ATTRS, IN, OUT))
RETURNS(sign, TEE_AsymmetricSignDigest(OP, ATTRS, IN, OUT))
RETURNS(verify, TEE_AsymmetricVerifyDigest(OP, ATTRS, IN, r->out.p, r->out.len))
NO_RESULT(derive, TEE_DeriveKey(OP, ATTRS, OBJECT(r->w[1])))

command *const operation_commands[CRYPT_COMMANDS] = {
	[CRYPT_TEE_AllocateOperation] = allocate,
	[CRYPT_TEE_FreeOperation] = free_operation,
	[CRYPT_TEE_GetOperationInfo] = get_info,
	[CRYPT_TEE_GetOperationInfoMultiple] = get_info_multiple,
	[CRYPT_TEE_ResetOperation] = reset,
	[CRYPT_TEE_SetOperationKey] = set_key,
	[CRYPT_TEE_SetOperationKey2] = set_key2,
	[CRYPT_TEE_CopyOperation] = copy,
	[CRYPT_TEE_IsAlgorithmSupported] = is_supported,
	[CRYPT_TEE_DigestUpdate] = digest_update,
	[CRYPT_TEE_DigestDoFinal] = digest_do_final,
	[CRYPT_TEE_DigestExtract] = digest_extract,
	[CRYPT_TEE_CipherInit] = cipher_init,
	[CRYPT_TEE_CipherUpdate] = cipher_update,
	[CRYPT_TEE_CipherDoFinal] = cipher_do_final,
	[CRYPT_TEE_MACInit] = mac_init,
	[CRYPT_TEE_MACUpdate] = mac_update,
	[CRYPT_TEE_MACComputeFinal] = mac_compute_final,
	[CRYPT_TEE_MACCompareFinal] = mac_compare_final,
	[CRYPT_TEE_AEInit] = ae_init,
	[CRYPT_TEE_AEUpdateAAD] = ae_update_aad,
	[CRYPT_TEE_AEUpdate] = ae_update,
	[CRYPT_TEE_AEEncryptFinal] = ae_encrypt_final,
	[CRYPT_TEE_AEDecryptFinal] = ae_decrypt_final,
	[CRYPT_TEE_AsymmetricEncrypt] = encrypt,
	[CRYPT_TEE_AsymmetricDecrypt] = decrypt,
	[CRYPT_TEE_AsymmetricSignDigest] = sign,
	[CRYPT_TEE_AsymmetricVerifyDigest] = verify,
	[CRYPT_TEE_DeriveKey] = derive,
	[CRYPT_TEE_GenerateRandom] = generate_random,
};

/* Operations: one at a time, made anew when another algorithm is asked for. */
#include <utee_syscalls.h>

#include "speed.h"

#define KEY_BITS 128
#define HASH_SIZE 32
#define TAG_SIZE 16

static const uint8_t iv[16];
static const uint8_t hash[HASH_SIZE] = { 0x5a };

static struct {
	uint32_t algorithm;
	uint32_t mode;
	TEE_OperationHandle op;
	TEE_ObjectHandle key;
	TEE_ObjectHandle key2;
	uint8_t signature[512];
	size_t signature_len;
} current;

static TEE_ObjectHandle new_key(uint32_t type, uint32_t bits)
{
	TEE_Attribute curve = { 0 };
	TEE_ObjectHandle key = TEE_HANDLE_NULL;

	TEE_InitValueAttribute(&curve, TEE_ATTR_ECC_CURVE, TEE_ECC_CURVE_NIST_P256, 0);
	must(TEE_AllocateTransientObject(type, bits, &key));
	must(TEE_GenerateKey(key, bits, &curve, type == TEE_TYPE_ECDSA_KEYPAIR));
	return key;
}

static uint32_t operation_class(uint32_t algorithm)
{
	return algorithm >> 28;
}

/* With keys of its own, or with those there are where only the mode is another. */
static void prepare(uint32_t algorithm, uint32_t mode, uint32_t type, uint32_t bits)
{
	const uint32_t keys = algorithm == TEE_ALG_AES_XTS ? 2 : 1;

	if (current.algorithm == algorithm && current.mode == mode)
		return;
	TEE_FreeOperation(current.op);
	must(TEE_AllocateOperation(&current.op, algorithm, mode, bits * keys));
	if (type && current.algorithm != algorithm) {
		TEE_FreeTransientObject(current.key);
		TEE_FreeTransientObject(current.key2);
		current.key = new_key(type, bits);
		current.key2 = keys == 2 ? new_key(type, bits) : TEE_HANDLE_NULL;
	}
	if (type && keys == 2)
		must(TEE_SetOperationKey2(current.op, current.key, current.key2));
	else if (type)
		must(TEE_SetOperationKey(current.op, current.key));
	if (operation_class(algorithm) == TEE_OPERATION_CIPHER)
		TEE_CipherInit(current.op, iv, sizeof(iv));
	current.algorithm = algorithm;
	current.mode = mode;
}

static void authenticated(uint8_t *buffer, size_t len)
{
	uint8_t tag[TAG_SIZE];
	size_t tag_len = sizeof(tag);
	size_t out = len;

	must(TEE_AEInit(current.op, iv, 12, 8 * TAG_SIZE, 0, len));
	must(TEE_AEEncryptFinal(current.op, buffer, len, buffer, &out, tag, &tag_len));
}

void data(uint32_t algorithm, void *buffer, size_t len)
{
	uint8_t digest[HASH_SIZE];
	size_t out = sizeof(digest);

	switch (operation_class(algorithm)) {
	case TEE_OPERATION_DIGEST:
		prepare(algorithm, TEE_MODE_DIGEST, 0, 0);
		must(TEE_DigestDoFinal(current.op, buffer, len, digest, &out));
		TEE_MemMove(buffer, digest, out);
		break;
	case TEE_OPERATION_AE:
		prepare(algorithm, TEE_MODE_ENCRYPT, TEE_TYPE_AES, KEY_BITS);
		authenticated(buffer, len);
		break;
	default:
		prepare(algorithm, TEE_MODE_ENCRYPT, TEE_TYPE_AES, KEY_BITS);
		out = len;
		/* Each buffer is a unit of its own, as a disk's sectors are. */
		if (algorithm == TEE_ALG_AES_XTS)
			TEE_CipherInit(current.op, iv, sizeof(iv));
		must(TEE_CipherUpdate(current.op, buffer, len, buffer, &out));
	}
}

/* TEE_TYPE_*_KEYPAIR of a signature's algorithm. */
static uint32_t key_type(uint32_t algorithm)
{
	return algorithm == TEE_ALG_ECDSA_SHA256 ? TEE_TYPE_ECDSA_KEYPAIR : TEE_TYPE_RSA_KEYPAIR;
}

void sign(uint32_t algorithm, uint32_t bits)
{
	prepare(algorithm, TEE_MODE_SIGN, key_type(algorithm), bits);
	current.signature_len = sizeof(current.signature);
	must(TEE_AsymmetricSignDigest(current.op, NULL, 0, hash, sizeof(hash), current.signature,
				      &current.signature_len));
}

void verify(uint32_t algorithm, uint32_t bits)
{
	if (current.algorithm != algorithm)
		sign(algorithm, bits);
	prepare(algorithm, TEE_MODE_VERIFY, key_type(algorithm), bits);
	must(TEE_AsymmetricVerifyDigest(current.op, NULL, 0, hash, sizeof(hash), current.signature,
					current.signature_len));
}

void generate_key(uint32_t type, uint32_t bits)
{
	TEE_FreeTransientObject(new_key(type, bits));
}

static void call(uint32_t which)
{
	TEE_ObjectInfo info = { 0 };
	uint32_t old = 0;

	switch (which) {
	case SPEED_CALL_BARE:
		must(_utee_unmask_cancellation(&old));
		break;
	case SPEED_CALL_HASH_UPDATE:
		TEE_DigestUpdate(current.op, hash, 0);
		break;
	case SPEED_CALL_GET_OBJECT_INFO:
		must(TEE_GetObjectInfo1(current.key, &info));
		break;
	case SPEED_CALL_RESET_OPERATION:
		TEE_ResetOperation(current.op);
		break;
	case SPEED_CALL_CIPHER_INIT:
		TEE_CipherInit(current.op, iv, sizeof(iv));
		break;
	default:
		TEE_Panic(TEE_ERROR_NOT_IMPLEMENTED);
	}
}

void calls(uint32_t which, uint32_t count)
{
	if (which == SPEED_CALL_GET_OBJECT_INFO || which == SPEED_CALL_CIPHER_INIT)
		prepare(TEE_ALG_AES_CBC_NOPAD, TEE_MODE_ENCRYPT, TEE_TYPE_AES, KEY_BITS);
	else
		prepare(TEE_ALG_SHA256, TEE_MODE_DIGEST, 0, 0);
	while (count--)
		call(which);
}

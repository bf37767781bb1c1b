/*
 * crypt: hands its parameters to the TEE_* function that the command is named after, and gives back its result.
 *
 * All commands take the same parameters, each of which may be a NULL reference:
 *   p0 memref_inout  eight u64 (w), then attributes. Results are written over w, from its start.
 *   p1 memref_in     in: passed as it is, where it lies in shared memory
 *   p2 memref_inout  out: the buffer; its size becomes what the function made of it
 *   p3 memref_inout  tag: the same for a second buffer
 * Attributes are packed one after the other up to the end of p0, as u32: identifier, a, b for a value; identifier,
 * size, and then that many octets, for a reference. The last of w is how many there are.
 * Handles are passed as they are. Identifiers of objects are copied into this TA's memory before.
 */
#ifndef CRYPT_TA_H
#define CRYPT_TA_H

#define TA_CRYPT_UUID \
	{ 0xc2f5a6d1, 0x3b0e, 0x4d8a, { 0x91, 0x7c, 0x5e, 0x20, 0x4b, 0x9f, 0x63, 0x72 } }
/* The same built for Arm32. */
#define TA_CRYPT_ARM_UUID \
	{ 0xc2f5a6d1, 0x3b0e, 0x4d8a, { 0x91, 0x7c, 0x5e, 0x20, 0x4b, 0x9f, 0x33, 0x32 } }

/* w: object -> type, size, maximum size, usage, data size, data position, flags */
#define CRYPT_TEE_GetObjectInfo1 0
/* w: object, usage */
#define CRYPT_TEE_RestrictObjectUsage1 1
/* w: object, attribute; out */
#define CRYPT_TEE_GetObjectBufferAttribute 2
/* w: object, attribute -> a, b */
#define CRYPT_TEE_GetObjectValueAttribute 3
/* w: object */
#define CRYPT_TEE_CloseObject 4
/* w: type, size -> object */
#define CRYPT_TEE_AllocateTransientObject 5
/* w: object */
#define CRYPT_TEE_FreeTransientObject 6
/* w: object */
#define CRYPT_TEE_ResetTransientObject 7
/* w: object; attributes */
#define CRYPT_TEE_PopulateTransientObject 8
/* w: destination, source */
#define CRYPT_TEE_CopyObjectAttributes1 9
/* w: object, size; attributes */
#define CRYPT_TEE_GenerateKey 10
/* w: algorithm, mode, size -> operation */
#define CRYPT_TEE_AllocateOperation 11
/* w: operation (and so the first of all that follow up to TEE_DeriveKey) */
#define CRYPT_TEE_FreeOperation 12
/* -> w: the eight members of TEE_OperationInfo */
#define CRYPT_TEE_GetOperationInfo 13
/* out: TEE_OperationInfoMultiple */
#define CRYPT_TEE_GetOperationInfoMultiple 14
#define CRYPT_TEE_ResetOperation 15
/* w: ..., key */
#define CRYPT_TEE_SetOperationKey 16
/* w: ..., key 1, key 2 */
#define CRYPT_TEE_SetOperationKey2 17
/* w: destination, source */
#define CRYPT_TEE_CopyOperation 18
/* w: algorithm, element */
#define CRYPT_TEE_IsAlgorithmSupported 19
/* in */
#define CRYPT_TEE_DigestUpdate 20
/* in, out */
#define CRYPT_TEE_DigestDoFinal 21
/* out */
#define CRYPT_TEE_DigestExtract 22
/* in: the initialization vector */
#define CRYPT_TEE_CipherInit 23
/* w: ..., 1 and n: in place, in is the first n octets of out; in, out */
#define CRYPT_TEE_CipherUpdate 24
/* in, out */
#define CRYPT_TEE_CipherDoFinal 25
/* in: the initialization vector */
#define CRYPT_TEE_MACInit 26
/* in */
#define CRYPT_TEE_MACUpdate 27
/* in, out */
#define CRYPT_TEE_MACComputeFinal 28
/* in, out: the MAC to compare with */
#define CRYPT_TEE_MACCompareFinal 29
/* w: ..., tag bits, AAD size, payload size; in: the nonce */
#define CRYPT_TEE_AEInit 30
/* in */
#define CRYPT_TEE_AEUpdateAAD 31
/* in, out */
#define CRYPT_TEE_AEUpdate 32
/* in, out, tag */
#define CRYPT_TEE_AEEncryptFinal 33
/* in, out, tag */
#define CRYPT_TEE_AEDecryptFinal 34
/* in, out; attributes */
#define CRYPT_TEE_AsymmetricEncrypt 35
/* in, out; attributes */
#define CRYPT_TEE_AsymmetricDecrypt 36
/* in, out; attributes */
#define CRYPT_TEE_AsymmetricSignDigest 37
/* in, out: the signature; attributes */
#define CRYPT_TEE_AsymmetricVerifyDigest 38
/* w: ..., object; attributes */
#define CRYPT_TEE_DeriveKey 39
/* out */
#define CRYPT_TEE_GenerateRandom 40
/* w: storage, flags -> object; in: the identifier */
#define CRYPT_TEE_OpenPersistentObject 41
/* w: storage, flags, attributes' object, 1: no handle wanted -> object; in: the identifier, out: the data */
#define CRYPT_TEE_CreatePersistentObject 42
/* w: object */
#define CRYPT_TEE_CloseAndDeletePersistentObject1 43
/* w: object; in: the identifier */
#define CRYPT_TEE_RenamePersistentObject 44
/* -> w: enumerator */
#define CRYPT_TEE_AllocatePersistentObjectEnumerator 45
/* w: enumerator */
#define CRYPT_TEE_FreePersistentObjectEnumerator 46
/* w: enumerator */
#define CRYPT_TEE_ResetPersistentObjectEnumerator 47
/* w: enumerator, storage */
#define CRYPT_TEE_StartPersistentObjectEnumerator 48
/* w: enumerator -> as TEE_GetObjectInfo1; out: the identifier */
#define CRYPT_TEE_GetNextPersistentObject 49
/* w: object; out */
#define CRYPT_TEE_ReadObjectData 50
/* w: object; in */
#define CRYPT_TEE_WriteObjectData 51
/* w: object, size */
#define CRYPT_TEE_TruncateObjectData 52
/* w: object, offset, whence */
#define CRYPT_TEE_SeekObjectData 53
#define CRYPT_COMMANDS 54

#endif

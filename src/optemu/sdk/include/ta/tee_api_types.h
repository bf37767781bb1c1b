/* Types of the GlobalPlatform TEE Internal Core API 1.3.1. */
#ifndef TEE_API_TYPES_H
#define TEE_API_TYPES_H

#include <compiler.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <tee_api_defines.h>

typedef uint32_t TEE_Result;

typedef struct {
	uint32_t timeLow;
	uint16_t timeMid;
	uint16_t timeHiAndVersion;
	uint8_t clockSeqAndNode[8];
} TEE_UUID;

/* Who calls: a TEE_LOGIN_* method and the client's UUID, nil when there is none. */
typedef struct {
	uint32_t login;
	TEE_UUID uuid;
} TEE_Identity;

/* One parameter; its type in paramTypes says which member holds. */
typedef union {
	struct {
		void *buffer;
		size_t size;
	} memref;
	struct {
		uint32_t a;
		uint32_t b;
	} value;
} TEE_Param;

typedef struct {
	uint32_t seconds;
	uint32_t millis;
} TEE_Time;

typedef struct __TEE_TASessionHandle *TEE_TASessionHandle;
/* A TEE_PROPSET_* pseudo handle or an enumerator. */
typedef struct __TEE_PropSetHandle *TEE_PropSetHandle;

typedef uint32_t TEE_ErrorOrigin;

/* --- objects --- */

typedef struct __TEE_ObjectHandle *TEE_ObjectHandle;
typedef struct __TEE_ObjectEnumHandle *TEE_ObjectEnumHandle;

typedef uint32_t TEE_ObjectType; /* TEE_TYPE_* */
typedef uint32_t TEE_Whence; /* TEE_DATA_SEEK_* */

typedef struct {
	uint32_t objectType;
	uint32_t objectSize; /* bits */
	uint32_t maxObjectSize; /* bits */
	uint32_t objectUsage; /* TEE_USAGE_* */
	size_t dataSize; /* bytes */
	size_t dataPosition;
	uint32_t handleFlags; /* TEE_HANDLE_FLAG_* */
} TEE_ObjectInfo;

/* content.value holds if attributeID has TEE_ATTR_FLAG_VALUE, else content.ref. */
typedef struct {
	uint32_t attributeID;
	union {
		struct {
			void *buffer;
			size_t length;
		} ref;
		struct {
			uint32_t a;
			uint32_t b;
		} value;
	} content;
} TEE_Attribute;

/* --- operations --- */

typedef struct __TEE_OperationHandle *TEE_OperationHandle;

typedef uint32_t TEE_OperationMode; /* TEE_MODE_* */

typedef struct {
	uint32_t algorithm;
	uint32_t operationClass;
	uint32_t mode;
	uint32_t digestLength; /* bytes; of an AE operation: of its tag */
	uint32_t maxKeySize; /* bits */
	uint32_t keySize; /* bits; 0 without a key, or with two */
	uint32_t requiredKeyUsage;
	uint32_t handleState; /* TEE_HANDLE_FLAG_* */
} TEE_OperationInfo;

typedef struct {
	uint32_t keySize;
	uint32_t requiredKeyUsage;
} TEE_OperationInfoKey;

typedef struct {
	uint32_t algorithm;
	uint32_t operationClass;
	uint32_t mode;
	uint32_t digestLength;
	uint32_t maxKeySize;
	uint32_t handleState;
	uint32_t operationState; /* TEE_OPERATION_STATE_* */
	uint32_t numberOfKeys;
	TEE_OperationInfoKey keyInformation[];
} TEE_OperationInfoMultiple;

#endif

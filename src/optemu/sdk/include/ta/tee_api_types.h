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

#endif

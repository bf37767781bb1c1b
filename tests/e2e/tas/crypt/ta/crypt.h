/* Shared by the source files of crypt. */
#ifndef CRYPT_H
#define CRYPT_H

#include <crypt_ta.h>
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>
#include <util.h>

#define WORDS 8

struct buffer {
	void *p;
	size_t len;
};

struct request {
	uint64_t w[WORDS];
	TEE_Attribute *attrs;
	uint32_t attr_count;
	struct buffer in;
	struct buffer out;
	struct buffer tag;
};

typedef TEE_Result command(struct request *r);

#define HANDLE(type, word) ((type)(uintptr_t)(word))
#define OBJECT(word) HANDLE(TEE_ObjectHandle, word)
#define OPERATION(word) HANDLE(TEE_OperationHandle, word)

void give_info(struct request *r, const TEE_ObjectInfo *info);

extern command *const object_commands[CRYPT_COMMANDS];
extern command *const operation_commands[CRYPT_COMMANDS];
extern command *const storage_commands[CRYPT_COMMANDS];

#endif

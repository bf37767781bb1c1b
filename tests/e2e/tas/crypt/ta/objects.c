/* Objects and their attributes. */
#include "crypt.h"

void give_info(struct request *r, const TEE_ObjectInfo *info)
{
	r->w[0] = info->objectType;
	r->w[1] = info->objectSize;
	r->w[2] = info->maxObjectSize;
	r->w[3] = info->objectUsage;
	r->w[4] = info->dataSize;
	r->w[5] = info->dataPosition;
	r->w[6] = info->handleFlags;
}

static TEE_Result get_info(struct request *r)
{
	TEE_ObjectInfo info = { 0 };
	TEE_Result res = TEE_GetObjectInfo1(OBJECT(r->w[0]), &info);

	give_info(r, &info);
	return res;
}

static TEE_Result restrict_usage(struct request *r)
{
	return TEE_RestrictObjectUsage1(OBJECT(r->w[0]), (uint32_t)r->w[1]);
}

static TEE_Result get_buffer(struct request *r)
{
	return TEE_GetObjectBufferAttribute(OBJECT(r->w[0]), (uint32_t)r->w[1], r->out.p, &r->out.len);
}

static TEE_Result get_value(struct request *r)
{
	uint32_t a = 0;
	uint32_t b = 0;
	TEE_Result res = TEE_GetObjectValueAttribute(OBJECT(r->w[0]), (uint32_t)r->w[1], &a, &b);

	r->w[0] = a;
	r->w[1] = b;
	return res;
}

static TEE_Result close_object(struct request *r)
{
	TEE_CloseObject(OBJECT(r->w[0]));
	return TEE_SUCCESS;
}

static TEE_Result allocate(struct request *r)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Result res = TEE_AllocateTransientObject((uint32_t)r->w[0], (uint32_t)r->w[1], &object);

	r->w[0] = (uintptr_t)object;
	return res;
}

static TEE_Result free_object(struct request *r)
{
	TEE_FreeTransientObject(OBJECT(r->w[0]));
	return TEE_SUCCESS;
}

static TEE_Result reset(struct request *r)
{
	TEE_ResetTransientObject(OBJECT(r->w[0]));
	return TEE_SUCCESS;
}

static TEE_Result populate(struct request *r)
{
	return TEE_PopulateTransientObject(OBJECT(r->w[0]), r->attrs, r->attr_count);
}

static TEE_Result copy(struct request *r)
{
	return TEE_CopyObjectAttributes1(OBJECT(r->w[0]), OBJECT(r->w[1]));
}

static TEE_Result generate_key(struct request *r)
{
	return TEE_GenerateKey(OBJECT(r->w[0]), (uint32_t)r->w[1], r->attrs, r->attr_count);
}

command *const object_commands[CRYPT_COMMANDS] = {
	[CRYPT_TEE_GetObjectInfo1] = get_info,
	[CRYPT_TEE_RestrictObjectUsage1] = restrict_usage,
	[CRYPT_TEE_GetObjectBufferAttribute] = get_buffer,
	[CRYPT_TEE_GetObjectValueAttribute] = get_value,
	[CRYPT_TEE_CloseObject] = close_object,
	[CRYPT_TEE_AllocateTransientObject] = allocate,
	[CRYPT_TEE_FreeTransientObject] = free_object,
	[CRYPT_TEE_ResetTransientObject] = reset,
	[CRYPT_TEE_PopulateTransientObject] = populate,
	[CRYPT_TEE_CopyObjectAttributes1] = copy,
	[CRYPT_TEE_GenerateKey] = generate_key,
};

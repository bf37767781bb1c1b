/* Persistent objects. */
#include <string.h>

#include "crypt.h"

/* The core takes identifiers from the TA's own memory only; the caller frees. */
static void *private_id(const struct request *r)
{
	void *p = r->in.p ? TEE_Malloc(r->in.len, TEE_USER_MEM_HINT_NO_FILL_ZERO) : NULL;

	if (p && r->in.len)
		memcpy(p, r->in.p, r->in.len);
	return p;
}

static TEE_Result open(struct request *r)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	void *id = private_id(r);
	TEE_Result res = TEE_OpenPersistentObject((uint32_t)r->w[0], id, r->in.len, (uint32_t)r->w[1], &object);

	TEE_Free(id);
	r->w[0] = (uintptr_t)object;
	return res;
}

static TEE_Result create(struct request *r)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	void *id = private_id(r);
	TEE_Result res = TEE_CreatePersistentObject((uint32_t)r->w[0], id, r->in.len, (uint32_t)r->w[1],
						    OBJECT(r->w[2]), r->out.p, r->out.len, r->w[3] ? NULL : &object);

	TEE_Free(id);
	r->w[0] = (uintptr_t)object;
	return res;
}

static TEE_Result close_and_delete(struct request *r)
{
	return TEE_CloseAndDeletePersistentObject1(OBJECT(r->w[0]));
}

static TEE_Result rename(struct request *r)
{
	void *id = private_id(r);
	TEE_Result res = TEE_RenamePersistentObject(OBJECT(r->w[0]), id, r->in.len);

	TEE_Free(id);
	return res;
}

#define ENUMERATOR HANDLE(TEE_ObjectEnumHandle, r->w[0])

static TEE_Result allocate_enumerator(struct request *r)
{
	TEE_ObjectEnumHandle e = TEE_HANDLE_NULL;
	TEE_Result res = TEE_AllocatePersistentObjectEnumerator(&e);

	r->w[0] = (uintptr_t)e;
	return res;
}

static TEE_Result free_enumerator(struct request *r)
{
	TEE_FreePersistentObjectEnumerator(ENUMERATOR);
	return TEE_SUCCESS;
}

static TEE_Result reset_enumerator(struct request *r)
{
	TEE_ResetPersistentObjectEnumerator(ENUMERATOR);
	return TEE_SUCCESS;
}

static TEE_Result start_enumerator(struct request *r)
{
	return TEE_StartPersistentObjectEnumerator(ENUMERATOR, (uint32_t)r->w[1]);
}

static TEE_Result get_next(struct request *r)
{
	uint8_t id[TEE_OBJECT_ID_MAX_LEN];
	TEE_ObjectInfo info = { 0 };
	size_t len = sizeof(id);
	TEE_Result res = TEE_GetNextPersistentObject(ENUMERATOR, &info, id, &len);

	if (res)
		return res;
	give_info(r, &info);
	if (len > r->out.len)
		return TEE_ERROR_EXCESS_DATA;
	memcpy(r->out.p, id, len);
	r->out.len = len;
	return TEE_SUCCESS;
}

static TEE_Result read(struct request *r)
{
	return TEE_ReadObjectData(OBJECT(r->w[0]), r->out.p, r->out.len, &r->out.len);
}

static TEE_Result write(struct request *r)
{
	return TEE_WriteObjectData(OBJECT(r->w[0]), r->in.p, r->in.len);
}

static TEE_Result truncate(struct request *r)
{
	return TEE_TruncateObjectData(OBJECT(r->w[0]), (size_t)r->w[1]);
}

static TEE_Result seek(struct request *r)
{
	return TEE_SeekObjectData(OBJECT(r->w[0]), (intmax_t)r->w[1], (TEE_Whence)r->w[2]);
}

command *const storage_commands[CRYPT_COMMANDS] = {
	[CRYPT_TEE_OpenPersistentObject] = open,
	[CRYPT_TEE_CreatePersistentObject] = create,
	[CRYPT_TEE_CloseAndDeletePersistentObject1] = close_and_delete,
	[CRYPT_TEE_RenamePersistentObject] = rename,
	[CRYPT_TEE_AllocatePersistentObjectEnumerator] = allocate_enumerator,
	[CRYPT_TEE_FreePersistentObjectEnumerator] = free_enumerator,
	[CRYPT_TEE_ResetPersistentObjectEnumerator] = reset_enumerator,
	[CRYPT_TEE_StartPersistentObjectEnumerator] = start_enumerator,
	[CRYPT_TEE_GetNextPersistentObject] = get_next,
	[CRYPT_TEE_ReadObjectData] = read,
	[CRYPT_TEE_WriteObjectData] = write,
	[CRYPT_TEE_TruncateObjectData] = truncate,
	[CRYPT_TEE_SeekObjectData] = seek,
};

/* A trusted application that keeps notes: each a persistent object, encrypted where the normal world keeps it. */
#include <secure_storage_ta.h>
#include <string.h>
#include <tee_internal_api.h>
#include <tee_internal_api_extensions.h>

#define NONE TEE_PARAM_TYPE_NONE
#define IN TEE_PARAM_TYPE_MEMREF_INPUT
#define OUT TEE_PARAM_TYPE_MEMREF_OUTPUT

/* Names go to the core from the TA's own memory: what lies in shared memory the client may change at any time. */
struct name {
	char text[NOTE_NAME_MAX];
	size_t len;
};

static TEE_Result take_name(struct name *name, const TEE_Param *p)
{
	if (!p->memref.size || p->memref.size > sizeof(name->text))
		return TEE_ERROR_BAD_PARAMETERS;
	name->len = p->memref.size;
	memcpy(name->text, p->memref.buffer, name->len);
	return TEE_SUCCESS;
}

static TEE_Result put(const struct name *name, const TEE_Param *note)
{
	/* An object of the same name is replaced at one stroke: the old note or the new one is there, never neither. */
	const uint32_t flags = TEE_DATA_FLAG_ACCESS_WRITE | TEE_DATA_FLAG_OVERWRITE;
	void *copy = NULL;
	TEE_Result res = TEE_SUCCESS;

	if (note->memref.size > NOTE_MAX)
		return TEE_ERROR_EXCESS_DATA;
	copy = TEE_Malloc(note->memref.size, TEE_MALLOC_FILL_ZERO);
	if (!copy)
		return TEE_ERROR_OUT_OF_MEMORY;
	TEE_MemMove(copy, note->memref.buffer, note->memref.size);
	res = TEE_CreatePersistentObject(TEE_STORAGE_PRIVATE, name->text, name->len, flags, TEE_HANDLE_NULL, copy,
					 note->memref.size, NULL);
	TEE_Free(copy);
	return res;
}

static TEE_Result open(const struct name *name, uint32_t flags, TEE_ObjectHandle *object)
{
	return TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, name->text, name->len, flags, object);
}

static TEE_Result get(const struct name *name, TEE_Param *note)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_ObjectInfo info = { 0 };
	TEE_Result res = open(name, TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_SHARE_READ, &object);

	if (res)
		return res;
	res = TEE_GetObjectInfo1(object, &info);
	if (!res && info.dataSize > note->memref.size) {
		note->memref.size = info.dataSize;
		res = TEE_ERROR_SHORT_BUFFER;
	} else if (!res) {
		res = TEE_ReadObjectData(object, note->memref.buffer, note->memref.size, &note->memref.size);
	}
	TEE_CloseObject(object);
	return res;
}

static TEE_Result delete(const struct name *name)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;
	TEE_Result res = open(name, TEE_DATA_FLAG_ACCESS_WRITE_META, &object);

	return res ? res : TEE_CloseAndDeletePersistentObject1(object);
}

/* Appends names until there are no more (TEE_ERROR_ITEM_NOT_FOUND) or no room. */
static TEE_Result list_into(TEE_ObjectEnumHandle e, char *out, size_t room, size_t *used)
{
	struct name name;
	TEE_Result res = TEE_StartPersistentObjectEnumerator(e, TEE_STORAGE_PRIVATE);

	while (!res) {
		name.len = sizeof(name.text);
		res = TEE_GetNextPersistentObject(e, NULL, name.text, &name.len);
		if (res)
			break;
		if (name.len + 1 > room - *used)
			return TEE_ERROR_SHORT_BUFFER;
		memcpy(out + *used, name.text, name.len);
		out[*used + name.len] = 0;
		*used += name.len + 1;
	}
	return res == TEE_ERROR_ITEM_NOT_FOUND ? TEE_SUCCESS : res;
}

static TEE_Result list(TEE_Param *names)
{
	TEE_ObjectEnumHandle e = TEE_HANDLE_NULL;
	size_t used = 0;
	TEE_Result res = TEE_AllocatePersistentObjectEnumerator(&e);

	if (res)
		return res;
	res = list_into(e, names->memref.buffer, names->memref.size, &used);
	names->memref.size = used;
	TEE_FreePersistentObjectEnumerator(e);
	return res;
}

/* What each command takes, by its number */
static const uint32_t expected[] = {
	[TA_SECURE_STORAGE_CMD_PUT] = TEE_PARAM_TYPES(IN, IN, NONE, NONE),
	[TA_SECURE_STORAGE_CMD_GET] = TEE_PARAM_TYPES(IN, OUT, NONE, NONE),
	[TA_SECURE_STORAGE_CMD_DELETE] = TEE_PARAM_TYPES(IN, NONE, NONE, NONE),
	[TA_SECURE_STORAGE_CMD_LIST] = TEE_PARAM_TYPES(OUT, NONE, NONE, NONE),
};

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t param_types, TEE_Param params[4])
{
	struct name name;
	TEE_Result res = TEE_SUCCESS;

	(void)session;
	if (cmd > TA_SECURE_STORAGE_CMD_LIST || param_types != expected[cmd])
		return TEE_ERROR_BAD_PARAMETERS;
	if (cmd == TA_SECURE_STORAGE_CMD_LIST)
		return list(params);
	res = take_name(&name, params);
	if (res)
		return res;
	if (cmd == TA_SECURE_STORAGE_CMD_PUT)
		return put(&name, params + 1);
	if (cmd == TA_SECURE_STORAGE_CMD_GET)
		return get(&name, params + 1);
	return delete(&name);
}

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types, TEE_Param params[4], void **session)
{
	(void)params;
	(void)session;
	return param_types ? TEE_ERROR_BAD_PARAMETERS : TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session)
{
	(void)session;
}

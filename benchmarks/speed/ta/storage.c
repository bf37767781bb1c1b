/* Objects whose identifiers are numbers. Number 0 stays open. */
#include "speed.h"

static const uint32_t flags = TEE_DATA_FLAG_ACCESS_READ | TEE_DATA_FLAG_ACCESS_WRITE |
			      TEE_DATA_FLAG_ACCESS_WRITE_META | TEE_DATA_FLAG_OVERWRITE;
static TEE_ObjectHandle first;

static TEE_ObjectHandle make(uint32_t number, const void *buffer, size_t len)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;

	must(TEE_CreatePersistentObject(TEE_STORAGE_PRIVATE, &number, sizeof(number), flags, TEE_HANDLE_NULL, buffer,
					len, &object));
	return object;
}

void create_object(uint32_t number, const void *buffer, size_t len)
{
	if (number)
		TEE_CloseObject(make(number, buffer, len));
	else
		first = make(number, buffer, len);
}

void write_object(const void *buffer, size_t len)
{
	must(TEE_SeekObjectData(first, 0, TEE_DATA_SEEK_SET));
	must(TEE_WriteObjectData(first, buffer, len));
}

static void read_all(TEE_ObjectHandle object, void *buffer, size_t len)
{
	size_t count = 0;

	must(TEE_ReadObjectData(object, buffer, len, &count));
	if (count != len)
		TEE_Panic(TEE_ERROR_SHORT_BUFFER);
}

void read_object(uint32_t number, void *buffer, size_t len)
{
	TEE_ObjectHandle object = TEE_HANDLE_NULL;

	if (number) {
		must(TEE_OpenPersistentObject(TEE_STORAGE_PRIVATE, &number, sizeof(number), TEE_DATA_FLAG_ACCESS_READ,
					      &object));
		read_all(object, buffer, len);
		TEE_CloseObject(object);
	} else {
		must(TEE_SeekObjectData(first, 0, TEE_DATA_SEEK_SET));
		read_all(first, buffer, len);
	}
}

uint32_t count_objects(void)
{
	TEE_ObjectEnumHandle e = TEE_HANDLE_NULL;
	uint8_t id[TEE_OBJECT_ID_MAX_LEN];
	TEE_ObjectInfo info = { 0 };
	size_t len = 0;
	uint32_t count = 0;

	must(TEE_AllocatePersistentObjectEnumerator(&e));
	must(TEE_StartPersistentObjectEnumerator(e, TEE_STORAGE_PRIVATE));
	for (len = sizeof(id); !TEE_GetNextPersistentObject(e, &info, id, &len); len = sizeof(id))
		count++;
	TEE_FreePersistentObjectEnumerator(e);
	return count;
}

/* Internal Core API: persistent objects, their enumeration, their data. */
#include <utee_syscalls.h>

#include "runtime.h"

TEE_Result TEE_OpenPersistentObject(uint32_t storageID, const void *objectID, size_t objectIDLen, uint32_t flags,
				    TEE_ObjectHandle *object)
{
	uint32_t handle = 0;
	TEE_Result res = TEE_SUCCESS;

	__utee_check_out(object);
	res = _utee_storage_obj_open(storageID, objectID, objectIDLen, flags, &handle);
	*object = (TEE_ObjectHandle)(uintptr_t)(res ? TEE_HANDLE_NULL : handle);
	return documented(res, TEE_ERROR_ITEM_NOT_FOUND, TEE_ERROR_ACCESS_CONFLICT, TEE_ERROR_OUT_OF_MEMORY,
			  TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_CreatePersistentObject(uint32_t storageID, const void *objectID, size_t objectIDLen, uint32_t flags,
				      TEE_ObjectHandle attributes, const void *initialData, size_t initialDataLen,
				      TEE_ObjectHandle *object)
{
	uint32_t handle = 0;
	TEE_Result res = TEE_SUCCESS;

	if (object)
		__utee_check_out(object);
	res = _utee_storage_obj_create(storageID, objectID, objectIDLen, flags, (uintptr_t)attributes, initialData,
				       initialDataLen, object ? &handle : NULL);
	if (object)
		*object = (TEE_ObjectHandle)(uintptr_t)(res ? TEE_HANDLE_NULL : handle);
	return documented(res, TEE_ERROR_ITEM_NOT_FOUND, TEE_ERROR_ACCESS_CONFLICT, TEE_ERROR_OUT_OF_MEMORY,
			  TEE_ERROR_STORAGE_NO_SPACE, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

void TEE_CloseAndDeletePersistentObject(TEE_ObjectHandle object)
{
	panic_unless(!TEE_CloseAndDeletePersistentObject1(object), 0);
}

TEE_Result TEE_CloseAndDeletePersistentObject1(TEE_ObjectHandle object)
{
	if (object == TEE_HANDLE_NULL)
		return TEE_SUCCESS;
	return documented(_utee_storage_obj_del((uintptr_t)object), TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_RenamePersistentObject(TEE_ObjectHandle object, const void *newObjectID, size_t newObjectIDLen)
{
	panic_unless(object != TEE_HANDLE_NULL, TEE_ERROR_ITEM_NOT_FOUND);
	return documented(_utee_storage_obj_rename((uintptr_t)object, newObjectID, newObjectIDLen),
			  TEE_ERROR_ACCESS_CONFLICT, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

/* --- enumeration --- */

TEE_Result TEE_AllocatePersistentObjectEnumerator(TEE_ObjectEnumHandle *objectEnumerator)
{
	uint32_t handle = 0;
	TEE_Result res = TEE_SUCCESS;

	__utee_check_out(objectEnumerator);
	res = _utee_storage_alloc_enum(&handle);
	*objectEnumerator = (TEE_ObjectEnumHandle)(uintptr_t)(res ? TEE_HANDLE_NULL : handle);
	return documented(res, TEE_ERROR_ACCESS_CONFLICT, TEE_ERROR_OUT_OF_MEMORY);
}

void TEE_FreePersistentObjectEnumerator(TEE_ObjectEnumHandle objectEnumerator)
{
	TEE_Result res = TEE_SUCCESS;

	if (objectEnumerator != TEE_HANDLE_NULL)
		res = _utee_storage_free_enum((uintptr_t)objectEnumerator);
	panic_unless(!res, res);
}

void TEE_ResetPersistentObjectEnumerator(TEE_ObjectEnumHandle objectEnumerator)
{
	TEE_Result res = TEE_SUCCESS;

	if (objectEnumerator != TEE_HANDLE_NULL)
		res = _utee_storage_reset_enum((uintptr_t)objectEnumerator);
	panic_unless(!res, res);
}

TEE_Result TEE_StartPersistentObjectEnumerator(TEE_ObjectEnumHandle objectEnumerator, uint32_t storageID)
{
	return documented(_utee_storage_start_enum((uintptr_t)objectEnumerator, storageID), TEE_ERROR_ITEM_NOT_FOUND,
			  TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_GetNextPersistentObject(TEE_ObjectEnumHandle objectEnumerator, TEE_ObjectInfo *objectInfo,
				       void *objectID, size_t *objectIDLen)
{
	struct utee_object_info info = { 0 };
	uint64_t len = 0;
	TEE_Result res = TEE_SUCCESS;

	if (objectInfo)
		__utee_check_out(objectInfo);
	__utee_check_out(objectIDLen);
	panic_unless(objectID, TEE_ERROR_BAD_PARAMETERS);
	len = *objectIDLen;
	res = _utee_storage_next_enum((uintptr_t)objectEnumerator, &info, objectID, &len);
	if (objectInfo)
		__utee_to_object_info(objectInfo, &info);
	*objectIDLen = (size_t)len;
	return documented(res, TEE_ERROR_ITEM_NOT_FOUND, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

/* --- data --- */

TEE_Result TEE_ReadObjectData(TEE_ObjectHandle object, void *buffer, size_t size, size_t *count)
{
	uint64_t n = 0;
	TEE_Result res = TEE_SUCCESS;

	panic_unless(object != TEE_HANDLE_NULL, TEE_ERROR_BAD_PARAMETERS);
	__utee_check_out(count);
	res = _utee_storage_obj_read((uintptr_t)object, buffer, size, &n);
	*count = (size_t)n;
	return documented(res, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_WriteObjectData(TEE_ObjectHandle object, const void *buffer, size_t size)
{
	panic_unless(object != TEE_HANDLE_NULL, TEE_ERROR_BAD_PARAMETERS);
	if ((uint64_t)size > TEE_DATA_MAX_POSITION)
		return TEE_ERROR_OVERFLOW;
	return documented(_utee_storage_obj_write((uintptr_t)object, buffer, size), TEE_ERROR_STORAGE_NO_SPACE,
			  TEE_ERROR_OVERFLOW, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_TruncateObjectData(TEE_ObjectHandle object, size_t size)
{
	panic_unless(object != TEE_HANDLE_NULL, TEE_ERROR_BAD_PARAMETERS);
	return documented(_utee_storage_obj_trunc((uintptr_t)object, size), TEE_ERROR_STORAGE_NO_SPACE,
			  TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

/* Where whence counts from; panics for one that is none. */
static int64_t seek_base(const struct utee_object_info *info, TEE_Whence whence)
{
	switch (whence) {
	case TEE_DATA_SEEK_SET:
		return 0;
	case TEE_DATA_SEEK_CUR:
		return info->data_pos;
	case TEE_DATA_SEEK_END:
		return info->data_size;
	default:
		TEE_Panic(TEE_ERROR_ITEM_NOT_FOUND);
		return 0;
	}
}

static TEE_Result seek(TEE_ObjectHandle object, intmax_t offset, TEE_Whence whence)
{
	struct utee_object_info info = { 0 };
	TEE_Result res = _utee_cryp_obj_get_info((uintptr_t)object, &info);
	int32_t step = 0;

	if (res)
		return res;
	if (offset > (int64_t)TEE_DATA_MAX_POSITION - seek_base(&info, whence))
		return TEE_ERROR_OVERFLOW;
	/* In front of the start there is nothing: the core stays there, so need not be sent further. */
	offset = MAX(offset, -(intmax_t)TEE_DATA_MAX_POSITION);
	/* The core takes 32 bits with a sign. */
	do {
		step = (int32_t)MAX(MIN(offset, (intmax_t)INT32_MAX), (intmax_t)INT32_MIN);
		res = _utee_storage_obj_seek((uintptr_t)object, step, whence);
		offset -= step;
		whence = TEE_DATA_SEEK_CUR;
	} while (!res && offset);
	return res;
}

TEE_Result TEE_SeekObjectData(TEE_ObjectHandle object, intmax_t offset, TEE_Whence whence)
{
	panic_unless(object != TEE_HANDLE_NULL, TEE_ERROR_BAD_PARAMETERS);
	return documented(seek(object, offset, whence), TEE_ERROR_OVERFLOW, TEE_ERROR_CORRUPT_OBJECT,
			  TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

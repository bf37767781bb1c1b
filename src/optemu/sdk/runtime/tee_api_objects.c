/* Internal Core API: what all objects have, and transient objects. A handle is the core's number. */
#include <string.h>
#include <utee_syscalls.h>

#include "runtime.h"

struct utee_object_info __utee_obj_info(TEE_ObjectHandle object)
{
	struct utee_object_info info = { 0 };
	TEE_Result res = _utee_cryp_obj_get_info((uintptr_t)object, &info);

	panic_unless(!res, res);
	return info;
}

void __utee_to_object_info(TEE_ObjectInfo *to, const struct utee_object_info *from)
{
	to->objectType = from->obj_type;
	to->objectSize = from->obj_size;
	to->maxObjectSize = from->max_obj_size;
	to->objectUsage = from->obj_usage;
	to->dataSize = from->data_size;
	to->dataPosition = from->data_pos;
	to->handleFlags = from->handle_flags;
}

/* The functions without a result have nothing to say about an object that turned out corrupt: they do nothing. */
static bool is_corrupt(TEE_ObjectHandle object)
{
	struct utee_object_info info = { 0 };

	_utee_cryp_obj_get_info((uintptr_t)object, &info);
	return info.obj_type == TEE_TYPE_CORRUPTED_OBJECT;
}

void TEE_GetObjectInfo(TEE_ObjectHandle object, TEE_ObjectInfo *objectInfo)
{
	struct utee_object_info info = __utee_obj_info(object);

	if (info.obj_type == TEE_TYPE_CORRUPTED_OBJECT)
		info = (struct utee_object_info){ .obj_type = TEE_TYPE_CORRUPTED_OBJECT };
	__utee_to_object_info(objectInfo, &info);
}

TEE_Result TEE_GetObjectInfo1(TEE_ObjectHandle object, TEE_ObjectInfo *objectInfo)
{
	struct utee_object_info info = { 0 };
	TEE_Result res = _utee_cryp_obj_get_info((uintptr_t)object, &info);

	documented(res, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
	__utee_to_object_info(objectInfo, &info);
	return res;
}

void TEE_RestrictObjectUsage(TEE_ObjectHandle object, uint32_t objectUsage)
{
	TEE_Result res = is_corrupt(object) ? TEE_SUCCESS : TEE_RestrictObjectUsage1(object, objectUsage);

	panic_unless(!res, res);
}

TEE_Result TEE_RestrictObjectUsage1(TEE_ObjectHandle object, uint32_t objectUsage)
{
	TEE_Result res = _utee_cryp_obj_restrict_usage((uintptr_t)object, objectUsage);

	return documented(res, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

static void close_object(TEE_ObjectHandle object)
{
	TEE_Result res = _utee_cryp_obj_close((uintptr_t)object);

	panic_unless(!res, res);
}

void TEE_CloseObject(TEE_ObjectHandle object)
{
	if (object != TEE_HANDLE_NULL)
		close_object(object);
}

/* --- transient objects --- */

TEE_Result TEE_AllocateTransientObject(TEE_ObjectType objectType, uint32_t maxObjectSize, TEE_ObjectHandle *object)
{
	uint32_t handle = 0;
	TEE_Result res = TEE_SUCCESS;

	/* The core has it, for data in storage. */
	if (objectType == TEE_TYPE_DATA)
		return TEE_ERROR_NOT_SUPPORTED;
	__utee_check_out(object);
	res = _utee_cryp_obj_alloc(objectType, maxObjectSize, &handle);
	if (!res)
		*object = (TEE_ObjectHandle)(uintptr_t)handle;
	return documented(res, TEE_ERROR_OUT_OF_MEMORY, TEE_ERROR_NOT_SUPPORTED);
}

static struct utee_object_info transient_info(TEE_ObjectHandle object)
{
	struct utee_object_info info = __utee_obj_info(object);

	panic_unless(!(info.handle_flags & TEE_HANDLE_FLAG_PERSISTENT), 0);
	return info;
}

void TEE_FreeTransientObject(TEE_ObjectHandle object)
{
	if (object == TEE_HANDLE_NULL)
		return;
	transient_info(object);
	close_object(object);
}

void TEE_ResetTransientObject(TEE_ObjectHandle object)
{
	TEE_Result res = TEE_SUCCESS;

	if (object == TEE_HANDLE_NULL)
		return;
	transient_info(object);
	res = _utee_cryp_obj_reset((uintptr_t)object);
	panic_unless(!res, res);
}

TEE_Result TEE_PopulateTransientObject(TEE_ObjectHandle object, const TEE_Attribute *attrs, uint32_t attrCount)
{
	TEE_Result res = TEE_SUCCESS;

	__utee_check_attrs(attrs, attrCount);
	panic_unless(!(transient_info(object).handle_flags & TEE_HANDLE_FLAG_INITIALIZED), 0);
	struct utee_attribute ua[ATTRS_ROOM(attrCount)];

	__utee_from_attr(ua, attrs, attrCount);
	res = _utee_cryp_obj_populate((uintptr_t)object, ua, attrCount);
	return documented(res, TEE_ERROR_BAD_PARAMETERS);
}

void TEE_CopyObjectAttributes(TEE_ObjectHandle destObject, TEE_ObjectHandle srcObject)
{
	TEE_Result res = is_corrupt(srcObject) ? TEE_SUCCESS : TEE_CopyObjectAttributes1(destObject, srcObject);

	panic_unless(!res, res);
}

static TEE_Result copy_attributes(TEE_ObjectHandle dst, TEE_ObjectHandle src)
{
	const uint32_t used = TEE_HANDLE_FLAG_PERSISTENT | TEE_HANDLE_FLAG_INITIALIZED;
	struct utee_object_info dst_info = { 0 };
	struct utee_object_info src_info = { 0 };
	TEE_Result res = _utee_cryp_obj_get_info((uintptr_t)dst, &dst_info);

	if (!res)
		res = _utee_cryp_obj_get_info((uintptr_t)src, &src_info);
	if (res)
		return res;
	panic_unless(src_info.handle_flags & TEE_HANDLE_FLAG_INITIALIZED, 0);
	panic_unless(!(dst_info.handle_flags & used), 0);
	return _utee_cryp_obj_copy((uintptr_t)dst, (uintptr_t)src);
}

TEE_Result TEE_CopyObjectAttributes1(TEE_ObjectHandle destObject, TEE_ObjectHandle srcObject)
{
	return documented(copy_attributes(destObject, srcObject), TEE_ERROR_CORRUPT_OBJECT,
			  TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_GenerateKey(TEE_ObjectHandle object, uint32_t keySize, const TEE_Attribute *params,
			   uint32_t paramCount)
{
	TEE_Result res = TEE_SUCCESS;

	__utee_check_attrs(params, paramCount);
	struct utee_attribute ua[ATTRS_ROOM(paramCount)];

	__utee_from_attr(ua, params, paramCount);
	res = _utee_cryp_obj_generate_key((uintptr_t)object, keySize, ua, paramCount);
	return documented(res, TEE_ERROR_BAD_PARAMETERS);
}

/* Internal Core API: attributes, on their way to the core and back. */
#include <utee_syscalls.h>

#include "runtime.h"

static bool is_value(uint32_t id)
{
	return id & TEE_ATTR_FLAG_VALUE;
}

void __utee_check_attrs(const TEE_Attribute *attrs, uint32_t count)
{
	size_t size = 0;

	panic_unless(!MUL_OVERFLOW(sizeof(*attrs), count, &size), 0);
	__utee_check(TEE_MEMORY_ACCESS_READ, attrs, size);
}

void __utee_from_attr(struct utee_attribute *ua, const TEE_Attribute *attrs, uint32_t count)
{
	uint32_t n = 0;

	for (n = 0; n < count; n++) {
		const TEE_Attribute *from = attrs + n;
		bool value = is_value(from->attributeID);

		ua[n].attribute_id = from->attributeID;
		ua[n].a = value ? from->content.value.a : (uintptr_t)from->content.ref.buffer;
		ua[n].b = value ? from->content.value.b : from->content.ref.length;
	}
}

void TEE_InitRefAttribute(TEE_Attribute *attr, uint32_t attributeID, const void *buffer, size_t length)
{
	__utee_check_out(attr);
	panic_unless(!is_value(attributeID), 0);
	attr->attributeID = attributeID;
	attr->content.ref.buffer = (void *)buffer;
	attr->content.ref.length = length;
}

void TEE_InitValueAttribute(TEE_Attribute *attr, uint32_t attributeID, uint32_t a, uint32_t b)
{
	__utee_check_out(attr);
	panic_unless(is_value(attributeID), 0);
	attr->attributeID = attributeID;
	attr->content.value.a = a;
	attr->content.value.b = b;
}

/* An attribute of an object, once the object is known to be one and the attribute of the kind asked for. */
static TEE_Result get_attr(TEE_ObjectHandle object, uint32_t id, bool value, void *buf, uint64_t *size)
{
	struct utee_object_info info = { 0 };
	TEE_Result res = _utee_cryp_obj_get_info((uintptr_t)object, &info);

	if (res)
		return res;
	if (is_value(id) != value)
		return TEE_ERROR_BAD_PARAMETERS;
	return _utee_cryp_obj_get_attr((uintptr_t)object, id, buf, size);
}

TEE_Result TEE_GetObjectBufferAttribute(TEE_ObjectHandle object, uint32_t attributeID, void *buffer, size_t *size)
{
	uint64_t len = 0;
	TEE_Result res = TEE_SUCCESS;

	__utee_check_inout(size);
	len = *size;
	res = get_attr(object, attributeID, false, buffer, &len);
	*size = (size_t)len;
	return documented(res, TEE_ERROR_ITEM_NOT_FOUND, TEE_ERROR_SHORT_BUFFER, TEE_ERROR_CORRUPT_OBJECT,
			  TEE_ERROR_STORAGE_NOT_AVAILABLE);
}

TEE_Result TEE_GetObjectValueAttribute(TEE_ObjectHandle object, uint32_t attributeID, uint32_t *a, uint32_t *b)
{
	uint32_t value[2] = { 0 };
	uint64_t size = sizeof(value);
	TEE_Result res = TEE_SUCCESS;

	if (a)
		__utee_check_out(a);
	if (b)
		__utee_check_out(b);
	res = get_attr(object, attributeID, true, value, &size);
	documented(res, TEE_ERROR_ITEM_NOT_FOUND, TEE_ERROR_CORRUPT_OBJECT, TEE_ERROR_STORAGE_NOT_AVAILABLE);
	panic_unless(size == sizeof(value), 0);
	if (!res && a)
		*a = value[0];
	if (!res && b)
		*b = value[1];
	return res;
}

/* Internal Core API: properties, of the TA itself from ta_props, the rest from the core. */
#include <stdio.h>
#include <string.h>
#include <string_ext.h>
#include <utee_syscalls.h>

#include "base64.h"
#include "runtime.h"

#define NOT_STARTED UINT32_MAX

struct prop_enumerator {
	uint32_t idx; /* first through the table of this runtime, then through the core's */
	TEE_PropSetHandle set;
};

/* Properties of the TEE that are this library's affair. */
static const struct user_ta_property tee_props[] = {
	{ "gpd.tee.internalCore.version", USER_TA_PROP_TYPE_U32, &(const uint32_t){ TEE_CORE_API_VERSION } },
};

struct prop_table {
	const struct user_ta_property *props;
	size_t num;
};

static bool is_propset(TEE_PropSetHandle h)
{
	return h == TEE_PROPSET_CURRENT_TA || h == TEE_PROPSET_CURRENT_CLIENT ||
	       h == TEE_PROPSET_TEE_IMPLEMENTATION;
}

static struct prop_table own_table(TEE_PropSetHandle set)
{
	if (set == TEE_PROPSET_CURRENT_TA)
		return (struct prop_table){ ta_props, ta_num_props };
	if (set == TEE_PROPSET_TEE_IMPLEMENTATION)
		return (struct prop_table){ tee_props, ARRAY_SIZE(tee_props) };
	return (struct prop_table){ NULL, 0 };
}

static size_t value_size(const struct user_ta_property *p)
{
	switch (p->type) {
	case USER_TA_PROP_TYPE_BOOL:
		return sizeof(bool);
	case USER_TA_PROP_TYPE_U32:
		return sizeof(uint32_t);
	case USER_TA_PROP_TYPE_U64:
		return sizeof(uint64_t);
	case USER_TA_PROP_TYPE_UUID:
		return sizeof(TEE_UUID);
	case USER_TA_PROP_TYPE_IDENTITY:
		return sizeof(TEE_Identity);
	case USER_TA_PROP_TYPE_STRING:
		return strlen(p->value) + 1;
	default:
		return 0;
	}
}

static TEE_Result get_own(const struct user_ta_property *p, uint32_t *type, void *buf, uint32_t *len)
{
	size_t room = *len;
	size_t size = room;

	*type = p->type;
	if (p->type == USER_TA_PROP_TYPE_BINARY_BLOCK) {
		bool ok = base64_dec(p->value, buf, &size);

		*len = (uint32_t)size;
		return ok ? TEE_SUCCESS : size > room ? TEE_ERROR_SHORT_BUFFER : TEE_ERROR_GENERIC;
	}
	size = value_size(p);
	if (!size)
		return TEE_ERROR_GENERIC;
	*len = (uint32_t)size;
	if (size > room)
		return TEE_ERROR_SHORT_BUFFER;
	memcpy(buf, p->value, size);
	return TEE_SUCCESS;
}

static TEE_Result get_by_name(TEE_PropSetHandle set, const char *name, uint32_t *type, void *buf, uint32_t *len)
{
	struct prop_table own = own_table(set);
	uint32_t index = 0;
	TEE_Result res = TEE_SUCCESS;
	size_t n = 0;

	for (n = 0; n < own.num; n++)
		if (!strcmp(name, own.props[n].name))
			return get_own(own.props + n, type, buf, len);
	res = _utee_get_property_name_to_index((uintptr_t)set, name, strlen(name) + 1, &index);
	if (res)
		return res;
	return _utee_get_property((uintptr_t)set, index, NULL, NULL, buf, len, type);
}

static TEE_Result get_enumerated(const struct prop_enumerator *e, uint32_t *type, void *buf, uint32_t *len)
{
	struct prop_table own = own_table(e->set);
	TEE_Result res = TEE_SUCCESS;

	if (e->idx == NOT_STARTED)
		return TEE_ERROR_ITEM_NOT_FOUND;
	if (e->idx < own.num)
		return get_own(own.props + e->idx, type, buf, len);
	res = _utee_get_property((uintptr_t)e->set, e->idx - own.num, NULL, NULL, buf, len, type);
	return res == TEE_ERROR_ITEM_NOT_FOUND ? TEE_ERROR_BAD_PARAMETERS : res;
}

static TEE_Result get_property(TEE_PropSetHandle h, const char *name, uint32_t *type, void *buf, uint32_t *len)
{
	if (is_propset(h))
		return get_by_name(h, name, type, buf, len);
	return get_enumerated((const struct prop_enumerator *)h, type, buf, len);
}

static TEE_Result panic_unless_known(TEE_Result res, TEE_Result also)
{
	if (res && res != TEE_ERROR_ITEM_NOT_FOUND && res != also)
		TEE_Panic(0);
	return res;
}

/* A property of one fixed type into *value. */
static TEE_Result get_typed(TEE_PropSetHandle h, const char *name, uint32_t type, void *value, uint32_t size)
{
	uint32_t found = type;
	TEE_Result res = TEE_SUCCESS;

	if (is_propset(h))
		__utee_check_instring(name);
	__utee_check(TEE_MEMORY_ACCESS_WRITE, value, size);
	res = get_property(h, name, &found, value, &size);
	if (found != type)
		res = TEE_ERROR_BAD_FORMAT;
	return panic_unless_known(res, TEE_ERROR_BAD_FORMAT);
}

TEE_Result TEE_GetPropertyAsBool(TEE_PropSetHandle propsetOrEnumerator, const char *name, bool *value)
{
	return get_typed(propsetOrEnumerator, name, USER_TA_PROP_TYPE_BOOL, value, sizeof(*value));
}

TEE_Result TEE_GetPropertyAsU32(TEE_PropSetHandle propsetOrEnumerator, const char *name, uint32_t *value)
{
	return get_typed(propsetOrEnumerator, name, USER_TA_PROP_TYPE_U32, value, sizeof(*value));
}

TEE_Result TEE_GetPropertyAsU64(TEE_PropSetHandle propsetOrEnumerator, const char *name, uint64_t *value)
{
	return get_typed(propsetOrEnumerator, name, USER_TA_PROP_TYPE_U64, value, sizeof(*value));
}

TEE_Result TEE_GetPropertyAsUUID(TEE_PropSetHandle propsetOrEnumerator, const char *name, TEE_UUID *value)
{
	return get_typed(propsetOrEnumerator, name, USER_TA_PROP_TYPE_UUID, value, sizeof(*value));
}

TEE_Result TEE_GetPropertyAsIdentity(TEE_PropSetHandle propsetOrEnumerator, const char *name, TEE_Identity *value)
{
	return get_typed(propsetOrEnumerator, name, USER_TA_PROP_TYPE_IDENTITY, value, sizeof(*value));
}

TEE_Result TEE_GetPropertyAsBinaryBlock(TEE_PropSetHandle propsetOrEnumerator, const char *name, void *valueBuffer,
					size_t *valueBufferLen)
{
	uint32_t type = USER_TA_PROP_TYPE_BINARY_BLOCK;
	uint32_t len = 0;
	TEE_Result res = TEE_SUCCESS;

	if (is_propset(propsetOrEnumerator))
		__utee_check_instring(name);
	__utee_check_outbuf(valueBuffer, valueBufferLen);
	len = (uint32_t)MIN(*valueBufferLen, (size_t)UINT32_MAX);
	res = get_property(propsetOrEnumerator, name, &type, valueBuffer, &len);
	*valueBufferLen = len;
	if (type != USER_TA_PROP_TYPE_BINARY_BLOCK)
		res = TEE_ERROR_BAD_FORMAT;
	return res == TEE_ERROR_SHORT_BUFFER ? res : panic_unless_known(res, TEE_ERROR_BAD_FORMAT);
}

/* The text of a value, as snprintf() does it: *len becomes what is wanted, terminator included. */
static TEE_Result to_string(uint32_t type, const void *value, size_t size, char *text, size_t *len)
{
	const TEE_Identity *id = value;
	uint64_t u64 = 0;
	int n = 0;

	switch (type) {
	case USER_TA_PROP_TYPE_BOOL:
		n = snprintf(text, *len, "%s", *(const bool *)value ? "true" : "false");
		break;
	case USER_TA_PROP_TYPE_U32:
		n = snprintf(text, *len, "%" PRIu32, *(const uint32_t *)value);
		break;
	case USER_TA_PROP_TYPE_U64:
		memcpy(&u64, value, sizeof(u64));
		n = snprintf(text, *len, "%" PRIu64, u64);
		break;
	case USER_TA_PROP_TYPE_UUID:
		n = snprintf(text, *len, "%pUl", value);
		break;
	case USER_TA_PROP_TYPE_IDENTITY:
		n = snprintf(text, *len, "%" PRIu32 ":%pUl", id->login, (const void *)&id->uuid);
		break;
	case USER_TA_PROP_TYPE_STRING:
		n = snprintf(text, *len, "%s", (const char *)value);
		break;
	case USER_TA_PROP_TYPE_BINARY_BLOCK:
		return base64_enc(value, size, text, len) ? TEE_SUCCESS : TEE_ERROR_SHORT_BUFFER;
	default:
		return TEE_ERROR_BAD_FORMAT;
	}
	size = *len;
	*len = (size_t)n + 1;
	return *len > size ? TEE_ERROR_SHORT_BUFFER : TEE_SUCCESS;
}

/* A string that does not fit is not fetched at all: say how long its text would be. */
static size_t text_size(uint32_t type, uint32_t size)
{
	return type == USER_TA_PROP_TYPE_BINARY_BLOCK ? (size + 2) / 3 * 4 + 1 : size;
}

TEE_Result TEE_GetPropertyAsString(TEE_PropSetHandle propsetOrEnumerator, const char *name, char *valueBuffer,
				   size_t *valueBufferLen)
{
	uint32_t type = USER_TA_PROP_TYPE_INVALID;
	uint32_t size = 0;
	TEE_Result res = TEE_SUCCESS;
	void *value = NULL;

	if (is_propset(propsetOrEnumerator))
		__utee_check_instring(name);
	__utee_check_outbuf(valueBuffer, valueBufferLen);
	size = (uint32_t)MIN(MAX(*valueBufferLen, sizeof(TEE_Identity)), (size_t)UINT32_MAX);
	value = TEE_Malloc(size, TEE_USER_MEM_HINT_NO_FILL_ZERO);
	if (!value)
		TEE_Panic(0);
	res = get_property(propsetOrEnumerator, name, &type, value, &size);
	if (!res)
		res = to_string(type, value, size, valueBuffer, valueBufferLen);
	else if (res == TEE_ERROR_SHORT_BUFFER)
		*valueBufferLen = text_size(type, size);
	TEE_Free(value);
	return panic_unless_known(res, TEE_ERROR_SHORT_BUFFER);
}

TEE_Result TEE_AllocatePropertyEnumerator(TEE_PropSetHandle *enumerator)
{
	struct prop_enumerator *e = NULL;

	__utee_check_out(enumerator);
	e = TEE_Malloc(sizeof(*e), TEE_MALLOC_FILL_ZERO);
	if (!e)
		return TEE_ERROR_OUT_OF_MEMORY;
	e->idx = NOT_STARTED;
	*enumerator = (TEE_PropSetHandle)e;
	return TEE_SUCCESS;
}

void TEE_FreePropertyEnumerator(TEE_PropSetHandle enumerator)
{
	TEE_Free(enumerator);
}

void TEE_ResetPropertyEnumerator(TEE_PropSetHandle enumerator)
{
	((struct prop_enumerator *)enumerator)->idx = NOT_STARTED;
}

void TEE_StartPropertyEnumerator(TEE_PropSetHandle enumerator, TEE_PropSetHandle propSet)
{
	struct prop_enumerator *e = (struct prop_enumerator *)enumerator;

	if (!e)
		return;
	e->idx = 0;
	e->set = propSet;
}

TEE_Result TEE_GetPropertyName(TEE_PropSetHandle enumerator, void *nameBuffer, size_t *nameBufferLen)
{
	struct prop_enumerator *e = (struct prop_enumerator *)enumerator;
	struct prop_table own = { NULL, 0 };
	TEE_Result res = TEE_SUCCESS;
	uint32_t len = 0;

	__utee_check_outbuf(nameBuffer, nameBufferLen);
	if (!e || e->idx == NOT_STARTED)
		return panic_unless_known(TEE_ERROR_ITEM_NOT_FOUND, TEE_SUCCESS);
	own = own_table(e->set);
	len = (uint32_t)MIN(*nameBufferLen, (size_t)UINT32_MAX);
	if (e->idx < own.num) {
		size_t size = strlcpy(nameBuffer, own.props[e->idx].name, len) + 1;

		res = size > len ? TEE_ERROR_SHORT_BUFFER : TEE_SUCCESS;
		len = (uint32_t)size;
	} else {
		res = _utee_get_property((uintptr_t)e->set, e->idx - own.num, nameBuffer, &len, NULL, NULL, NULL);
	}
	*nameBufferLen = len;
	return panic_unless_known(res, TEE_ERROR_SHORT_BUFFER);
}

TEE_Result TEE_GetNextProperty(TEE_PropSetHandle enumerator)
{
	struct prop_enumerator *e = (struct prop_enumerator *)enumerator;
	struct prop_table own = { NULL, 0 };
	TEE_Result res = TEE_SUCCESS;

	if (!e)
		TEE_Panic(0);
	if (e->idx == NOT_STARTED)
		return TEE_ERROR_ITEM_NOT_FOUND;
	own = own_table(e->set);
	e->idx++;
	if (e->idx >= own.num)
		res = _utee_get_property((uintptr_t)e->set, e->idx - own.num, NULL, NULL, NULL, NULL, NULL);
	return panic_unless_known(res, TEE_SUCCESS);
}

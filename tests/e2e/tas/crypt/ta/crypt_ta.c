/* Requests: taken apart, handed to their command, put together again. */
#include <string.h>

#include "../../common/plain_entries.h"
#include "crypt.h"

static TEE_Result take_attribute(TEE_Attribute *attr, const uint8_t **at, const uint8_t *end)
{
	uint32_t head[2];
	uint32_t b = 0;

	if (end - *at < sizeof(head))
		return TEE_ERROR_BAD_FORMAT;
	memcpy(head, *at, sizeof(head));
	*at += sizeof(head);
	if (head[0] & TEE_ATTR_FLAG_VALUE) {
		if (end - *at < sizeof(b))
			return TEE_ERROR_BAD_FORMAT;
		memcpy(&b, *at, sizeof(b));
		*at += sizeof(b);
		TEE_InitValueAttribute(attr, head[0], head[1], b);
	} else {
		if (end - *at < head[1])
			return TEE_ERROR_BAD_FORMAT;
		TEE_InitRefAttribute(attr, head[0], *at, head[1]);
		*at += head[1];
	}
	return TEE_SUCCESS;
}

static TEE_Result take_attributes(struct request *r, const uint8_t *at, const uint8_t *end)
{
	TEE_Result res = TEE_SUCCESS;
	uint32_t n = 0;

	r->attr_count = (uint32_t)r->w[WORDS - 1];
	if (r->attr_count > 64)
		return TEE_ERROR_BAD_FORMAT;
	r->attrs = r->attr_count ? TEE_Malloc(sizeof(TEE_Attribute) * r->attr_count, TEE_MALLOC_FILL_ZERO) : NULL;
	if (r->attr_count && !r->attrs)
		return TEE_ERROR_OUT_OF_MEMORY;
	for (n = 0; !res && n < r->attr_count; n++)
		res = take_attribute(r->attrs + n, &at, end);
	return res;
}

static struct buffer take(const TEE_Param *p)
{
	return (struct buffer){ p->memref.buffer, p->memref.size };
}

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	const uint32_t expected = TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INOUT, TEE_PARAM_TYPE_MEMREF_INPUT,
						  TEE_PARAM_TYPE_MEMREF_INOUT, TEE_PARAM_TYPE_MEMREF_INOUT);
	command *const *const parts[] = { object_commands, operation_commands, storage_commands };
	struct request r = { .in = take(params + 1), .out = take(params + 2), .tag = take(params + 3) };
	const uint8_t *words = params[0].memref.buffer;
	TEE_Result res = TEE_ERROR_NOT_IMPLEMENTED;
	size_t n = 0;

	(void)session;
	if (types != expected || cmd >= CRYPT_COMMANDS || params[0].memref.size < sizeof(r.w))
		return TEE_ERROR_BAD_FORMAT;
	memcpy(r.w, words, sizeof(r.w));
	res = take_attributes(&r, words + sizeof(r.w), words + params[0].memref.size);
	for (n = 0; !res && n < ARRAY_SIZE(parts); n++)
		if (parts[n][cmd])
			res = parts[n][cmd](&r);
	TEE_Free(r.attrs);
	memcpy(params[0].memref.buffer, r.w, sizeof(r.w));
	params[2].memref.size = r.out.len;
	params[3].memref.size = r.tag.len;
	return res;
}

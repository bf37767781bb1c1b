/* OP-TEE's additions to the Internal Core API. */
#ifndef TEE_INTERNAL_API_EXTENSIONS_H
#define TEE_INTERNAL_API_EXTENSIONS_H

#include <stdio.h>
#include <tee_api_defines_extensions.h>
#include <tee_api_types.h>
#include <trace.h>
#include <types_ext.h>

/* Cache maintenance of the TA's own memory; the TA needs TA_FLAG_CACHE_MAINTENANCE. */
TEE_Result TEE_CacheClean(char *buf, size_t len);
TEE_Result TEE_CacheFlush(char *buf, size_t len);
TEE_Result TEE_CacheInvalidate(char *buf, size_t len);

/*
 * Zeroed memory from the system pseudo TA, outside the heap. flags is 0, or TEE_MEMORY_ACCESS_ANY_OWNER for memory
 * that may be passed to other TAs. NULL when there is none. tee_unmap() takes exactly what was mapped.
 */
void *tee_map_zi(size_t len, uint32_t flags);
TEE_Result tee_unmap(void *buf, size_t len);

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" to *uuid; TEE_ERROR_BAD_FORMAT for anything else. */
TEE_Result tee_uuid_from_str(TEE_UUID *uuid, const char *s);

#endif

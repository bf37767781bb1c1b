/* OP-TEE's additions to the constants of the Internal Core API. */
#ifndef TEE_API_DEFINES_EXTENSIONS_H
#define TEE_API_DEFINES_EXTENSIONS_H

/* TEE_CheckMemoryAccessRights(): the range must be mapped non-secure, or secure */
#define TEE_MEMORY_ACCESS_NONSECURE 0x10000000
#define TEE_MEMORY_ACCESS_SECURE 0x20000000

/* The client is the REE kernel itself */
#define TEE_LOGIN_REE_KERNEL 0x80000000

/* TEE_Malloc(): as TEE_MALLOC_NO_FILL, but allowed for memory that can be shared */
#define TEE_USER_MEM_HINT_NO_FILL_ZERO 0x80000000

#endif

/* Address types OP-TEE's extension headers use. */
#ifndef TYPES_EXT_H
#define TYPES_EXT_H

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef uintptr_t vaddr_t;
typedef uintptr_t paddr_t;

#define PRIxVA PRIxPTR
#define PRIxPA PRIxPTR

#endif

/* The TA's heap, which is TA_DATA_SIZE bytes of its own .bss. */
#ifndef MALLOC_H
#define MALLOC_H

#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *ptr, size_t size);
void free(void *ptr);

#endif

/* String functions beyond ISO C. */
#ifndef STRING_EXT_H
#define STRING_EXT_H

#include <stddef.h>

/* Copy or append with a terminator always written when size > 0; return the length wanted. */
size_t strlcpy(char *dst, const char *src, size_t size);
size_t strlcat(char *dst, const char *src, size_t size);

/* Zero when equal; the time taken depends on n alone. */
int consttime_memcmp(const void *a, const void *b, size_t n);

/* Zeroing that the compiler may not remove. */
void memzero_explicit(void *s, size_t n);

#endif

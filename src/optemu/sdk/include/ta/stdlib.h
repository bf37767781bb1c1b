/* The part of C11 7.22 a TA needs. Implemented in runtime/heap.c and runtime/stdlib.c. */
#ifndef STDLIB_H
#define STDLIB_H

#include <compiler.h>
#include <malloc.h>
#include <stddef.h>

int abs(int v);
void qsort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *));
unsigned long strtoul(const char *s, char **end, int base);

/* Ends in a panic with code 0. */
void abort(void) __noreturn;

#endif

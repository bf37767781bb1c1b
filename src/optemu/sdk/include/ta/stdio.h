/* Formatted output to memory and to the secure log. */
#ifndef STDIO_H
#define STDIO_H

#include <compiler.h>
#include <stdarg.h>
#include <stddef.h>

/*
 * Conversions: d i u x X o c s p %, with flags - + space # 0, width, precision and hh h l ll z j t.
 * %pUl prints a TEE_UUID. The result is always terminated when size > 0; the length wanted is returned.
 */
int snprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) __printf(3, 0);

/* To the secure log, unformatted by the trace prefix; silent below trace level 1. */
int printf(const char *fmt, ...) __printf(1, 2);
int puts(const char *s);
int putchar(int c);

#endif

/* The rest of stdlib.h and assert.h. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <utee_syscalls.h>

#include "runtime.h"

int abs(int v)
{
	return v < 0 ? -v : v;
}

static void swap(unsigned char *a, unsigned char *b, size_t size)
{
	for (; size; size--, a++, b++) {
		unsigned char t = *a;

		*a = *b;
		*b = t;
	}
}

static void sift_down(unsigned char *base, size_t root, size_t n, size_t size,
		      int (*cmp)(const void *, const void *))
{
	size_t child = 0;

	for (; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && cmp(base + child * size, base + (child + 1) * size) < 0)
			child++;
		if (cmp(base + root * size, base + child * size) >= 0)
			return;
		swap(base + root * size, base + child * size, size);
	}
}

/* Heap sort: no recursion and no extra memory, a TA's stack is small. */
void qsort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *))
{
	unsigned char *b = base;
	size_t i = 0;

	for (i = n / 2; i-- > 0;)
		sift_down(b, i, n, size, cmp);
	for (i = n; i-- > 1;) {
		swap(b, b + i * size, size);
		sift_down(b, 0, i, size, cmp);
	}
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
		return (c | 0x20) - 'a' + 10;
	return INT_MAX;
}

unsigned long strtoul(const char *s, char **end, int base)
{
	const char *p = s;
	const char *start = NULL;
	unsigned long v = 0;
	bool overflow = false;
	bool minus = false;

	while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
		p++;
	if (*p == '-' || *p == '+')
		minus = *p++ == '-';
	if ((!base || base == 16) && p[0] == '0' && (p[1] | 0x20) == 'x' && digit(p[2]) < 16) {
		p += 2;
		base = 16;
	} else if (!base) {
		base = *p == '0' ? 8 : 10;
	}
	for (start = p; digit(*p) < base; p++)
		overflow |= MUL_OVERFLOW(v, (unsigned long)base, &v) ||
			    ADD_OVERFLOW(v, (unsigned long)digit(*p), &v);
	if (end)
		*end = (char *)(p == start ? s : p);
	if (overflow)
		return ULONG_MAX;
	return minus ? -v : v;
}

static void __noreturn stop(uint32_t code)
{
	while (true)
		_utee_panic(code);
}

void abort(void)
{
	EMSG_RAW("abort()");
	stop(0);
}

void __assert_failed(const char *expr, const char *file, int line, const char *func)
{
	EMSG_RAW("assertion '%s' failed at %s:%d in %s()", expr, file, line, func);
	stop(TEE_ERROR_GENERIC);
}

/* Messages to the secure log, in the shape OP-TEE gives a TA's: "D/TA:  function:line text". */
#include <stdio.h>
#include <string.h>
#include <trace.h>
#include <util.h>
#include <utee_syscalls.h>

/* Errors, debug and flow carry function and line; information does not. */
#define LONG_PREFIX_LEVELS (BIT(TRACE_ERROR) | BIT(TRACE_DEBUG) | BIT(TRACE_FLOW))

void trace_set_level(int level)
{
	trace_level = level < TRACE_MIN || level > TRACE_MAX ? TRACE_MAX : level;
}

int trace_get_level(void)
{
	return trace_level;
}

void trace_ext_puts(const char *str)
{
	_utee_log(str, strlen(str));
}

/* Room is kept for the newline every line ends with: the caller may give none or several. */
static void end_line(char *buf, size_t len, size_t size)
{
	if (len > size - 2)
		len = size - 2;
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = '\n';
	buf[len + 1] = 0;
}

void trace_vprintf(const char *func, int line, int level, bool level_ok, const char *fmt, va_list ap)
{
	char buf[MAX_PRINT_SIZE];
	size_t len = 0;
	char letter = 'M';

	if (level_ok) {
		if (level < TRACE_MIN || level > TRACE_MAX || level > trace_level)
			return;
		letter = "UEIDF"[level];
	}
	len = snprintf(buf, sizeof(buf), "%c/%s: ", letter, trace_ext_prefix);
	if (level_ok && (BIT(level) & LONG_PREFIX_LEVELS)) {
		len += snprintf(buf + len, sizeof(buf) - len, " ");
		if (func)
			len += snprintf(buf + len, sizeof(buf) - len, "%.*s:%d ", 64, func, line);
	}
	len += vsnprintf(buf + len, sizeof(buf) - len, fmt, ap);
	end_line(buf, len, sizeof(buf));
	trace_ext_puts(buf);
}

void trace_printf(const char *func, int line, int level, bool level_ok, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	trace_vprintf(func, line, level, level_ok, fmt, ap);
	va_end(ap);
}

static void dump_line(const char *func, int line, int level, const uint8_t *p, int n)
{
	char text[16 * 3 + 2];
	size_t len = 0;
	int i = 0;

	for (i = 0; i < n; i++)
		len += snprintf(text + len, sizeof(text) - len, "%02x %s", p[i], i == 7 ? " " : "");
	trace_printf(func, line, level, true, "%0*" PRIxPTR "  %s", (int)(2 * sizeof(p)), (uintptr_t)p, text);
}

void dhex_dump(const char *func, int line, int level, const void *buf, int len)
{
	const uint8_t *p = buf;

	for (; len > 0; len -= 16, p += 16)
		dump_line(func, line, level, p, MIN(len, 16));
}

int printf(const char *fmt, ...)
{
	char buf[MAX_PRINT_SIZE];
	va_list ap;
	int len = 0;

	if (trace_level < TRACE_ERROR)
		return 0;
	va_start(ap, fmt);
	len = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	trace_ext_puts(buf);
	return len;
}

int puts(const char *s)
{
	return printf("%s\n", s) < 0 ? -1 : 1;
}

int putchar(int c)
{
	printf("%c", c);
	return (unsigned char)c;
}

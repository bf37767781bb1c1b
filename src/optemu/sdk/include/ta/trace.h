/*
 * Messages to the secure log. EMSG, IMSG, DMSG, FMSG: error, information, debug, flow. Whatever is above
 * TRACE_LEVEL (optemu build --log-level) is not compiled in.
 */
#ifndef TRACE_H
#define TRACE_H

#include <compiler.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <trace_levels.h>

#define MAX_PRINT_SIZE 256

#ifndef TRACE_LEVEL
#define TRACE_LEVEL TRACE_INFO
#endif

extern int trace_level;
extern const char trace_ext_prefix[];

void trace_set_level(int level);
int trace_get_level(void);
void trace_ext_puts(const char *str);

/* func may be NULL; level_ok false prints whatever the level is. */
void trace_printf(const char *func, int line, int level, bool level_ok, const char *fmt, ...) __printf(5, 6);
void trace_vprintf(const char *func, int line, int level, bool level_ok, const char *fmt, va_list ap)
	__printf(5, 0);
void dhex_dump(const char *func, int line, int level, const void *buf, int len);

#define __TRACE_IF(level, func, line, ok, ...)                                       \
	do {                                                                         \
		if ((level) <= TRACE_LEVEL && TRACE_LEVEL > 0)                       \
			trace_printf((func), (line), (level), (ok), __VA_ARGS__);    \
	} while (0)
#define __TRACE(level, ok, ...) __TRACE_IF(level, __func__, __LINE__, ok, __VA_ARGS__)
#define __TRACE_RAW(level, ok, ...) __TRACE_IF(level, NULL, 0, ok, __VA_ARGS__)

#define MSG(...) __TRACE(0, false, __VA_ARGS__)
#define EMSG(...) __TRACE(TRACE_ERROR, true, __VA_ARGS__)
#define IMSG(...) __TRACE(TRACE_INFO, true, __VA_ARGS__)
#define DMSG(...) __TRACE(TRACE_DEBUG, true, __VA_ARGS__)
#define FMSG(...) __TRACE(TRACE_FLOW, true, __VA_ARGS__)
#define INMSG(...) FMSG("> " __VA_ARGS__)
#define OUTMSG(...) FMSG("< " __VA_ARGS__)

#define MSG_RAW(...) __TRACE_RAW(0, false, __VA_ARGS__)
#define EMSG_RAW(...) __TRACE_RAW(TRACE_ERROR, true, __VA_ARGS__)
#define IMSG_RAW(...) __TRACE_RAW(TRACE_INFO, true, __VA_ARGS__)
#define DMSG_RAW(...) __TRACE_RAW(TRACE_DEBUG, true, __VA_ARGS__)
#define FMSG_RAW(...) __TRACE_RAW(TRACE_FLOW, true, __VA_ARGS__)

#define DHEXDUMP(buf, len)                                                           \
	do {                                                                         \
		if (TRACE_DEBUG <= TRACE_LEVEL)                                      \
			dhex_dump(__func__, __LINE__, TRACE_DEBUG, (buf), (len));    \
	} while (0)

#endif

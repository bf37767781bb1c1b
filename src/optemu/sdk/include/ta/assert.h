#include <compiler.h>

#undef assert
#ifdef NDEBUG
#define assert(expr) ((void)0)
#else
#define assert(expr) ((expr) ? (void)0 : __assert_failed(#expr, __FILE__, __LINE__, __func__))
#endif

#ifndef ASSERT_H
#define ASSERT_H

#ifndef static_assert
#define static_assert _Static_assert
#endif

/* Logs the expression and panics with TEE_ERROR_GENERIC. */
void __assert_failed(const char *expr, const char *file, int line, const char *func) __noreturn;

#endif

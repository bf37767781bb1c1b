/* Compiler attributes under the short names OP-TEE's sources use. */
#ifndef COMPILER_H
#define COMPILER_H

#define __aligned(x) __attribute__((aligned(x)))
#define __maybe_unused __attribute__((unused))
#define __must_check __attribute__((warn_unused_result))
#define __noinline __attribute__((noinline))
#define __noreturn __attribute__((noreturn))
#define __packed __attribute__((packed))
#define __printf(fmt, first) __attribute__((format(printf, fmt, first)))
#define __section(name) __attribute__((section(name)))
#define __unused __attribute__((unused))
#define __used __attribute__((used))
#define __weak __attribute__((weak))

#ifndef fallthrough
#define fallthrough __attribute__((fallthrough))
#endif

#endif

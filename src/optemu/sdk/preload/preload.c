/*
 * Makes a program's open and ioctl of the TEE devices reach optemu where the kernel cannot pass them on: for
 * programs under qemu-user, and on kernels without the seccomp notifications that the gate needs.
 *
 * An open device is one end of a socket pair, so close, dup, fork and exec are the kernel's own business and the
 * server sees the last reference go. The calls themselves travel over a connection of each thread's own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "connection.h"

#define EXPORT __attribute__((visibility("default")))

#define TEE_IOC_TYPE(cmd) ((cmd) >> 8 & 0xff)
#define TEE_IOC_SIZE(cmd) ((cmd) >> 16 & 0x3fff)
#define TEE_MAGIC 0xa4
#define TEE_IOC_OPEN_SESSION 0x8010a402u
#define TEE_IOC_INVOKE 0x8010a403u
#define TEE_IOC_SUPPL_RECV 0x8010a406u
#define TEE_IOC_SUPPL_SEND 0x8010a407u
#define ARG_MAX_SENT 64

struct buf_data {
	uint64_t ptr;
	uint64_t len;
};

/*
 * The kernel answers EFAULT for a wild pointer, so this must not die of one. No system call tells more, cheaply and
 * under qemu-user too, than whether something is mapped there.
 */
static bool is_mapped(const void *p, size_t size)
{
	uintptr_t start = (uintptr_t)p & -sysconf(_SC_PAGESIZE);
	uintptr_t end = (uintptr_t)p + size;

	return end > start && !syscall(SYS_msync, start, end - start, MS_ASYNC);
}

static bool is_path(const char *path, const char *device)
{
	size_t size = strlen(device) + 1;

	return is_mapped(path, size) && !memcmp(path, device, size);
}

static int device_of(const char *path, int flags)
{
	if ((flags & (O_ACCMODE | O_EXCL)) != O_RDWR)
		return -1;
	if (is_path(path, "/dev/tee0"))
		return WIRE_TEE;
	if (is_path(path, "/dev/teepriv0"))
		return WIRE_TEEPRIV;
	return -1;
}

/* open(2) of a device; false when the kernel is to do it, which must not be asked to create one */
static bool tee_open(const char *path, int flags, int *result)
{
	int device = device_of(path, flags);
	struct to_server message = { .kind = OPEN, .cmd = device };
	struct connection *c = NULL;
	bool ours = false;

	if (device < 0)
		return false;
	c = connection_get(false);
	if (!c) {
		*result = -ENOENT;
		return true;
	}
	ours = connection_exchange(c, &message, NULL, NULL, result);
	connection_put(c);
	if (ours && *result >= 0 && !(flags & O_CLOEXEC))
		fcntl(*result, F_SETFD, 0);
	return ours;
}

static bool has_block(uint32_t cmd)
{
	return cmd == TEE_IOC_INVOKE || cmd == TEE_IOC_OPEN_SESSION || cmd == TEE_IOC_SUPPL_RECV ||
	       cmd == TEE_IOC_SUPPL_SEND;
}

/* What most probably will be asked for, sent along; what is not sent is asked for and then may fault */
static void guess_wanted(uint32_t cmd, void *arg, struct iovec *argument, struct iovec *block)
{
	size_t size = TEE_IOC_SIZE(cmd);
	struct buf_data data = { 0 };

	if (!size || size > ARG_MAX_SENT || !is_mapped(arg, size))
		return;
	*argument = (struct iovec){ arg, size };
	if (!has_block(cmd))
		return;
	memcpy(&data, arg, sizeof(data));
	if (data.len <= WIRE_BLOCK_MAX && is_mapped((void *)(uintptr_t)data.ptr, data.len))
		*block = (struct iovec){ (void *)(uintptr_t)data.ptr, data.len };
}

/* ioctl(2) of a device; false when the kernel is to do it */
static bool tee_ioctl(int fd, uint32_t cmd, void *arg, int *result)
{
	struct to_server message = { .kind = IOCTL, .cmd = cmd, .arg = (uintptr_t)arg, .fd = fd };
	struct iovec argument = { 0 }, block = { 0 };
	struct connection *c = NULL;
	struct stat st;
	bool ours = false;

	if (TEE_IOC_TYPE(cmd) != TEE_MAGIC || fstat(fd, &st) || !S_ISSOCK(st.st_mode))
		return false;
	c = connection_get(cmd == TEE_IOC_OPEN_SESSION);
	if (!c) {
		*result = -ENODEV;
		return true;
	}
	message.inode = st.st_ino;
	guess_wanted(cmd, arg, &argument, &block);
	ours = connection_exchange(c, &message, &argument, &block, result);
	connection_put(c);
	return ours;
}

static int answer(int result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

EXPORT int ioctl(int fd, unsigned long cmd, ...)
{
	static int (*next)(int, unsigned long, ...);
	int saved = errno;
	int result = 0;
	void *arg = NULL;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (tee_ioctl(fd, (uint32_t)cmd, arg, &result)) {
		errno = saved;
		return answer(result);
	}
	errno = saved;
	if (!next)
		next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	return next(fd, cmd, arg);
}

static int open_any(int dir, const char *path, int flags, mode_t mode)
{
	static int (*next)(int, const char *, int, ...);
	int saved = errno;
	int result = 0;

	if (tee_open(path, flags, &result)) {
		errno = saved;
		return answer(result);
	}
	errno = saved;
	if (!next)
		next = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat64");
	return next(dir, path, flags, mode);
}

static bool has_mode(int flags)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

#define MODE_OF(flags, mode)			\
	do {					\
		va_list ap;			\
		va_start(ap, flags);		\
		if (has_mode(flags))		\
			mode = va_arg(ap, int);	\
		va_end(ap);			\
	} while (0)

#undef open
#undef openat
#undef open64
#undef openat64

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(dir, path, flags, mode);
}

EXPORT int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	MODE_OF(flags, mode);
	return open_any(dir, path, flags, mode);
}

/* What open becomes in programs compiled with _FORTIFY_SOURCE */
EXPORT int __open_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return open_any(dir, path, flags, 0);
}

EXPORT int __openat64_2(int dir, const char *path, int flags)
{
	return open_any(dir, path, flags, 0);
}

/*
 * Bytes are sent from and received into the program's memory by the kernel, which gives EFAULT where there is none.
 * System calls are made by number: neither cancellation points nor open to other libraries' interposing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "connection.h"

#define SOCKET_VARIABLE "OPTEMU_SOCKET"
/* Above the numbers programs expect for their own */
#define FIRST_FD 500
#define MAX_CONNECTIONS 4096

static __thread struct connection own __attribute__((tls_model("initial-exec"))) = { .fd = -1 };
static pthread_key_t at_thread_exit;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* All connections of this process, for a child to close: there they would outlive us */
static struct {
	_Atomic(int) fd; /* plus 1; 0: free */
	ino_t inode;
} all[MAX_CONNECTIONS];

static bool is_socket(int fd, ino_t inode)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISSOCK(st.st_mode) && st.st_ino == inode;
}

static void remember(int fd, ino_t inode)
{
	for (int n = 0; n < MAX_CONNECTIONS; n++) {
		int is_free = 0;

		if (atomic_compare_exchange_strong(&all[n].fd, &is_free, fd + 1)) {
			all[n].inode = inode;
			return;
		}
	}
}

static void forget(int fd)
{
	for (int n = 0; n < MAX_CONNECTIONS; n++)
		if (atomic_load(&all[n].fd) == fd + 1)
			atomic_store(&all[n].fd, 0);
}

static void close_all_in_child(void)
{
	for (int n = 0; n < MAX_CONNECTIONS; n++) {
		int fd = atomic_load(&all[n].fd) - 1;

		if (fd >= 0 && is_socket(fd, all[n].inode))
			syscall(SYS_close, fd);
		atomic_store(&all[n].fd, 0);
	}
	own.fd = -1;
	own.busy = false;
}

static void hang_up(struct connection *c)
{
	if (c->fd < 0)
		return;
	forget(c->fd);
	if (is_socket(c->fd, c->inode))
		syscall(SYS_close, c->fd);
	c->fd = -1;
}

static void thread_exit(void *c)
{
	hang_up(c);
}

static void initialize(void)
{
	pthread_key_create(&at_thread_exit, thread_exit);
	pthread_atfork(NULL, NULL, close_all_in_child);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = -1, high = -1;

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return -1;
	strcpy(address.sun_path, path);
	fd = syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	while (syscall(SYS_connect, fd, &address, sizeof(address))) {
		if (errno == EINTR)
			continue;
		syscall(SYS_close, fd);
		return -1;
	}
	high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FIRST_FD);
	if (high < 0)
		return fd;
	syscall(SYS_close, fd);
	return high;
}

static bool dial(struct connection *c)
{
	struct to_server hello = { .kind = HELLO, .cmd = WIRE_VERSION };
	struct stat st;
	int result = 0;

	*c = (struct connection){ .fd = connect_to(getenv(SOCKET_VARIABLE)), .pid = getpid() };
	if (c->fd < 0 || fstat(c->fd, &st))
		return false;
	c->inode = st.st_ino;
	remember(c->fd, c->inode);
	if (connection_exchange(c, &hello, NULL, NULL, &result) && !result)
		return true;
	hang_up(c);
	return false;
}

/* The program may have forked past us, closed all it did not know, or put something else in our place */
static bool is_usable(const struct connection *c)
{
	return c->fd >= 0 && c->pid == getpid() && is_socket(c->fd, c->inode);
}

struct connection *connection_get(bool fresh)
{
	struct connection *c = &own;

	pthread_once(&once, initialize);
	if (own.busy && own.pid == getpid()) {
		/* In a signal handler, over a call of the same thread */
		c = malloc(sizeof(*c));
		if (!c || !dial(c)) {
			free(c);
			return NULL;
		}
		return c;
	}
	if (fresh || !is_usable(c)) {
		hang_up(c);
		if (!dial(c))
			return NULL;
		pthread_setspecific(at_thread_exit, c);
	}
	c->busy = true;
	return c;
}

void connection_put(struct connection *c)
{
	c->busy = false;
	if (c != &own) {
		hang_up(c);
		free(c);
	}
}

static ssize_t send_message(int fd, struct msghdr *msg)
{
	ssize_t n = 0;

	do
		n = syscall(SYS_sendmsg, fd, msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n;
}

static ssize_t receive_message(int fd, struct msghdr *msg, int flags)
{
	ssize_t n = 0;

	/* As in the kernel's driver, no signal but a deadly one ends a call */
	do
		n = syscall(SYS_recvmsg, fd, msg, flags);
	while (n < 0 && errno == EINTR);
	return n;
}

static bool post(int fd, struct to_server *message, struct iovec *first, struct iovec *second)
{
	struct iovec iov[3] = { { message, sizeof(*message) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 1 };

	if (first && first->iov_len)
		iov[msg.msg_iovlen++] = *first;
	if (second && second->iov_len)
		iov[msg.msg_iovlen++] = *second;
	return send_message(fd, &msg) >= 0;
}

static bool post_error(int fd, int error)
{
	struct to_server message = { .kind = FAULT, .cmd = error };

	return post(fd, &message, NULL, NULL);
}

static bool give(int fd, uint64_t addr, uint64_t size)
{
	struct to_server message = { .kind = DATA };
	struct iovec bytes = { (void *)(uintptr_t)addr, size };

	return post(fd, &message, &bytes, NULL) || (errno == EFAULT && post_error(fd, EFAULT));
}

/* Looked at first and taken off the queue then: a fault may or may not take it off */
static bool store(int fd, uint64_t addr, uint64_t size)
{
	struct iovec bytes = { (void *)(uintptr_t)addr, size };
	struct msghdr msg = { .msg_iov = &bytes, .msg_iovlen = 1 };
	ssize_t n = receive_message(fd, &msg, MSG_PEEK);
	bool fault = n < 0 ? errno == EFAULT : (uint64_t)n != size;
	struct to_server message = { .kind = DATA };
	char first = 0;

	if (n < 0 && !fault)
		return false;
	bytes = (struct iovec){ &first, 1 };
	receive_message(fd, &msg, 0);
	return fault ? post_error(fd, EFAULT) : post(fd, &message, NULL, NULL);
}

union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(sizeof(int))];
};

static bool give_fd(int fd, int wanted)
{
	union control control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct to_server message = { .kind = DESCRIPTOR };
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.header), &wanted, sizeof(wanted));
	return send_message(fd, &msg) >= 0 || (errno == EBADF && post_error(fd, EBADF));
}

static int received_fd(struct msghdr *msg)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (header && header->cmsg_type == SCM_RIGHTS && header->cmsg_len >= CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* The next message from the server; what follows it goes to place. Its size; a descriptor in *fd or -1 */
static ssize_t take(int fd, struct to_client *message, struct iovec *place, int *passed)
{
	union control control = { 0 };
	struct iovec iov[2] = { { message, sizeof(*message) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = 0;

	if (place && place->iov_len)
		iov[msg.msg_iovlen++] = *place;
	n = receive_message(fd, &msg, MSG_CMSG_CLOEXEC);
	*passed = n < 0 ? -1 : received_fd(&msg);
	return n;
}

static int final_result(const struct to_client *message, ssize_t size, int fd)
{
	if ((uint64_t)size != sizeof(*message) + message->size)
		return -EFAULT;
	if (message->addr & WIRE_GIVES_FD)
		return fd >= 0 ? fd : -EMFILE;
	return message->result;
}

bool connection_exchange(struct connection *c, struct to_server *message, struct iovec *argument,
			 struct iovec *block, int *result)
{
	struct iovec *place = block && block->iov_len ? block : argument;
	struct to_client answer = { 0 };
	bool alive = true;

	message->arg_size = argument ? argument->iov_len : 0;
	alive = post(c->fd, message, argument, block);
	if (!alive && errno == EFAULT) {
		/* Not readable after all: the server will ask for it, and be told so */
		message->arg_size = 0;
		place = NULL;
		alive = post(c->fd, message, NULL, NULL);
	}
	while (alive) {
		int fd = -1;
		ssize_t n = take(c->fd, &answer, place, &fd);

		if (n < 0 && errno == EFAULT) {
			*result = -EFAULT;
			return true;
		}
		if (n < (ssize_t)sizeof(answer))
			break;
		switch (answer.kind) {
		case DONE:
			*result = final_result(&answer, n, fd);
			return true;
		case PASS:
			return false;
		case READ:
			alive = give(c->fd, answer.addr, answer.size);
			break;
		case WRITE:
			alive = store(c->fd, answer.addr, answer.size);
			break;
		case FETCH:
			alive = give_fd(c->fd, answer.addr);
			break;
		default:
			alive = false;
		}
	}
	hang_up(c);
	*result = -ENODEV;
	return true;
}

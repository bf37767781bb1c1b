/* A thread's connection to the server. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "wire.h"

struct connection {
	int fd;
	ino_t inode;
	pid_t pid;
	bool busy;
};

/*
 * The calling thread's connection, made if need be; NULL when no server answers. fresh: made now, because the server
 * knows a client's identity as the kernel saw it then. To be given back with connection_put.
 */
struct connection *connection_get(bool fresh);
void connection_put(struct connection *c);

/*
 * One exchange: sends message with what lies in argument and block, answers the server's questions, ends with its
 * result or a negative errno. What comes back goes into block or, if that is empty, argument. False: not ours.
 */
bool connection_exchange(struct connection *c, struct to_server *message, struct iovec *argument,
			 struct iovec *block, int *result);

#endif

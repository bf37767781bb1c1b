/* What the preload library and optemu say to each other: normal_world/preload/wire.py has the same in Python. */
#ifndef WIRE_H
#define WIRE_H

#include <stdint.h>

#define WIRE_VERSION 1
#define WIRE_BLOCK_MAX 4096

/* To the server. The first three begin an exchange, which ends with DONE or PASS; the others answer a question. */
enum to_server_kind {
	HELLO = 1,	/* cmd: WIRE_VERSION */
	OPEN,		/* cmd: enum wire_device */
	IOCTL,		/* then arg_size bytes at arg, then the block that they point to, if the command has one */
	DATA,		/* the bytes asked for */
	FAULT,		/* cmd: errno */
	DESCRIPTOR,	/* the descriptor asked for, as SCM_RIGHTS */
	ATTACH,		/* not the library's: a seccomp listener to be served, as SCM_RIGHTS */
};

enum wire_device { WIRE_TEE, WIRE_TEEPRIV };

struct to_server {
	uint32_t kind;
	uint32_t cmd;
	uint64_t inode;
	uint64_t arg;
	int32_t fd;
	uint32_t arg_size;
};

/* From the server. */
enum to_client_kind {
	DONE = 1,	/* result; size bytes for the block, or else the argument, follow; flags say if a descriptor comes */
	PASS,		/* not ours: let the kernel do the call */
	READ,		/* give size bytes at addr */
	WRITE,		/* store the next packet, size bytes, at addr */
	FETCH,		/* give descriptor number addr */
	KNOCK,		/* to who sent ATTACH: have the keeper make a notified call */
};

/* In addr of DONE: the result is the number of the descriptor that comes along */
#define WIRE_GIVES_FD 1

struct to_client {
	uint32_t kind;
	int32_t result;
	uint64_t addr;
	uint64_t size;
};

#endif

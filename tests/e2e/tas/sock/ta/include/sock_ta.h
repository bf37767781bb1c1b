/* sock: the TEE Sockets API, call by call. One socket in a session. */
#ifndef SOCK_TA_H
#define SOCK_TA_H

#define TA_SOCK_UUID \
	{ 0x6e0b9a42, 0x1f7d, 0x4c5a, { 0xb3, 0x08, 0x73, 0x6f, 0x63, 0x6b, 0x36, 0x34 } }
#define TA_SOCK_ARM_UUID \
	{ 0x6e0b9a42, 0x1f7d, 0x4c5a, { 0xb3, 0x08, 0x73, 0x6f, 0x63, 0x6b, 0x33, 0x32 } }

/* p0 value_in: protocol, IP version. p1 memref_in: server with its terminator. p2 value_inout: port; protocolError. */
#define SOCK_CMD_OPEN 0
/* p0 memref_in: bytes. p1 value_inout: timeout; how many were sent. */
#define SOCK_CMD_SEND 1
/* p0 memref_out: bytes. p1 value_in: timeout. */
#define SOCK_CMD_RECV 2
/* p0 value_in: command. p1 memref_inout: argument. */
#define SOCK_CMD_IOCTL 3
/* p0 value_out: error(), version; p1 value_out: protocolID. */
#define SOCK_CMD_ERROR 4
#define SOCK_CMD_CLOSE 5

#endif

/* GlobalPlatform TEE Sockets API 1.0: TCP, as client. */
#ifndef TEE_TCPSOCKET_H
#define TEE_TCPSOCKET_H

#include <tee_isocket.h>

#define TEE_ISOCKET_PROTOCOLID_TCP 0x65
#define TEE_ISOCKET_TCP_WARNING_UNKNOWN_OUT_OF_BAND 0xF1010002

/* ioctl: uint32_t, bytes (OP-TEE's own) */
#define TEE_TCP_SET_RECVBUF 0x65f00000
#define TEE_TCP_SET_SENDBUF 0x65f00001

typedef struct TEE_tcpSocket_Setup_s {
	TEE_ipSocket_ipVersion ipVersion;
	char *server_addr; /* name or address */
	uint16_t server_port;
} TEE_tcpSocket_Setup;

extern TEE_iSocket *const TEE_tcpSocket;

#endif

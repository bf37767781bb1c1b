/* GlobalPlatform TEE Sockets API 1.0: UDP, with one peer. */
#ifndef TEE_UDPSOCKET_H
#define TEE_UDPSOCKET_H

#include <tee_isocket.h>

#define TEE_ISOCKET_PROTOCOLID_UDP 0x66
#define TEE_ISOCKET_UDP_WARNING_UNKNOWN_OUT_OF_BAND 0xF1020002

/* ioctl: from now on another peer: a string with its terminator; uint16_t */
#define TEE_UDP_CHANGEADDR 0x66000001
#define TEE_UDP_CHANGEPORT 0x66000002

typedef struct TEE_udpSocket_Setup_s {
	TEE_ipSocket_ipVersion ipVersion;
	char *server_addr; /* name or address */
	uint16_t server_port;
} TEE_udpSocket_Setup;

extern TEE_iSocket *const TEE_udpSocket;

#endif

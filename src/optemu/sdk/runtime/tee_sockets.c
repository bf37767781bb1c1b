/* TEE Sockets API: TCP and UDP, by the socket pseudo TA. */
#include <string.h>
#include <tee_tcpsocket.h>
#include <tee_udpsocket.h>

#include "runtime.h"

#define PTA_SOCKET_UUID \
	{ 0x3b996a7d, 0x2c2b, 0x4a49, { 0xa8, 0x96, 0xe1, 0xfb, 0x57, 0x66, 0xd2, 0xf4 } }
#define PTA_SOCKET_OPEN 1
#define PTA_SOCKET_CLOSE 2
#define PTA_SOCKET_SEND 3
#define PTA_SOCKET_RECV 4
#define PTA_SOCKET_IOCTL 5

struct socket {
	uint32_t handle; /* the pseudo TA's */
	uint32_t error;
};

/* One session for the TA's life; the supplicant keeps its sockets apart from other TAs'. */
static TEE_Result invoke(uint32_t cmd, uint32_t types, TEE_Param params[TEE_NUM_PARAMS])
{
	static const TEE_UUID uuid = PTA_SOCKET_UUID;
	static TEE_TASessionHandle session;
	TEE_Result res = TEE_SUCCESS;

	if (!session)
		res = TEE_OpenTASession(&uuid, TEE_TIMEOUT_INFINITE, 0, NULL, &session, NULL);
	return res ? res : TEE_InvokeTACommand(session, TEE_TIMEOUT_INFINITE, cmd, types, params, NULL);
}

static struct socket *checked(TEE_iSocketHandle ctx, const void *buf, const uint32_t *length, bool needs_buf)
{
	panic_unless(ctx && length && (buf || (!needs_buf && !*length)), 0);
	return ctx;
}

static TEE_Result pta_open(TEE_ipSocket_ipVersion version, const char *server, uint16_t port, uint32_t protocol,
			   uint32_t *handle)
{
	TEE_Param params[TEE_NUM_PARAMS] = { 0 };
	TEE_Result res = TEE_SUCCESS;

	if (version > TEE_IP_VERSION_6 || !server)
		return TEE_ERROR_BAD_PARAMETERS;
	params[0].value.a = version;
	params[0].value.b = port;
	params[1].memref.buffer = (void *)server;
	params[1].memref.size = strlen(server) + 1;
	params[2].value.a = protocol;
	res = invoke(PTA_SOCKET_OPEN,
		     TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_MEMREF_INPUT,
				     TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_VALUE_OUTPUT),
		     params);
	if (!res)
		*handle = params[3].value.a;
	return res;
}

/* A protocol's own warning, and a host without an address, are told by protocol_error. */
static TEE_Result open(TEE_iSocketHandle *ctx, TEE_ipSocket_ipVersion version, const char *server, uint16_t port,
		       uint32_t protocol, uint32_t warning, uint32_t *protocol_error)
{
	struct socket *s = TEE_Malloc(sizeof(*s), TEE_MALLOC_FILL_ZERO);
	TEE_Result res = TEE_SUCCESS;

	*protocol_error = TEE_SUCCESS;
	if (!s)
		return TEE_ERROR_OUT_OF_MEMORY;
	res = pta_open(version, server, port, protocol, &s->handle);
	if (res) {
		TEE_Free(s);
		s = NULL;
	}
	*ctx = s;
	if (res != TEE_ISOCKET_ERROR_HOSTNAME && res != warning)
		return res;
	*protocol_error = res;
	return res == warning ? TEE_ISOCKET_WARNING_PROTOCOL : TEE_ISOCKET_ERROR_PROTOCOL;
}

static TEE_Result tcp_open(TEE_iSocketHandle *ctx, void *setup, uint32_t *protocol_error)
{
	const TEE_tcpSocket_Setup *to = setup;

	panic_unless(ctx && setup && protocol_error, 0);
	return open(ctx, to->ipVersion, to->server_addr, to->server_port, TEE_ISOCKET_PROTOCOLID_TCP,
		    TEE_ISOCKET_TCP_WARNING_UNKNOWN_OUT_OF_BAND, protocol_error);
}

static TEE_Result udp_open(TEE_iSocketHandle *ctx, void *setup, uint32_t *protocol_error)
{
	const TEE_udpSocket_Setup *to = setup;

	panic_unless(ctx && setup && protocol_error, 0);
	return open(ctx, to->ipVersion, to->server_addr, to->server_port, TEE_ISOCKET_PROTOCOLID_UDP,
		    TEE_ISOCKET_UDP_WARNING_UNKNOWN_OUT_OF_BAND, protocol_error);
}

static TEE_Result close(TEE_iSocketHandle ctx)
{
	TEE_Param params[TEE_NUM_PARAMS] = { 0 };
	struct socket *s = ctx;
	TEE_Result res = TEE_SUCCESS;

	if (!s)
		return TEE_SUCCESS;
	params[0].value.a = s->handle;
	res = invoke(PTA_SOCKET_CLOSE, TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, 0, 0, 0), params);
	TEE_Free(s);
	return res;
}

/* Handle and what with it, then memory; the third parameter is there for the command that has one. */
static TEE_Result transfer(struct socket *s, uint32_t cmd, uint32_t how, uint32_t types, const void *buf, uint32_t len,
			   TEE_Param params[TEE_NUM_PARAMS])
{
	memset(params, 0, sizeof(TEE_Param) * TEE_NUM_PARAMS);
	params[0].value.a = s->handle;
	params[0].value.b = how;
	params[1].memref.buffer = (void *)buf;
	params[1].memref.size = len;
	s->error = invoke(cmd, types, params);
	return s->error;
}

static TEE_Result send(TEE_iSocketHandle ctx, const void *buf, uint32_t *length, uint32_t timeout)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_MEMREF_INPUT,
					       TEE_PARAM_TYPE_VALUE_OUTPUT, 0);
	struct socket *s = checked(ctx, buf, length, true);
	TEE_Param params[TEE_NUM_PARAMS];
	TEE_Result res = transfer(s, PTA_SOCKET_SEND, timeout, types, buf, *length, params);

	*length = params[2].value.a;
	return res;
}

static TEE_Result recv(TEE_iSocketHandle ctx, void *buf, uint32_t *length, uint32_t timeout)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_MEMREF_OUTPUT, 0, 0);
	struct socket *s = checked(ctx, buf, length, false);
	TEE_Param params[TEE_NUM_PARAMS];
	TEE_Result res = transfer(s, PTA_SOCKET_RECV, timeout, types, buf, *length, params);

	*length = params[1].memref.size;
	return res;
}

static uint32_t error(TEE_iSocketHandle ctx)
{
	panic_unless(ctx, 0);
	return ((struct socket *)ctx)->error;
}

static TEE_Result ioctl(TEE_iSocketHandle ctx, uint32_t cmd, uint32_t one, uint32_t other, void *buf, uint32_t *length)
{
	const uint32_t types = TEE_PARAM_TYPES(TEE_PARAM_TYPE_VALUE_INPUT, TEE_PARAM_TYPE_MEMREF_INOUT, 0, 0);
	struct socket *s = checked(ctx, buf, length, false);
	TEE_Param params[TEE_NUM_PARAMS];
	TEE_Result res = TEE_SUCCESS;

	if (!(cmd >> 24))
		return TEE_SUCCESS; /* for all protocols: there is none yet */
	panic_unless(cmd == one || cmd == other, 0);
	res = transfer(s, PTA_SOCKET_IOCTL, cmd, types, buf, *length, params);
	*length = params[1].memref.size;
	return res;
}

static TEE_Result tcp_ioctl(TEE_iSocketHandle ctx, uint32_t cmd, void *buf, uint32_t *length)
{
	return ioctl(ctx, cmd, TEE_TCP_SET_RECVBUF, TEE_TCP_SET_SENDBUF, buf, length);
}

static TEE_Result udp_ioctl(TEE_iSocketHandle ctx, uint32_t cmd, void *buf, uint32_t *length)
{
	return ioctl(ctx, cmd, TEE_UDP_CHANGEADDR, TEE_UDP_CHANGEPORT, buf, length);
}

static TEE_iSocket tcp = {
	.TEE_iSocketVersion = TEE_ISOCKET_VERSION,
	.protocolID = TEE_ISOCKET_PROTOCOLID_TCP,
	.open = tcp_open,
	.close = close,
	.send = send,
	.recv = recv,
	.error = error,
	.ioctl = tcp_ioctl,
};

static TEE_iSocket udp = {
	.TEE_iSocketVersion = TEE_ISOCKET_VERSION,
	.protocolID = TEE_ISOCKET_PROTOCOLID_UDP,
	.open = udp_open,
	.close = close,
	.send = send,
	.recv = recv,
	.error = error,
	.ioctl = udp_ioctl,
};

TEE_iSocket *const TEE_tcpSocket = &tcp;
TEE_iSocket *const TEE_udpSocket = &udp;

#include <sock_ta.h>
#include <tee_internal_api.h>
#include <tee_tcpsocket.h>
#include <tee_udpsocket.h>

#include "../../common/plain_entries.h"

#define NONE TEE_PARAM_TYPE_NONE
#define VALUE_IN TEE_PARAM_TYPE_VALUE_INPUT
#define VALUE_OUT TEE_PARAM_TYPE_VALUE_OUTPUT
#define VALUE_INOUT TEE_PARAM_TYPE_VALUE_INOUT
#define MEMREF_IN TEE_PARAM_TYPE_MEMREF_INPUT
#define MEMREF_OUT TEE_PARAM_TYPE_MEMREF_OUTPUT
#define MEMREF_INOUT TEE_PARAM_TYPE_MEMREF_INOUT

static TEE_iSocket *api;
static TEE_iSocketHandle sock;

static TEE_Result cmd_open(TEE_Param params[4])
{
	TEE_tcpSocket_Setup tcp = { params[0].value.b, params[1].memref.buffer, params[2].value.a };
	TEE_udpSocket_Setup udp = { params[0].value.b, params[1].memref.buffer, params[2].value.a };
	bool is_tcp = params[0].value.a == TEE_ISOCKET_PROTOCOLID_TCP;

	api = is_tcp ? TEE_tcpSocket : TEE_udpSocket;
	return api->open(&sock, is_tcp ? (void *)&tcp : (void *)&udp, &params[2].value.a);
}

static TEE_Result cmd_send(TEE_Param params[4])
{
	uint32_t length = params[0].memref.size;
	TEE_Result res = api->send(sock, params[0].memref.buffer, &length, params[1].value.a);

	params[1].value.a = length;
	return res;
}

static TEE_Result cmd_recv(TEE_Param params[4])
{
	uint32_t length = params[0].memref.size;
	TEE_Result res = api->recv(sock, params[0].memref.buffer, &length, params[1].value.a);

	params[0].memref.size = length;
	return res;
}

static TEE_Result cmd_ioctl(TEE_Param params[4])
{
	uint32_t length = params[1].memref.size;
	TEE_Result res = api->ioctl(sock, params[0].value.a, params[1].memref.buffer, &length);

	params[1].memref.size = length;
	return res;
}

static TEE_Result cmd_error(TEE_Param params[4])
{
	params[0].value.a = api->error(sock);
	params[0].value.b = api->TEE_iSocketVersion;
	params[1].value.a = api->protocolID;
	return TEE_SUCCESS;
}

static TEE_Result cmd_close(TEE_Param params[4])
{
	TEE_Result res = api->close(sock);

	(void)params;
	sock = NULL;
	return res;
}

static const struct {
	uint32_t types;
	TEE_Result (*handle)(TEE_Param params[4]);
} commands[] = {
	[SOCK_CMD_OPEN] = { TEE_PARAM_TYPES(VALUE_IN, MEMREF_IN, VALUE_INOUT, NONE), cmd_open },
	[SOCK_CMD_SEND] = { TEE_PARAM_TYPES(MEMREF_IN, VALUE_INOUT, NONE, NONE), cmd_send },
	[SOCK_CMD_RECV] = { TEE_PARAM_TYPES(MEMREF_OUT, VALUE_IN, NONE, NONE), cmd_recv },
	[SOCK_CMD_IOCTL] = { TEE_PARAM_TYPES(VALUE_IN, MEMREF_INOUT, NONE, NONE), cmd_ioctl },
	[SOCK_CMD_ERROR] = { TEE_PARAM_TYPES(VALUE_OUT, VALUE_OUT, NONE, NONE), cmd_error },
	[SOCK_CMD_CLOSE] = { TEE_PARAM_TYPES(NONE, NONE, NONE, NONE), cmd_close },
};

TEE_Result TA_InvokeCommandEntryPoint(void *session, uint32_t cmd, uint32_t types, TEE_Param params[4])
{
	(void)session;
	if (cmd >= sizeof(commands) / sizeof(commands[0]) || types != commands[cmd].types)
		return TEE_ERROR_BAD_PARAMETERS;
	return commands[cmd].handle(params);
}

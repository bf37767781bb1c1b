/* What the client and the TA agree on. */
#ifndef HELLO_WORLD_TA_H
#define HELLO_WORLD_TA_H

#define TA_HELLO_WORLD_UUID \
	{ 0x8da74583, 0xf878, 0x42c1, { 0xb6, 0x64, 0x0c, 0xdc, 0xa2, 0x77, 0xe3, 0x48 } }

/* One more, or one less: parameter 0 is a value, in and out. */
#define TA_HELLO_WORLD_CMD_INC_VALUE 0
#define TA_HELLO_WORLD_CMD_DEC_VALUE 1

#endif

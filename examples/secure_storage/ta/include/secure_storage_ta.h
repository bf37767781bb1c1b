/* What the client and the TA agree on. */
#ifndef SECURE_STORAGE_TA_H
#define SECURE_STORAGE_TA_H

#define TA_SECURE_STORAGE_UUID \
	{ 0x6d9d1bb2, 0x5c34, 0x4f0a, { 0x8e, 0x61, 0x3a, 0x0b, 0x77, 0xc2, 0x15, 0xd4 } }

#define NOTE_NAME_MAX 64
#define NOTE_MAX 4096

/* Parameter 0 is the note's name, in; parameter 1 the note: in to put, out to get. */
#define TA_SECURE_STORAGE_CMD_PUT 0
#define TA_SECURE_STORAGE_CMD_GET 1
#define TA_SECURE_STORAGE_CMD_DELETE 2
/* Parameter 0 is the names, out, each with a zero byte after it. */
#define TA_SECURE_STORAGE_CMD_LIST 3

#endif

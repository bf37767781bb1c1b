/*
 * speed: what `make bench` measures. p0 is a value (a, b), p1 a memory reference where a command says so.
 *
 * What a command needs (an operation, its key, an object) is made at the first call with the same a and b, and kept:
 * the other calls do only what the command is named after.
 */
#ifndef SPEED_TA_H
#define SPEED_TA_H

#define TA_SPEED_UUID \
	{ 0x5f1b7c3e, 0x92d4, 0x4e67, { 0xa8, 0x0d, 0x1c, 0x64, 0xe5, 0x3b, 0x97, 0xf2 } }

/* a: algorithm of a cipher, digest or AE; p1 in place (the digest at its start) */
#define SPEED_CMD_DATA 0
/* a: algorithm, b: bits of the key, which is the same one for both */
#define SPEED_CMD_SIGN 1
#define SPEED_CMD_VERIFY 2
/* a: type, b: bits */
#define SPEED_CMD_KEYGEN 3
/* a: SPEED_CALL_*, b: how often */
#define SPEED_CMD_CALLS 4
/* the object number b, with p1 as its data */
#define SPEED_CMD_CREATE 5
/* object number 0, from its start: p1 */
#define SPEED_CMD_WRITE 6
#define SPEED_CMD_READ 7
/* -> a: how many objects there are */
#define SPEED_CMD_ENUMERATE 8

#define SPEED_CALL_BARE 0
#define SPEED_CALL_HASH_UPDATE 1
#define SPEED_CALL_GET_OBJECT_INFO 2
#define SPEED_CALL_RESET_OPERATION 3
#define SPEED_CALL_CIPHER_INIT 4

#endif

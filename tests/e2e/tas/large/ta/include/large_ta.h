/* large: 64 MiB of initialised data and a heap of 64 MiB, as no board would have them. */
#ifndef LARGE_TA_H
#define LARGE_TA_H

#define TA_LARGE_UUID \
	{ 0x0c1f3d52, 0x77a4, 0x4f0b, { 0x8e, 0x21, 0x6c, 0x61, 0x72, 0x67, 0x65, 0x00 } }

#define LARGE_SIZE 0x4000000

/* p0 -> {first and last word of the data}, both then incremented, and a page in between; p1 -> {1 if the heap gave all
 * but a megabyte, first byte of it}, then written to at both ends. */
#define LARGE_CMD_TOUCH 0

#endif

/*
 * multi: the same TA with other flags, chosen by the macro VARIANT (optemu build -D VARIANT=n), each with a UUID of
 * its own. Commands: common/sessions_ta.h.
 */
#ifndef MULTI_TA_H
#define MULTI_TA_H

#ifndef VARIANT
#define VARIANT 0
#endif

/* 0: an instance for each session. */
#define TA_MULTI_0_UUID \
	{ 0x4e77044f, 0x093b, 0x4de7, { 0xab, 0xf1, 0xdb, 0xa7, 0x5d, 0x3f, 0x3a, 0x6a } }
/* 1: one instance, one session: a second one is refused as busy. */
#define TA_MULTI_1_UUID \
	{ 0xa1f208ab, 0x96c7, 0x4cd3, { 0xbd, 0x2a, 0x95, 0x3d, 0x36, 0x80, 0xd2, 0x78 } }
/* 2: one instance, many sessions, gone with the last. */
#define TA_MULTI_2_UUID \
	{ 0xa680a47a, 0x4a97, 0x4aea, { 0xbd, 0x2c, 0x79, 0xc1, 0xbd, 0x0e, 0x25, 0x1d } }
/* 3: the create entry point returns TEE_ERROR_NO_DATA. */
#define TA_MULTI_3_UUID \
	{ 0x34b974fd, 0x62eb, 0x40e1, { 0x93, 0xdf, 0xa7, 0x74, 0x3c, 0x5d, 0x63, 0x1e } }
/* 4: one instance, many sessions, kept alive even when it has crashed. */
#define TA_MULTI_4_UUID \
	{ 0xb42d8321, 0x1196, 0x4be4, { 0x99, 0xcd, 0xc7, 0x31, 0x80, 0x5a, 0x07, 0xad } }

#endif

/* single: one instance, many sessions, kept alive after the last. Commands: common/sessions_ta.h. */
#ifndef SINGLE_TA_H
#define SINGLE_TA_H

#define TA_SINGLE_UUID \
	{ 0xe94b72db, 0x2511, 0x4b87, { 0x89, 0x64, 0xd2, 0x64, 0xfd, 0xeb, 0x5d, 0x12 } }

#endif

#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include <sock_ta.h>

#ifdef __arm__
#define TA_UUID TA_SOCK_ARM_UUID
#else
#define TA_UUID TA_SOCK_UUID
#endif
#define TA_FLAGS 0
#define TA_STACK_SIZE (8 * 1024)
#define TA_DATA_SIZE (32 * 1024)

#endif

#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include <traced_ta.h>

#ifdef __arm__
#define TA_UUID TA_TRACED_ARM_UUID
#else
#define TA_UUID TA_TRACED_UUID
#endif
#define TA_FLAGS 0
#define TA_STACK_SIZE (16 * 1024)
#define TA_DATA_SIZE (32 * 1024)

#endif

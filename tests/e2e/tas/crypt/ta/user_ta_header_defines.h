#ifndef USER_TA_HEADER_DEFINES_H
#define USER_TA_HEADER_DEFINES_H

#include <crypt_ta.h>

#ifdef __arm__
#define TA_UUID TA_CRYPT_ARM_UUID
#else
#define TA_UUID TA_CRYPT_UUID
#endif
#define TA_FLAGS 0
#define TA_STACK_SIZE (16 * 1024)
#define TA_DATA_SIZE (1024 * 1024)

#endif

#include <multi_ta.h>

#if VARIANT == 3
#define CREATE_RESULT TEE_ERROR_NO_DATA
#endif

#include "../../common/sessions_ta.c"

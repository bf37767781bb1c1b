#include "../../common/sessions_ta.c"

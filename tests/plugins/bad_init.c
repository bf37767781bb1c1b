#include "plugin_method.h"

static TEEC_Result start(void) { return 0xffff000c; }
static TEEC_Result invoke(unsigned int a, unsigned int b, void *c, size_t d, size_t *e) { return 0; }
struct plugin_method plugin_method = { "bad init", TEST_PLUGIN_UUID, start, invoke };

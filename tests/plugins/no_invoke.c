#include "plugin_method.h"

struct plugin_method plugin_method = { "none", TEST_PLUGIN_UUID, 0, 0 };

/*
 * The plugin that xtest calls, of our own making: 0 nothing, 1 a + b or a - b of two words, 2 sum of bytes, 3 a text.
 * For our own tests: 4 fails with sub_cmd, 5 claims to have written sub_cmd bytes.
 */
#include "plugin_method.h"

static int ready;
static TEEC_Result start(void) { ready = 1; return 0; }

static TEEC_Result invoke(unsigned int cmd, unsigned int sub_cmd, void *data, size_t in_len, size_t *out_len)
{
	static const char text[] = "Array from plugin";
	uint32_t *words = data;
	uint8_t *bytes = data;
	uint8_t sum = 0;
	size_t n = 0;

	if (!ready)
		return 0xffff0007;
	switch (cmd) {
	case 0:
		return data || in_len ? 0xffff0006 : 0;
	case 1:
		words[0] = sub_cmd == '+' ? words[0] + words[1] : words[0] - words[1];
		*out_len = sizeof(words[0]);
		return 0;
	case 2:
		for (n = 0; n < in_len; n++)
			sum += bytes[n];
		bytes[0] = sum;
		*out_len = 1;
		return 0;
	case 3:
		if (in_len < sizeof(text))
			return 0xffff0000;
		for (n = 0; n < sizeof(text); n++)
			bytes[n] = text[n];
		*out_len = sizeof(text);
		return 0;
	case 4:
		return sub_cmd;
	case 5:
		*out_len = sub_cmd;
		return 0;
	}
	return 0xffff000a;
}

struct plugin_method plugin_method = { "test", TEST_PLUGIN_UUID, start, invoke };

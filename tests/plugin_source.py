"""A plugin of the supplicant, and others that cannot be used: C sources and their compilation."""

import subprocess
import sys
from pathlib import Path

HEADER = """
#include <stddef.h>
#include <stdint.h>

typedef uint32_t TEEC_Result;
typedef struct { uint32_t timeLow; uint16_t timeMid; uint16_t timeHiAndVersion; uint8_t clockSeqAndNode[8]; } TEEC_UUID;

struct plugin_method {
	const char *name;
	TEEC_UUID uuid;
	TEEC_Result (*init)(void);
	TEEC_Result (*invoke)(unsigned int cmd, unsigned int sub_cmd, void *data, size_t in_len, size_t *out_len);
};

#define UUID { 0xf07bfc66, 0x958c, 0x4a15, { 0x99, 0xc0, 0x26, 0x0e, 0x4e, 0x73, 0x75, 0xdd } }
"""
UUID = "f07bfc66-958c-4a15-99c0-260e4e7375dd"

# 0: nothing. 1: a + b or a - b of two words. 2: sum of bytes. 3: a text. 4: fails with sub_cmd. 5: claims sub_cmd bytes.
GOOD = (
    HEADER
    + """
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

struct plugin_method plugin_method = { "test", UUID, start, invoke };
"""
)
NO_METHOD = "int nothing;\n"
NO_INVOKE = HEADER + 'struct plugin_method plugin_method = { "none", UUID, 0, 0 };\n'
BAD_INIT = (
    HEADER
    + """
static TEEC_Result start(void) { return 0xffff000c; }
static TEEC_Result invoke(unsigned int a, unsigned int b, void *c, size_t d, size_t *e) { return 0; }
struct plugin_method plugin_method = { "bad init", UUID, start, invoke };
"""
)


def compile_plugin(source: str, path: Path) -> None:
    """A shared library of this host, without a C library."""
    c = path.with_suffix(".c")
    c.write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-shared", "-fPIC", "-nostdlib", "-fno-sanitize=all"]
    subprocess.run([*command, "-o", str(path), str(c)], check=True, capture_output=True)
    c.unlink()

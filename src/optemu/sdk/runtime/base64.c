#include "base64.h"

#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool base64_enc(const void *data, size_t size, char *text, size_t *len)
{
	const uint8_t *p = data;
	size_t need = (size + 2) / 3 * 4 + 1;
	bool fits = need <= *len;
	size_t i = 0;

	*len = need;
	if (!fits)
		return false;
	for (; i < size; i += 3) {
		uint32_t left = (uint32_t)(size - i);
		uint32_t v = p[i] << 16 | (left > 1 ? p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		*text++ = alphabet[v >> 18];
		*text++ = alphabet[v >> 12 & 63];
		*text++ = left > 1 ? alphabet[v >> 6 & 63] : '=';
		*text++ = left > 2 ? alphabet[v & 63] : '=';
	}
	*text = 0;
	return true;
}

bool base64_dec(const char *text, void *data, size_t *len)
{
	uint8_t *out = data;
	size_t room = *len;
	size_t size = 0;
	uint32_t bits = 0;
	int n = 0;

	*len = 0;
	for (; *text && *text != '='; text++) {
		const char *at = strchr(alphabet, *text);

		if (!at)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		n += 6;
		if (n < 8)
			continue;
		n -= 8;
		if (size < room)
			out[size] = (uint8_t)(bits >> n);
		size++;
	}
	*len = size;
	return size <= room;
}

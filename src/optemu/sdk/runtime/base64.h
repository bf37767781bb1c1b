/* RFC 4648 base64. Lengths go in as what the buffer holds and come out as what is wanted. */
#ifndef BASE64_H
#define BASE64_H

#include <stdbool.h>
#include <stddef.h>

/* Text with its terminator. False when it does not fit; *len is then what would. */
bool base64_enc(const void *data, size_t size, char *text, size_t *len);
/* False when the text is no base64 (*len 0) or when it does not fit (*len says what would). */
bool base64_dec(const char *text, void *data, size_t *len);

#endif

/* vsnprintf(). 64-bit values are printed without a 64-bit division, which Arm32 would have to call for. */
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <tee_api_types.h>

struct sink {
	char *buf;
	size_t size;
	size_t len; /* of the whole text, whether it fits or not */
};

struct spec {
	bool left, plus, space, alt, zero;
	int width;
	int precision; /* -1: not given */
};

static void put(struct sink *s, char c)
{
	if (s->len + 1 < s->size)
		s->buf[s->len] = c;
	s->len++;
}

static void pad(struct sink *s, char c, int n)
{
	while (n-- > 0)
		put(s, c);
}

static void put_text(struct sink *s, const struct spec *sp, const char *text, size_t len)
{
	int fill = sp->width - (int)len;

	pad(s, ' ', sp->left ? 0 : fill);
	while (len--)
		put(s, *text++);
	pad(s, ' ', sp->left ? fill : 0);
}

static uint64_t div10(uint64_t v)
{
	uint64_t q = (v >> 1) + (v >> 2);

	q += q >> 4;
	q += q >> 8;
	q += q >> 16;
	q += q >> 32;
	q >>= 3;
	return q + (v - q * 10 > 9);
}

/* Digits of v from the end of tmp backwards; returns how many. */
static int digits(char *end, uint64_t v, unsigned int base, bool upper)
{
	const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	unsigned int shift = base == 16 ? 4 : 3;
	int n = 0;

	for (; v; n++) {
		uint64_t q = base == 10 ? div10(v) : v >> shift;

		*--end = set[v - q * base];
		v = q;
	}
	return n;
}

static void put_number(struct sink *s, const struct spec *sp, uint64_t v, unsigned int base, bool upper,
		       const char *prefix)
{
	char tmp[24];
	int n = digits(tmp + sizeof(tmp), v, base, upper);
	int least = sp->precision < 0 ? 1 : sp->precision;
	int zeroes = n < least ? least - n : 0;
	int fill = 0;

	fill = sp->width - n - zeroes - (int)strlen(prefix);
	if (sp->zero && !sp->left && sp->precision < 0 && fill > 0) {
		zeroes += fill;
		fill = 0;
	}
	pad(s, ' ', sp->left ? 0 : fill);
	while (*prefix)
		put(s, *prefix++);
	pad(s, '0', zeroes);
	for (; n; n--)
		put(s, tmp[sizeof(tmp) - n]);
	pad(s, ' ', sp->left ? fill : 0);
}

static void put_signed(struct sink *s, const struct spec *sp, int64_t v)
{
	const char *prefix = v < 0 ? "-" : sp->plus ? "+" : sp->space ? " " : "";

	put_number(s, sp, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, false, prefix);
}

static void put_unsigned(struct sink *s, const struct spec *sp, uint64_t v, char conv)
{
	const char *prefix = "";

	if (sp->alt && v)
		prefix = conv == 'x' ? "0x" : conv == 'X' ? "0X" : conv == 'o' ? "0" : "";
	put_number(s, sp, v, conv == 'u' ? 10 : conv == 'o' ? 8 : 16, conv == 'X', prefix);
}

static void put_hex(struct sink *s, const uint8_t *p, int n)
{
	for (; n; n--, p++) {
		put(s, "0123456789abcdef"[*p >> 4]);
		put(s, "0123456789abcdef"[*p & 15]);
	}
}

static void put_uuid(struct sink *s, const TEE_UUID *u)
{
	const uint8_t head[8] = {
		u->timeLow >> 24, u->timeLow >> 16, u->timeLow >> 8, u->timeLow,
		u->timeMid >> 8, u->timeMid, u->timeHiAndVersion >> 8, u->timeHiAndVersion,
	};

	put_hex(s, head, 4);
	put(s, '-');
	put_hex(s, head + 4, 2);
	put(s, '-');
	put_hex(s, head + 6, 2);
	put(s, '-');
	put_hex(s, u->clockSeqAndNode, 2);
	put(s, '-');
	put_hex(s, u->clockSeqAndNode + 2, 6);
}

static int number(const char **fmt)
{
	int n = 0;

	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		if (n < INT_MAX / 20)
			n = n * 10 + (**fmt - '0');
	return n;
}

static bool flag(struct spec *sp, char c)
{
	switch (c) {
	case '-':
		return sp->left = true;
	case '+':
		return sp->plus = true;
	case ' ':
		return sp->space = true;
	case '#':
		return sp->alt = true;
	case '0':
		return sp->zero = true;
	default:
		return false;
	}
}

/* Length modifiers as a number of bytes; int when there is none. */
static size_t length(const char **fmt)
{
	char c = **fmt;
	bool twice = c && (*fmt)[1] == c;

	switch (c) {
	case 'h':
		*fmt += twice ? 2 : 1;
		return twice ? sizeof(char) : sizeof(short);
	case 'l':
		*fmt += twice ? 2 : 1;
		return twice ? sizeof(long long) : sizeof(long);
	case 'j':
		(*fmt)++;
		return sizeof(intmax_t);
	case 'z':
	case 't':
		(*fmt)++;
		return sizeof(size_t);
	default:
		return sizeof(int);
	}
}

/* va_list may be an array type: keep it in a struct to pass it on by reference. */
struct args {
	va_list ap;
};

static int int_arg(struct args *a)
{
	return va_arg(a->ap, int);
}

static int64_t signed_arg(struct args *a, size_t size)
{
	if (size == sizeof(int64_t))
		return va_arg(a->ap, int64_t);
	if (size == sizeof(char))
		return (signed char)va_arg(a->ap, int);
	if (size == sizeof(short))
		return (short)va_arg(a->ap, int);
	return va_arg(a->ap, int);
}

static uint64_t unsigned_arg(struct args *a, size_t size)
{
	if (size == sizeof(uint64_t))
		return va_arg(a->ap, uint64_t);
	if (size == sizeof(char))
		return (unsigned char)va_arg(a->ap, int);
	if (size == sizeof(short))
		return (unsigned short)va_arg(a->ap, int);
	return va_arg(a->ap, unsigned int);
}

static void put_string(struct sink *s, const struct spec *sp, const char *text)
{
	if (!text)
		text = "(null)";
	put_text(s, sp, text, strnlen(text, sp->precision < 0 ? SIZE_MAX : (size_t)sp->precision));
}

static void put_pointer(struct sink *s, struct spec *sp, const char **fmt, const void *p)
{
	if ((*fmt)[0] == 'U' && (*fmt)[1] == 'l') {
		*fmt += 2;
		put_uuid(s, p);
		return;
	}
	sp->alt = true;
	put_unsigned(s, sp, (uintptr_t)p, 'x');
}

static void read_spec(struct spec *sp, const char **fmt, struct args *a)
{
	*sp = (struct spec){ .precision = -1 };
	while (flag(sp, **fmt))
		(*fmt)++;
	if (**fmt == '*') {
		(*fmt)++;
		sp->width = int_arg(a);
		if (sp->width < 0) {
			sp->left = true;
			sp->width = sp->width == INT_MIN ? 0 : -sp->width;
		}
	} else {
		sp->width = number(fmt);
	}
	if (**fmt != '.')
		return;
	(*fmt)++;
	if (**fmt == '*') {
		(*fmt)++;
		sp->precision = int_arg(a);
	} else {
		sp->precision = number(fmt);
	}
}

static void convert(struct sink *s, const char **fmt, struct args *a)
{
	struct spec sp;
	size_t size = 0;
	char conv = 0;
	char c = 0;

	read_spec(&sp, fmt, a);
	size = length(fmt);
	conv = **fmt;
	if (!conv)
		return;
	(*fmt)++;
	switch (conv) {
	case 'd':
	case 'i':
		put_signed(s, &sp, signed_arg(a, size));
		break;
	case 'u':
	case 'o':
	case 'x':
	case 'X':
		put_unsigned(s, &sp, unsigned_arg(a, size), conv);
		break;
	case 'c':
		c = (char)int_arg(a);
		put_text(s, &sp, &c, 1);
		break;
	case 's':
		put_string(s, &sp, va_arg(a->ap, const char *));
		break;
	case 'p':
		put_pointer(s, &sp, fmt, va_arg(a->ap, void *));
		break;
	default:
		put(s, conv);
		break;
	}
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct sink s = { .buf = buf, .size = size };
	struct args a;

	va_copy(a.ap, ap);
	while (*fmt) {
		if (*fmt != '%')
			put(&s, *fmt++);
		else if (fmt++, *fmt)
			convert(&s, &fmt, &a);
	}
	va_end(a.ap);
	if (size)
		buf[s.len < size ? s.len : size - 1] = 0;
	return s.len > INT_MAX ? INT_MAX : (int)s.len;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len = 0;

	va_start(ap, fmt);
	len = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return len;
}

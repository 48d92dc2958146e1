#define _GNU_SOURCE
#include "utf8.h"

#include <wchar.h>

size_t utf8_decode(const uint8_t *text, size_t len, uint32_t *code)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint8_t first = text[0];
	size_t need = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
	uint32_t value = need == 1 ? first : first & (0xffu >> (need + 1));

	*code = UTF8_BAD;
	if (need == 0 || need > len)
		return 1;
	for (size_t i = 1; i < need; i++) {
		if (text[i] >> 6 != 2)
			return 1;
		value = value << 6 | (text[i] & 0x3f);
	}
	if (value < smallest[need] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
		return 1;
	*code = value;
	return need;
}

int utf8_width(uint32_t code)
{
	if (code == UTF8_BAD || code < 0x20 || code == 0x7f)
		return -1;
	return code < 0x7f ? 1 : wcwidth((wchar_t)code);
}

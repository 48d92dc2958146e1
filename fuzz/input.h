/* Numbers out of a fuzzer's input; zeros when it has ended. */
#ifndef PGCELL_FUZZ_INPUT_H
#define PGCELL_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, size_t len)
{
	uint64_t value = 0;

	for (; len > 0 && in->left > 0; len--, in->left--)
		value = value << 8 | *in->at++;
	return value;
}

#endif

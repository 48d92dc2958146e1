#define _GNU_SOURCE
#include "tally.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "log.h"

#define PAGE_BYTES 4096
_Static_assert(sizeof(struct tally) <= PAGE_BYTES, "a tally is a page");

static struct tally nobodys;
struct tally *tally_own = &nobodys;

static uint8_t *pages; /* page `number` is at (number - 1) * PAGE_BYTES */
static uint32_t page_count;
static uint32_t *free_numbers; /* a stack */
static uint32_t free_count;

int tally_open(uint32_t count)
{
	void *at;

	free_numbers = calloc(count, sizeof(*free_numbers));
	if (free_numbers == NULL)
		return -ENOMEM;
	/* takes memory as it is used */
	at = mmap(NULL, (size_t)count * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED) {
		free(free_numbers);
		free_numbers = NULL;
		return -errno;
	}
	pages = at;
	page_count = count;
	for (uint32_t i = 0; i < count; i++)
		free_numbers[i] = count - i;
	free_count = count;
	return 0;
}

uint32_t tally_take(void)
{
	return free_count > 0 ? free_numbers[--free_count] : TALLY_NONE;
}

void tally_give_back(uint32_t number)
{
	if (number == TALLY_NONE)
		return;
	if (number > page_count || free_count >= page_count)
		BUG("tally %u is given back", number);
	memset(tally_at(number), 0, sizeof(struct tally));
	free_numbers[free_count++] = number;
}

struct tally *tally_at(uint32_t number)
{
	if (number == TALLY_NONE)
		return NULL;
	if (number > page_count)
		BUG("there is no tally %u", number);
	return (struct tally *)(void *)(pages + (size_t)(number - 1) * PAGE_BYTES);
}

/* Out of reach, but still counted as address space: the sandbox's limit is what the fork server had (sandbox.c). */
static int take_away(uint8_t *from, const uint8_t *to)
{
	if (from >= to)
		return 0;
	return mmap(from, (size_t)(to - from), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED
		       ? -errno
		       : 0;
}

int tally_begin(uint32_t number)
{
	struct tally *own = tally_at(number);
	uint8_t *before_end = own != NULL ? (uint8_t *)own : pages;
	uint8_t *after = own != NULL ? (uint8_t *)own + PAGE_BYTES : pages;
	int rc = take_away(pages, before_end);

	if (rc == 0)
		rc = take_away(after, pages + (size_t)page_count * PAGE_BYTES);
	if (rc != 0)
		return rc;
	if (own != NULL)
		tally_own = own;
	return 0;
}

void tally_error(uint32_t sqlstate)
{
	struct tally *own = tally_own;

	for (uint32_t i = 0; i < own->sqlstate_count; i++) {
		if (own->sqlstates[i].sqlstate == sqlstate) {
			own->sqlstates[i].count++;
			return;
		}
	}
	if (own->sqlstate_count == TALLY_SQLSTATES_MAX) {
		own->errors_other++;
		return;
	}
	own->sqlstates[own->sqlstate_count].sqlstate = sqlstate;
	own->sqlstates[own->sqlstate_count].count = 1;
	own->sqlstate_count++;
}

void tally_ready(void)
{
	struct timespec now;

	if (tally_own->ready_ns != 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	tally_own->ready_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void tally_sqlstate_text(uint32_t sqlstate, char text[6])
{
	for (int i = 0; i < 5; i++) {
		char c = (char)(((sqlstate >> (6 * i)) & 63) + '0');

		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'))) {
			memcpy(text, "other", 6);
			return;
		}
		text[i] = c;
	}
	text[5] = '\0';
	if (sqlstate >> 30 != 0)
		memcpy(text, "other", 6);
}

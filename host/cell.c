#define _GNU_SOURCE
#include "cell.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define BIT(state) (1u << (state))

static const struct {
	const char *name;
	unsigned allowed; /* next states */
	bool takes_sessions;
} states[CELL_STATE_COUNT] = {
	[CELL_NEW] = {"new", BIT(CELL_POPULATING) | BIT(CELL_COPYING), true},
	[CELL_POPULATING] = {"populating", BIT(CELL_READY) | BIT(CELL_NEW), false},
	[CELL_COPYING] = {"copying", BIT(CELL_READY) | BIT(CELL_CRASHED) | BIT(CELL_DEAD), false},
	[CELL_READY] = {"ready", BIT(CELL_CRASHED), true},
	[CELL_CRASHED] = {"crashed", BIT(CELL_RECOVERING) | BIT(CELL_DEAD), false},
	[CELL_RECOVERING] = {"recovering", BIT(CELL_READY) | BIT(CELL_CRASHED) | BIT(CELL_DEAD), false},
	[CELL_DEAD] = {"dead", 0, false},
};

static int compare_name(const void *a, const void *b)
{
	return strcmp(((const struct cell *)a)->name, ((const struct cell *)b)->name);
}

void cell_table_init(struct cell_table *table)
{
	*table = (struct cell_table){.next_private = 1};
	LIST_INIT(&table->all);
}

static void cell_free(void *node)
{
	struct cell *cell = node;

	copies_release(&cell->copies);
	close(cell->fd);
	free(cell);
}

void cell_table_release(struct cell_table *table)
{
	tdestroy(table->by_name, cell_free);
	cell_table_init(table);
}

struct cell *cell_find(const struct cell_table *table, const char *name)
{
	struct cell key;
	struct cell **found;

	snprintf(key.name, sizeof(key.name), "%s", name);
	found = tfind(&key, &table->by_name, compare_name);
	return found == NULL ? NULL : *found;
}

static void set_name(struct cell_table *table, struct cell *cell, const char *name)
{
	cell->is_private = name == NULL;
	if (name != NULL)
		snprintf(cell->name, sizeof(cell->name), "%s", name);
	else /* '~' cannot occur in a name that clients give */
		snprintf(cell->name, sizeof(cell->name), "~%llu", (unsigned long long)table->next_private++);
}

struct cell *cell_add(struct cell_table *table, const char *name)
{
	struct cell *cell = calloc(1, sizeof(*cell));
	struct timespec now;

	if (cell == NULL)
		return NULL;
	cell->id = ++table->next_id;
	set_name(table, cell, name);
	clock_gettime(CLOCK_REALTIME, &now);
	cell->created_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	TAILQ_INIT(&cell->waiting);
	LIST_INIT(&cell->backends);
	copies_init(&cell->copies);
	cell->fd = memfd_create("pgcell-cluster", MFD_CLOEXEC);
	if (cell->fd < 0) {
		free(cell);
		return NULL;
	}
	if (tsearch(cell, &table->by_name, compare_name) == NULL) {
		cell_free(cell);
		errno = ENOMEM;
		return NULL;
	}
	LIST_INSERT_HEAD(&table->all, cell, all_link);
	table->count++;
	return cell;
}

void cell_rename(struct cell_table *table, struct cell *cell, const char *name)
{
	tdelete(cell, &table->by_name, compare_name);
	set_name(table, cell, name);
	if (tsearch(cell, &table->by_name, compare_name) == NULL)
		BUG("no memory for a node that was just freed");
}

void cell_remove(struct cell_table *table, struct cell *cell)
{
	if (!TAILQ_EMPTY(&cell->waiting) || !LIST_EMPTY(&cell->backends) || cell->copies.count > 0)
		BUG("cell %s is removed while in use", cell->name);
	tdelete(cell, &table->by_name, compare_name);
	LIST_REMOVE(cell, all_link);
	table->count--;
	cell_free(cell);
}

uint64_t cell_memory_bytes(const struct cell *cell)
{
	struct stat info;

	return fstat(cell->fd, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
}

const char *cell_state_name(enum cell_state state)
{
	return states[state].name;
}

void cell_become(struct cell *cell, enum cell_state state)
{
	if ((states[cell->state].allowed & BIT(state)) == 0)
		BUG("cell %s: %s to %s is not allowed", cell->name, states[cell->state].name, states[state].name);
	cell->state = state;
}

int cell_reset_memory(struct cell *cell)
{
	int fd = memfd_create("pgcell-cluster", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(cell->fd);
	cell->fd = fd;
	return 0;
}

bool cell_has_room(const struct cell *cell, uint32_t limit)
{
	return states[cell->state].takes_sessions && cell->copies.count == 0 && cell->slots_taken_count < limit;
}

uint32_t cell_slot_take(struct cell *cell)
{
	for (uint32_t slot = 1; slot <= CELL_SLOTS_MAX; slot++) {
		uint64_t bit = UINT64_C(1) << ((slot - 1) % 64);
		uint64_t *word = &cell->slots_taken[(slot - 1) / 64];

		if (*word & bit)
			continue;
		*word |= bit;
		cell->slots_taken_count++;
		return slot;
	}
	BUG("cell %s has no free slot", cell->name);
}

void cell_slot_give_back(struct cell *cell, uint32_t slot)
{
	uint64_t bit = UINT64_C(1) << ((slot - 1) % 64);

	if (slot == 0 || slot > CELL_SLOTS_MAX || (cell->slots_taken[(slot - 1) / 64] & bit) == 0)
		BUG("cell %s: slot %u was not taken", cell->name, slot);
	cell->slots_taken[(slot - 1) / 64] &= ~bit;
	cell->slots_taken_count--;
}

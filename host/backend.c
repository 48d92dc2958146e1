#define _GNU_SOURCE
#include "backend.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "tally.h"

static int compare_cookie(const void *a, const void *b)
{
	uint64_t left = ((const struct backend *)a)->cookie;
	uint64_t right = ((const struct backend *)b)->cookie;

	return (left > right) - (left < right);
}

static int compare_pid(const void *a, const void *b)
{
	pid_t left = ((const struct backend *)a)->pid;
	pid_t right = ((const struct backend *)b)->pid;

	return (left > right) - (left < right);
}

static void forget(void *node)
{
	(void)node;
}

static void backend_free(void *node)
{
	struct backend *backend = node;

	if (backend->copy != NULL)
		copy_free(backend->copy);
	free(backend);
}

void backend_table_init(struct backend_table *table)
{
	*table = (struct backend_table){.next_cookie = 1};
}

void backend_table_release(struct backend_table *table)
{
	tdestroy(table->by_pid, forget);
	tdestroy(table->by_cookie, backend_free);
	backend_table_init(table);
}

struct backend *backend_add(struct backend_table *table, enum session_kind kind, struct cell *cell)
{
	struct backend *backend = calloc(1, sizeof(*backend));

	if (backend == NULL)
		return NULL;
	backend->cookie = table->next_cookie++;
	backend->kind = kind;
	backend->cell = cell;
	if (tsearch(backend, &table->by_cookie, compare_cookie) == NULL) {
		free(backend);
		return NULL;
	}
	LIST_INSERT_HEAD(&cell->backends, backend, cell_link);
	table->count++;
	if (kind == SESSION_CLIENT) {
		backend->slot = cell_slot_take(cell);
		backend->tally = tally_take();
		table->client_count++;
	}
	return backend;
}

int backend_set_pid(struct backend_table *table, struct backend *backend, pid_t pid)
{
	backend->pid = pid;
	return tsearch(backend, &table->by_pid, compare_pid) != NULL ? 0 : -ENOMEM;
}

void backend_remove(struct backend_table *table, struct backend *backend)
{
	if (backend->pid != 0 && backend_find_pid(table, backend->pid) == backend)
		tdelete(backend, &table->by_pid, compare_pid);
	tdelete(backend, &table->by_cookie, compare_cookie);
	LIST_REMOVE(backend, cell_link);
	table->count--;
	if (backend->slot != 0) {
		cell_slot_give_back(backend->cell, backend->slot);
		table->client_count--;
		tally_give_back(backend->tally);
	}
	backend_free(backend);
}

struct visitor {
	void (*visit)(struct backend *backend, void *data);
	void *data;
};

static void visit_node(const void *node, VISIT order, void *closure)
{
	const struct visitor *visitor = closure;

	if (order == postorder || order == leaf)
		visitor->visit(*(struct backend *const *)node, visitor->data);
}

void backend_each(const struct backend_table *table, void (*visit)(struct backend *backend, void *data), void *data)
{
	struct visitor visitor = {visit, data};

	twalk_r(table->by_cookie, visit_node, &visitor);
}

struct backend *backend_find_cookie(const struct backend_table *table, uint64_t cookie)
{
	struct backend key = {.cookie = cookie};
	struct backend **found = tfind(&key, &table->by_cookie, compare_cookie);

	return found == NULL ? NULL : *found;
}

struct backend *backend_find_pid(const struct backend_table *table, pid_t pid)
{
	struct backend key = {.pid = pid};
	struct backend **found = tfind(&key, &table->by_pid, compare_pid);

	return found == NULL ? NULL : *found;
}

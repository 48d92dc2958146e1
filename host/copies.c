#include "copies.h"

#include <stdlib.h>
#include <unistd.h>

void copies_init(struct copies *copies)
{
	TAILQ_INIT(&copies->waiting);
	copies->count = copies->running = 0;
}

void copies_release(struct copies *copies)
{
	struct copy *copy;

	while ((copy = copies_next(copies)) != NULL)
		copy_free(copy);
}

struct copy *copy_new(enum copy_kind kind, struct cell *source, struct cell *target, int file_fd)
{
	struct copy *copy = calloc(1, sizeof(*copy));

	if (copy == NULL) {
		if (file_fd >= 0)
			close(file_fd);
		return NULL;
	}
	copy->kind = kind;
	copy->source = source;
	copy->target = target;
	copy->file_fd = file_fd;
	return copy;
}

void copy_free(struct copy *copy)
{
	if (copy->file_fd >= 0)
		close(copy->file_fd);
	free(copy);
}

void copies_add(struct copies *copies, struct copy *copy)
{
	TAILQ_INSERT_TAIL(&copies->waiting, copy, link);
	copies->count++;
}

struct copy *copies_next(struct copies *copies)
{
	struct copy *copy = TAILQ_FIRST(&copies->waiting);

	if (copy != NULL) {
		TAILQ_REMOVE(&copies->waiting, copy, link);
		copies->running++;
	}
	return copy;
}

void copies_end(struct copies *copies)
{
	copies->running--;
	copies->count--;
}

#include "vacuum.h"

/* Starts what is due and has room. */
static void go_on(struct vacuum *vacuum)
{
	while (vacuum->due > 0 && vacuum->running < VACUUMS_AT_ONCE) {
		struct cell *cell = TAILQ_FIRST(&vacuum->used);

		vacuum->due--;
		TAILQ_REMOVE(&vacuum->used, cell, vacuum_link);
		cell->is_used = false;
		if (cell->slots_taken_count > 0)
			vacuum_note_use(vacuum, cell);
		if (cell->state == CELL_READY && vacuum->start(vacuum->data, cell, SESSION_VACUUM_LAUNCHER) == 0)
			vacuum->running++;
	}
}

static void on_naptime(uv_timer_t *timer)
{
	struct vacuum *vacuum = timer->data;
	struct cell *cell;

	vacuum->due = 0;
	TAILQ_FOREACH (cell, &vacuum->used, vacuum_link)
		vacuum->due++;
	go_on(vacuum);
}

int vacuum_open(struct vacuum *vacuum, uv_loop_t *loop, uint64_t naptime_s, vacuum_start *start, void *data)
{
	int rc = uv_timer_init(loop, &vacuum->timer);

	TAILQ_INIT(&vacuum->used);
	vacuum->due = 0;
	vacuum->running = 0;
	vacuum->start = start;
	vacuum->data = data;
	vacuum->timer.data = vacuum;
	if (rc == 0 && naptime_s > 0)
		rc = uv_timer_start(&vacuum->timer, on_naptime, naptime_s * 1000, naptime_s * 1000);
	return rc;
}

void vacuum_close(struct vacuum *vacuum)
{
	uv_close((uv_handle_t *)&vacuum->timer, NULL);
}

void vacuum_note_use(struct vacuum *vacuum, struct cell *cell)
{
	if (cell->is_used || cell->is_private)
		return;
	cell->is_used = true;
	TAILQ_INSERT_TAIL(&vacuum->used, cell, vacuum_link);
}

void vacuum_forget(struct vacuum *vacuum, struct cell *cell)
{
	if (!cell->is_used)
		return;
	cell->is_used = false;
	TAILQ_REMOVE(&vacuum->used, cell, vacuum_link);
	if (vacuum->due > 0)
		vacuum->due--; /* one less is vacuumed in this round, if it was not one of the due ones */
}

void vacuum_ended(struct vacuum *vacuum, struct cell *cell, enum session_kind kind, bool is_success)
{
	if (kind == SESSION_VACUUM_LAUNCHER && is_success && cell->state == CELL_READY &&
	    vacuum->start(vacuum->data, cell, SESSION_VACUUM_WORKER) == 0)
		return;
	vacuum->running--;
	go_on(vacuum);
}

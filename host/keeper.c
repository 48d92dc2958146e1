#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fair.h"
#include "log.h"
#include "supervisor_internal.h"
#include "tally.h"

#define SWEEP_MS 1000
#define REFILL_MS 50
#define STUBBORN_MS 5000 /* after the first cancel of a statement its session is ended */

static void answer(copy_done *done, void *data, const char *sqlstate, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void answer(copy_done *done, void *data, const char *sqlstate, const char *format, ...)
{
	char message[WIRE_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (done != NULL)
		done(data, sqlstate, message);
}

static bool is_in_use(const struct cell *cell)
{
	return !LIST_EMPTY(&cell->backends) || !TAILQ_EMPTY(&cell->waiting) || cell->copies.count > 0 || cell->state == CELL_COPYING;
}

/* ---- copies ---- */

/* Every process must be known, or it could not be stopped. */
static bool can_be_copied(const struct cell *cell)
{
	const struct backend *backend;

	if (cell->state != CELL_READY)
		return false;
	LIST_FOREACH (backend, &cell->backends, cell_link) {
		if (backend->pid == 0)
			return false;
	}
	return true;
}

/* Who uses the source, for the order. Returns how many. */
static size_t pack_users(const struct cell *source, struct order *order)
{
	const struct backend *backend;
	size_t count = 0;

	LIST_FOREACH (backend, &source->backends, cell_link) {
		uint32_t pid = (uint32_t)backend->pid;

		if (backend->kind == SESSION_COPY)
			continue;
		if ((count + 1) * sizeof(pid) > sizeof(order->preread))
			BUG("cell %s has more processes than an order can name", source->name);
		memcpy(order->preread + count++ * sizeof(pid), &pid, sizeof(pid));
	}
	order->preread_len = (uint32_t)(count * sizeof(uint32_t));
	return count;
}

static void end_copy(struct supervisor *sv, struct copy *copy, const char *sqlstate, const char *message);

/* The copy is the backend's from here on, or has ended. */
static void start_copy(struct supervisor *sv, struct copy *copy)
{
	static struct order order; /* big */
	struct backend *backend = backend_add(&sv->backends, SESSION_COPY, copy->target != NULL ? copy->target : copy->source);
	int rc;

	if (backend == NULL) {
		end_copy(sv, copy, "53200", "out of memory");
		return;
	}
	memset(&order, 0, sizeof(order));
	order.type = ORDER_START;
	order.cookie = backend->cookie;
	order.kind = SESSION_COPY;
	order.copy_kind = copy->kind;
	if (copy->source != NULL && pack_users(copy->source, &order) == 0)
		order.flags = ORDER_CLEAN_COPY;
	rc = supervisor_send_order(sv, &order, copy->source != NULL ? copy->source->fd : copy->file_fd,
				   copy->target != NULL ? copy->target->fd : copy->file_fd);
	if (rc != 0) {
		backend_remove(&sv->backends, backend);
		end_copy(sv, copy, "58000", strerror(-rc));
		return;
	}
	backend->copy = copy;
}

/* target is of state COPYING from here on: clients wait for it. */
static void want_copy(struct supervisor *sv, struct copy *copy)
{
	if (copy->target != NULL)
		cell_become(copy->target, CELL_COPYING);
	if (copy->source == NULL) {
		start_copy(sv, copy);
		return;
	}
	copies_add(&copy->source->copies, copy);
	supervisor_advance(sv, copy->source);
}

static void resume(struct supervisor *sv, struct cell *source)
{
	struct backend *backend;

	LIST_FOREACH (backend, &source->backends, cell_link) {
		if (backend->kind != SESSION_COPY)
			supervisor_signal(sv, backend, SIGCONT);
	}
}

/* sqlstate NULL: it is done, and the target's state is set. */
static void end_copy(struct supervisor *sv, struct copy *copy, const char *sqlstate, const char *message)
{
	struct cell *source = copy->source, *target = copy->target;

	if (source != NULL) {
		copies_end(&source->copies);
		if (source->copies.running == 0)
			resume(sv, source);
	}
	if (sqlstate != NULL) {
		log_error(target != NULL ? target->name : source->name, 0, "a copy failed: %s", message);
		if (target != NULL) {
			supervisor_refuse_waiting(target, sqlstate, message, NULL);
			cell_become(target, CELL_DEAD);
			target->is_kept = false;
			if (target->is_warm)
				sv->warm_count--;
			target->is_warm = false;
			cell_rename(&sv->cells, target, NULL); /* goes in supervisor_advance(); the name is free */
		}
	}
	answer(copy->done, copy->data, sqlstate, "%s", message);
	copy_free(copy);
	if (target != NULL) {
		target->idle_since_ms = uv_now(&sv->loop);
		supervisor_advance(sv, target);
	}
	if (source != NULL)
		supervisor_advance(sv, source);
}

void keeper_copy_ended(struct supervisor *sv, struct backend *backend, int status)
{
	static const struct {
		const char *sqlstate, *message;
	} failures[] = {
		[COPY_FAILED] = {"58000", "copying failed; the server's log says why"},
		[COPY_OTHER_BUILD] = {"58P01", "the snapshot was made by another build of pgcell"},
		[COPY_NO_SNAPSHOT] = {"58P01", "the file is not a snapshot of a cell, or is damaged"},
	};
	struct copy *copy = backend->copy;
	const char *sqlstate = NULL, *message = "";

	backend->copy = NULL;
	backend_remove(&sv->backends, backend);
	if (status == COPY_CLEAN || status == COPY_NEEDS_RECOVERY) {
		if (copy->target != NULL)
			cell_become(copy->target, status == COPY_CLEAN ? CELL_READY : CELL_CRASHED);
	} else {
		if (status < 0 || (size_t)status >= sizeof(failures) / sizeof(failures[0]) || failures[status].sqlstate == NULL)
			status = COPY_FAILED;
		sqlstate = failures[status].sqlstate;
		message = failures[status].message;
	}
	end_copy(sv, copy, sqlstate, message);
}

void keeper_advance(struct supervisor *sv, struct cell *cell)
{
	struct copy *copy;

	if (cell->copies.count == cell->copies.running)
		return;
	if (cell->state == CELL_DEAD && (copy = copies_next(&cell->copies)) != NULL) {
		end_copy(sv, copy, "58000", "the cell to be copied is damaged"); /* comes back for the next one */
		return;
	}
	if (!can_be_copied(cell))
		return;
	if ((copy = copies_next(&cell->copies)) != NULL)
		start_copy(sv, copy);
	keeper_advance(sv, cell);
}

/* ---- new cells ---- */

/* Before that, new cells would let in everybody. */
static bool is_set_up(const struct supervisor *sv)
{
	return sv->config->auth == AUTH_TRUST || sv->auth.prepared != NULL;
}

/* What a new cell starts as; NULL: as the image. */
static struct cell *find_template(struct supervisor *sv, const char *name)
{
	const char *template = sv->config->template;
	struct cell *cell = template == NULL || (name != NULL && strcmp(name, template) == 0) ? NULL : cell_find(&sv->cells, template);

	if (cell == NULL || cell->state == CELL_NEW)
		cell = sv->auth.prepared;
	return cell;
}

static struct cell *add_cell(struct supervisor *sv, const char *name, struct cell *template)
{
	struct cell *cell = cell_add(&sv->cells, name);
	struct copy *copy;

	if (cell == NULL || template == NULL)
		return cell;
	copy = copy_new(COPY_CLONE, template, cell, -1);
	if (copy == NULL) {
		cell_remove(&sv->cells, cell);
		errno = ENOMEM;
		return NULL;
	}
	want_copy(sv, copy);
	return cell;
}

/* The cell that --template names: NULL if there is none, or none yet. */
static struct cell *named_template(struct supervisor *sv)
{
	return sv->config->template == NULL ? NULL : cell_find(&sv->cells, sv->config->template);
}

/* Warm cells are copies of the template as it was: they serve while nobody has been in it since. */
static bool warm_cells_are_current(struct supervisor *sv)
{
	const struct cell *template = named_template(sv);

	return sv->config->template == NULL || (template != NULL && template->state == CELL_READY && LIST_EMPTY(&template->backends));
}

void keeper_session_ended(struct supervisor *sv, struct cell *cell)
{
	struct cell *each, *next;

	cell->idle_since_ms = uv_now(&sv->loop);
	if (sv->warm_count == 0 || cell != named_template(sv))
		return;
	for (each = LIST_FIRST(&sv->cells.all); each != NULL; each = next) {
		next = LIST_NEXT(each, all_link);
		if (!each->is_warm)
			continue;
		each->is_warm = false; /* private, it ends: now or with what is done for it */
		sv->warm_count--;
		supervisor_advance(sv, each);
	}
}

/*
 * Makes as many as are missing when no client has come for a moment, so that it does not stand in the way of clients; while they come, one
 * at a time, when more than half are missing.
 */
static void refill(struct supervisor *sv)
{
	bool is_quiet = uv_now(&sv->loop) - sv->client_at_ms >= REFILL_MS;
	size_t most = is_quiet ? (size_t)sv->config->warm : 1;

	if (!is_quiet && sv->warm_count * 2 >= (size_t)sv->config->warm)
		return;
	while (most-- > 0 && !sv->is_stopping && is_set_up(sv) && warm_cells_are_current(sv) && sv->warm_count < (size_t)sv->config->warm && !keeper_is_full(sv)) {
		struct cell *cell = add_cell(sv, NULL, find_template(sv, NULL));

		if (cell == NULL)
			return;
		cell->is_warm = true;
		sv->warm_count++;
		if (cell->state == CELL_NEW && supervisor_start(sv, SESSION_POPULATE, cell) != 0) {
			cell->is_warm = false;
			sv->warm_count--;
			cell_remove(&sv->cells, cell);
			return;
		}
	}
}

static struct cell *take_warm(struct supervisor *sv, const char *name)
{
	struct cell *cell;
	struct timespec now;

	LIST_FOREACH (cell, &sv->cells.all, all_link) {
		if (cell->is_warm && cell->state == CELL_READY && LIST_EMPTY(&cell->backends))
			break;
	}
	if (cell == NULL)
		return NULL;
	cell->is_warm = false;
	sv->warm_count--;
	if (name != NULL)
		cell_rename(&sv->cells, cell, name);
	clock_gettime(CLOCK_REALTIME, &now);
	cell->created_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	return cell;
}

struct cell *keeper_new_cell(struct supervisor *sv, const char *name)
{
	bool is_template = name != NULL && sv->config->template != NULL && strcmp(name, sv->config->template) == 0;
	struct cell *cell = sv->warm_count == 0 || is_template || !warm_cells_are_current(sv) ? NULL : take_warm(sv, name);

	return cell != NULL ? cell : add_cell(sv, name, find_template(sv, name));
}

bool keeper_is_full(const struct supervisor *sv)
{
	return sv->config->total_memory_mib > 0 && sv->memory_bytes >= (uint64_t)sv->config->total_memory_mib << 20;
}

/* ---- now and then ---- */

static void drop_idle(struct supervisor *sv)
{
	uint64_t limit_ms = (uint64_t)sv->config->idle_timeout_s * 1000;
	struct cell *cell, *next;

	for (cell = LIST_FIRST(&sv->cells.all); cell != NULL; cell = next) {
		next = LIST_NEXT(cell, all_link);
		if (cell->is_private || is_in_use(cell) || uv_now(&sv->loop) - cell->idle_since_ms < limit_ms ||
		    (sv->config->template != NULL && strcmp(cell->name, sv->config->template) == 0))
			continue;
		log_info(cell->name, 0, "dropped: idle");
		vacuum_forget(&sv->vacuum, cell);
		cell_remove(&sv->cells, cell);
	}
}

/*
 * The session's page says whether it works and on which statement, without a clock on the way of every query; a session that lies
 * there gets its share of the processors and no more, as any other.
 */
static void cancel_slow(struct supervisor *sv, struct backend *backend)
{
	const struct tally *tally = tally_at(backend->tally);
	uint64_t now_ms = uv_now(&sv->loop);
	uint64_t limit_ms = (uint64_t)sv->config->statement_time_s * 1000;
	uint32_t statement;

	if (tally == NULL || backend->pid == 0 || backend->kind != SESSION_CLIENT)
		return;
	statement = *(const volatile uint32_t *)&tally->statements;
	if (atomic_load(&tally->is_idle) || statement != backend->statement || backend->statement_since_ms == 0) {
		backend->statement = statement;
		backend->statement_since_ms = now_ms;
	} else if (now_ms - backend->statement_since_ms >= limit_ms) {
		bool is_stubborn = now_ms - backend->statement_since_ms >= limit_ms + STUBBORN_MS;

		log_warn(backend->cell->name, backend->pid, "%s: --statement-time", is_stubborn ? "ended" : "its statement is cancelled");
		sv->ops.metrics.statements_cancelled++;
		supervisor_signal(sv, backend, is_stubborn ? SIGTERM : SIGINT);
	}
}

static void sweep_cell(struct supervisor *sv, struct cell *cell)
{
	struct backend *backend;

	if (sv->is_fair)
		fair_weigh(cell);
	if (sv->config->statement_time_s > 0) {
		LIST_FOREACH (backend, &cell->backends, cell_link)
			cancel_slow(sv, backend);
	}
	if (sv->config->total_memory_mib > 0)
		sv->memory_bytes += cell_memory_bytes(cell);
}

static void on_sweep(uv_timer_t *timer)
{
	struct supervisor *sv = timer->data;
	struct cell *cell;

	if (sv->is_stopping)
		return;
	if (uv_now(&sv->loop) >= sv->sweep_at_ms) {
		sv->sweep_at_ms = uv_now(&sv->loop) + SWEEP_MS;
		sv->memory_bytes = 0;
		if (sv->config->idle_timeout_s > 0)
			drop_idle(sv);
		LIST_FOREACH (cell, &sv->cells.all, all_link)
			sweep_cell(sv, cell);
	}
	refill(sv);
}

void keeper_open(struct supervisor *sv)
{
	const struct config *config = sv->config;

	uv_timer_init(&sv->loop, &sv->sweep_timer);
	sv->sweep_timer.data = sv;
	sv->is_fair = config->is_fair && fair_is_possible();
	if (config->is_fair && !sv->is_fair)
		log_info(NULL, 0, "--fair needs CAP_SYS_NICE: processors are shared out by session");
	uv_timer_start(&sv->sweep_timer, on_sweep, 0, config->warm > 0 ? REFILL_MS : SWEEP_MS);
}

void keeper_close(struct supervisor *sv)
{
	uv_close((uv_handle_t *)&sv->sweep_timer, NULL);
}

/* ---- requests ---- */

static void drop(struct supervisor *sv, struct cell *cell, const struct keeper_request *request)
{
	struct backend *backend;

	if (cell->copies.count > 0 || cell->state == CELL_COPYING) {
		answer(request->done, request->data, "55006", "cell \"%s\" is being copied", cell->name);
		return;
	}
	if (is_in_use(cell) && !request->is_forced) {
		answer(request->done, request->data, "55006", "cell \"%s\" is being accessed by other users", cell->name);
		return;
	}
	log_info(cell->name, 0, "dropped");
	vacuum_forget(&sv->vacuum, cell);
	supervisor_refuse_waiting(cell, "57P01", "the cell was dropped", NULL);
	LIST_FOREACH (backend, &cell->backends, cell_link)
		supervisor_signal(sv, backend, SIGTERM);
	cell->is_kept = false;
	cell_rename(&sv->cells, cell, NULL);
	supervisor_advance(sv, cell);
	answer(request->done, request->data, NULL, "dropped");
}

static void copy_on_request(struct supervisor *sv, enum copy_kind kind, struct cell *source, struct cell *target,
			    const struct keeper_request *request)
{
	struct copy *copy = copy_new(kind, source, target, request->file_fd);

	if (copy == NULL) {
		answer(request->done, request->data, "53200", "out of memory");
		return;
	}
	copy->done = request->done;
	copy->data = request->data;
	want_copy(sv, copy);
}

/* Of nothing, of a cell, or of a snapshot. */
static void create(struct supervisor *sv, struct cell *source, const struct keeper_request *request)
{
	struct cell *cell;

	if (sv->cells.count - sv->warm_count >= (size_t)sv->config->max_cells || keeper_is_full(sv)) {
		answer(request->done, request->data, keeper_is_full(sv) ? "53200" : "53400", "%s",
		       keeper_is_full(sv) ? "out of memory: see --total-memory" : "too many cells: see --max-cells");
		goto refused;
	}
	if (request->op == KEEPER_CREATE && request->source == NULL) {
		cell = keeper_new_cell(sv, request->name);
		source = NULL; /* it has begun already */
	} else {
		if (source != NULL && source->state == CELL_NEW)
			source = find_template(sv, NULL);
		cell = cell_add(&sv->cells, request->name);
	}
	if (cell == NULL) {
		answer(request->done, request->data, "53200", "out of memory");
		goto refused;
	}
	cell->is_kept = true;
	cell->idle_since_ms = uv_now(&sv->loop);
	if (request->op == KEEPER_RESTORE)
		copy_on_request(sv, COPY_RESTORE, NULL, cell, request);
	else if (source != NULL)
		copy_on_request(sv, COPY_CLONE, source, cell, request);
	else
		answer(request->done, request->data, NULL, "created");
	return;
refused:
	if (request->file_fd >= 0)
		close(request->file_fd);
}

static void refuse(const struct keeper_request *request, const char *sqlstate, const char *what, const char *name)
{
	if (request->file_fd >= 0)
		close(request->file_fd);
	answer(request->done, request->data, sqlstate, what, name);
}

void keeper_request(struct supervisor *sv, const struct keeper_request *request)
{
	struct cell *cell = cell_find(&sv->cells, request->name);
	struct cell *source = request->source == NULL ? NULL : cell_find(&sv->cells, request->source);
	bool is_new = request->op != KEEPER_DROP && request->op != KEEPER_SNAPSHOT;

	if (sv->is_stopping)
		refuse(request, "57P03", "the database system is shutting down%s", "");
	else if (!is_set_up(sv))
		refuse(request, "57P03", "the database system is starting up%s", "");
	else if (!wire_cell_name_is_valid(request->name))
		refuse(request, "3D000", "invalid cell name \"%s\"", request->name);
	else if (is_new && cell != NULL)
		refuse(request, "42P04", "cell \"%s\" already exists", request->name);
	else if (!is_new && cell == NULL)
		refuse(request, "3D000", "cell \"%s\" does not exist", request->name);
	else if (request->source != NULL && source == NULL)
		refuse(request, "3D000", "cell \"%s\" does not exist", request->source);
	else if (source != NULL && source->state == CELL_DEAD)
		refuse(request, "58000", "cell \"%s\" is damaged", request->source);
	else if (is_new)
		create(sv, source, request);
	else if (request->op == KEEPER_DROP)
		drop(sv, cell, request);
	else if (cell->state == CELL_NEW)
		refuse(request, "55000", "cell \"%s\" was never used", request->name);
	else
		copy_on_request(sv, COPY_SNAPSHOT, cell, NULL, request);
}

int keeper_list(struct supervisor *sv, int fd)
{
	int own = dup(fd);
	FILE *out = own >= 0 ? fdopen(own, "w") : NULL;
	struct cell *cell;

	if (out == NULL) {
		if (own >= 0)
			close(own);
		return -errno;
	}
	LIST_FOREACH (cell, &sv->cells.all, all_link) {
		if (!cell->is_warm && cell != sv->auth.prepared)
			fprintf(out, "%s\t%s\t%u\t%llu\n", cell->name, cell_state_name(cell->state), (unsigned)cell->slots_taken_count,
				(unsigned long long)cell_memory_bytes(cell));
	}
	return fclose(out) == 0 ? 0 : -errno;
}

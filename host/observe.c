#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime.h"
#include "supervisor_internal.h"
#include "tally.h"

#define MEMORY_SAMPLE_CELLS 10000 /* whose memory a scrape looks at, the newest: a system call each */
#define SESSION_BYTES_MAX (UINT64_C(1) << 48)

static enum metrics_end end_of(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		return METRICS_END_SIGNAL;
	switch (WEXITSTATUS(wait_status)) {
	case 0:
		return METRICS_END_OK;
	case 1:
		return METRICS_END_FATAL;
	case RUNTIME_EXIT_TRAP:
		return METRICS_END_TRAP;
	default:
		return METRICS_END_OTHER;
	}
}

/* A session may have written anything: no more than it could have moved in years. */
static uint64_t bounded_bytes(const uint64_t *bytes)
{
	uint64_t value = *(const volatile uint64_t *)bytes;

	return value < SESSION_BYTES_MAX ? value : SESSION_BYTES_MAX;
}

/* Once it is known. The page is the session's: it may say anything. */
static void observe_ready(struct metrics *metrics, struct backend *backend, const struct tally *tally)
{
	uint64_t ready_ns = *(const volatile uint64_t *)&tally->ready_ns;

	if (backend->is_ready_observed || ready_ns == 0)
		return;
	backend->is_ready_observed = true;
	if (ready_ns >= backend->accepted_ns && ready_ns <= uv_hrtime())
		metrics_observe(&metrics->ready, ready_ns - backend->accepted_ns);
}

void observe_end(struct supervisor *sv, struct backend *backend, int wait_status)
{
	struct metrics *metrics = &sv->ops.metrics;
	const struct tally *tally = tally_at(backend->tally);
	bool is_success = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;

	metrics->ends[end_of(wait_status)]++;
	if (backend->kind == SESSION_RECOVER)
		is_success ? metrics->recoveries_ok++ : metrics->recoveries_failed++;
	if (backend->kind == SESSION_VACUUM_WORKER)
		is_success ? metrics->autovacuums_ok++ : metrics->autovacuums_failed++;
	if (tally == NULL)
		return;
	observe_ready(metrics, backend, tally);
	metrics->bytes_in += bounded_bytes(&tally->bytes_in);
	metrics->bytes_out += bounded_bytes(&tally->bytes_out);
	metrics_count_errors(&metrics->errors, tally);
}

struct sampling {
	struct metrics *metrics;
	struct metrics_now *now;
};

static void sample_backend(struct backend *backend, void *data)
{
	struct sampling *sampling = data;
	const struct tally *tally = tally_at(backend->tally);

	if (tally == NULL)
		return;
	observe_ready(sampling->metrics, backend, tally);
	sampling->now->bytes_in += bounded_bytes(&tally->bytes_in);
	sampling->now->bytes_out += bounded_bytes(&tally->bytes_out);
	metrics_count_errors(&sampling->now->errors, tally);
}

/* Resident; 0 when it cannot be told. */
static uint64_t process_memory_bytes(pid_t pid)
{
	unsigned long long pages = 0;
	char path[64];
	FILE *in;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	in = fopen(path, "re");
	if (in == NULL)
		return 0;
	if (fscanf(in, "%*u %llu", &pages) != 1)
		pages = 0;
	fclose(in);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void sample(struct metrics_now *now, void *data)
{
	struct supervisor *sv = data;
	struct sampling sampling = {&sv->ops.metrics, now};
	unsigned looked_at = 0;
	struct cell *cell;

	now->sessions = sv->backends.client_count;
	now->is_draining = sv->is_stopping;
	for (int i = 0; i < LISTENER_COUNT; i++)
		now->shed += sv->gates[i].shed_count;
	LIST_FOREACH (cell, &sv->cells.all, all_link) {
		now->cells[cell->state]++;
		if (looked_at++ < MEMORY_SAMPLE_CELLS)
			now->cells_memory_bytes += cell_memory_bytes(cell);
	}
	backend_each(&sv->backends, sample_backend, &sampling);
	now->supervisor_memory_bytes = process_memory_bytes(getpid());
	now->fork_server_memory_bytes = process_memory_bytes(sv->fs.pid);
}

static const char *health(void *data)
{
	struct supervisor *sv = data;

	return forkserver_is_alive(&sv->fs) ? NULL : "the fork server is gone";
}

static bool is_stopping(void *data)
{
	return ((struct supervisor *)data)->is_stopping;
}

static int connect_probe(void *data)
{
	struct supervisor *sv = data;
	struct cell *cell = cell_add(&sv->cells, NULL); /* as the image is: nobody asks for a password there */

	return cell == NULL ? -errno : supervisor_connect_to(sv, cell);
}

void observe_init(struct supervisor *sv)
{
	sv->server = (struct operations_server){
		.sample = sample, .health = health, .is_stopping = is_stopping, .connect = connect_probe, .data = sv};
}

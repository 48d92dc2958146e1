#include "metrics.h"

#include <inttypes.h>
#include <string.h>

#include "version.h"

static const double bounds_s[METRICS_BUCKETS] = {
	0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5,
};

static const char *const end_names[METRICS_END_COUNT] = {
	[METRICS_END_OK] = "ok",	 [METRICS_END_FATAL] = "fatal", [METRICS_END_TRAP] = "trap",
	[METRICS_END_SIGNAL] = "signal", [METRICS_END_OTHER] = "other",
};

void metrics_count_code(struct metrics_codes *codes, const char *code, uint64_t count)
{
	for (uint32_t i = 0; i < codes->len; i++) {
		if (strcmp(codes->items[i].code, code) == 0) {
			codes->items[i].count += count;
			return;
		}
	}
	if (codes->len == METRICS_CODES_MAX || strlen(code) != 5 || strcmp(code, "other") == 0) {
		codes->other += count;
		return;
	}
	memcpy(codes->items[codes->len].code, code, 6);
	codes->items[codes->len++].count = count;
}

void metrics_count_errors(struct metrics_codes *codes, const struct tally *tally)
{
	const volatile struct tally *page = tally; /* read once each: it may change as we look */
	uint32_t count = page->sqlstate_count;

	codes->other += page->errors_other;
	for (uint32_t i = 0; i < count && i < TALLY_SQLSTATES_MAX; i++) {
		char code[6];

		tally_sqlstate_text(page->sqlstates[i].sqlstate, code);
		metrics_count_code(codes, code, page->sqlstates[i].count);
	}
}

void metrics_observe(struct metrics_histogram *histogram, uint64_t elapsed_ns)
{
	double elapsed_s = (double)elapsed_ns / 1e9;
	size_t i = 0;

	while (i < METRICS_BUCKETS && elapsed_s > bounds_s[i])
		i++;
	histogram->counts[i]++;
	histogram->sum_s += elapsed_s;
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	head(out, name, type, help);
	fprintf(out, "%s %" PRIu64 "\n", name, value);
}

static void labelled(FILE *out, const char *name, const char *label, const char *label_value, uint64_t value)
{
	fprintf(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, label_value, value);
}

/* Values of labels here are our own words and SQLSTATEs: nothing to escape. */
static void by_code(FILE *out, const char *name, const char *help, const struct metrics_codes *codes)
{
	head(out, name, "counter", help);
	for (uint32_t i = 0; i < codes->len; i++)
		labelled(out, name, "sqlstate", codes->items[i].code, codes->items[i].count);
	labelled(out, name, "sqlstate", "other", codes->other);
}

static void histogram(FILE *out, const char *name, const char *help, const struct metrics_histogram *from)
{
	uint64_t sum = 0;

	head(out, name, "histogram", help);
	for (size_t i = 0; i < METRICS_BUCKETS; i++) {
		sum += from->counts[i];
		fprintf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, bounds_s[i], sum);
	}
	sum += from->counts[METRICS_BUCKETS];
	fprintf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.9g\n%s_count %" PRIu64 "\n", name, sum, name, from->sum_s,
		name, sum);
}

void metrics_write(const struct metrics *m, const struct metrics_now *now, FILE *out)
{
	struct metrics_codes refused = m->refused;

	metrics_count_code(&refused, "53300", now->shed);
	head(out, "pgcell_build_info", "gauge", "Which program this is; always 1.");
	fprintf(out, "pgcell_build_info{version=\"%s\",postgres=\"%s\"} 1\n", PGCELL_VERSION, PGCELL_POSTGRES_VERSION);
	single(out, "pgcell_draining", "gauge", "1 once the server has been told to stop.", now->is_draining);
	single(out, "pgcell_sessions", "gauge", "Sessions of clients that run.", now->sessions);
	head(out, "pgcell_cells", "gauge", "Cells there are, by state.");
	for (int i = 0; i < CELL_STATE_COUNT; i++)
		labelled(out, "pgcell_cells", "state", cell_state_name((enum cell_state)i), now->cells[i]);

	head(out, "pgcell_session_starts_total", "counter", "Sessions of clients that were started, or could not be.");
	labelled(out, "pgcell_session_starts_total", "result", "ok", m->starts_ok);
	labelled(out, "pgcell_session_starts_total", "result", "failed", m->starts_failed);
	histogram(out, "pgcell_session_start_seconds", "From accept() to the session's process, waiting in line included.",
		  &m->start);
	histogram(out, "pgcell_session_ready_seconds", "From accept() until the session could take its first query.", &m->ready);
	head(out, "pgcell_session_ends_total", "counter",
	     "Processes in cells that ended: ok, fatal (an error of PostgreSQL's), trap, signal, other.");
	for (int i = 0; i < METRICS_END_COUNT; i++)
		labelled(out, "pgcell_session_ends_total", "how", end_names[i], m->ends[i]);
	single(out, "pgcell_traps_total", "counter", "Sessions that a trap of the guest ended.", m->ends[METRICS_END_TRAP]);
	by_code(out, "pgcell_errors_total", "Errors that PostgreSQL reported in clients' sessions.", &now->errors);
	by_code(out, "pgcell_refused_total", "Clients that were refused before they had a session.", &refused);

	head(out, "pgcell_client_bytes_total", "counter", "Bytes of the protocol, in from clients and out to them.");
	labelled(out, "pgcell_client_bytes_total", "direction", "in", m->bytes_in + now->bytes_in);
	labelled(out, "pgcell_client_bytes_total", "direction", "out", m->bytes_out + now->bytes_out);
	head(out, "pgcell_memory_bytes", "gauge",
	     "Memory that cells hold (shared memory and changed files), and that of two processes.");
	labelled(out, "pgcell_memory_bytes", "kind", "cells", now->cells_memory_bytes);
	labelled(out, "pgcell_memory_bytes", "kind", "supervisor", now->supervisor_memory_bytes);
	labelled(out, "pgcell_memory_bytes", "kind", "fork_server", now->fork_server_memory_bytes);

	head(out, "pgcell_recoveries_total", "counter", "Recoveries of crashed cells.");
	labelled(out, "pgcell_recoveries_total", "result", "ok", m->recoveries_ok);
	labelled(out, "pgcell_recoveries_total", "result", "failed", m->recoveries_failed);
	single(out, "pgcell_statements_cancelled_total", "counter", "Statements that --statement-time ended.", m->statements_cancelled);
	head(out, "pgcell_autovacuums_total", "counter", "Autovacuum workers that ended.");
	labelled(out, "pgcell_autovacuums_total", "result", "ok", m->autovacuums_ok);
	labelled(out, "pgcell_autovacuums_total", "result", "failed", m->autovacuums_failed);
	head(out, "pgcell_reloads_total", "counter", "Reloads of the configuration.");
	labelled(out, "pgcell_reloads_total", "result", "ok", m->reloads_ok);
	labelled(out, "pgcell_reloads_total", "result", "failed", m->reloads_failed);
}

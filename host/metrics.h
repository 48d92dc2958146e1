/*
 * The server's counters, and their text for Prometheus. No I/O: the supervisor counts, http.h shows.
 *
 * Calling sequence:
 *	metrics_count_*(), metrics_observe() and plain ++ as things happen
 *	fill a struct metrics_now with what is true at the moment; metrics_write()
 *
 * Everything is the supervisor's single thread's. Counters only grow while the server lives.
 */
#ifndef PGCELL_METRICS_H
#define PGCELL_METRICS_H

#include <stdint.h>
#include <stdio.h>

#include "cell.h"
#include "tally.h"

#define METRICS_CODES_MAX 256 /* different SQLSTATEs, then "other" */
#define METRICS_BUCKETS 14

struct metrics_codes {
	struct {
		char code[6];
		uint64_t count;
	} items[METRICS_CODES_MAX];
	uint32_t len;
	uint64_t other;
};

struct metrics_histogram {
	uint64_t counts[METRICS_BUCKETS + 1]; /* not cumulative; the last: above every bucket */
	double sum_s;
};

enum metrics_end { METRICS_END_OK, METRICS_END_FATAL, METRICS_END_TRAP, METRICS_END_SIGNAL, METRICS_END_OTHER, METRICS_END_COUNT };

struct metrics {
	uint64_t starts_ok, starts_failed; /* of clients' sessions */
	uint64_t ends[METRICS_END_COUNT]; /* of every process in a cell */
	uint64_t recoveries_ok, recoveries_failed;
	uint64_t statements_cancelled; /* by --statement-time */
	uint64_t autovacuums_ok, autovacuums_failed; /* workers */
	uint64_t reloads_ok, reloads_failed;
	uint64_t bytes_in, bytes_out; /* of sessions that ended */
	struct metrics_histogram start; /* accept to the session's process */
	struct metrics_histogram ready; /* accept to the first query that could be sent */
	struct metrics_codes errors; /* of sessions that ended */
	struct metrics_codes refused; /* clients, before they had a session */
};

/* What is asked for at the moment of a scrape. */
struct metrics_now {
	uint64_t sessions;
	uint64_t cells[CELL_STATE_COUNT];
	uint64_t cells_memory_bytes;
	uint64_t supervisor_memory_bytes, fork_server_memory_bytes; /* resident, 0 when not known */
	uint64_t bytes_in, bytes_out; /* of sessions that run */
	struct metrics_codes errors; /* of all: a copy of those that ended, and those that run */
	uint64_t shed; /* refused because descriptors ran out */
	uint64_t is_draining;
};

void metrics_count_code(struct metrics_codes *codes, const char *code, uint64_t count);
void metrics_observe(struct metrics_histogram *histogram, uint64_t elapsed_ns);

/* A session's page: what it can say is bounded, whatever the page holds. */
void metrics_count_errors(struct metrics_codes *codes, const struct tally *tally);

/* Errors of `out` are the caller's. */
void metrics_write(const struct metrics *metrics, const struct metrics_now *now, FILE *out);

#endif

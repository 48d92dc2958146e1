/*
 * The options of every command that runs cells: one table gives parsing, environment variables, defaults and --help, and says which
 * command takes what.
 *
 * Calling sequence:
 *	struct config config;
 *	switch (options_parse(&config, argc, argv, err, sizeof(err))) { ... }
 *	config_release(&config);	(after any result)
 *
 * The command line wins over the environment (PGCELL_SESSION_WAIT for --session-wait), and that over the default.
 * An error is one line in the user's words, without a program name or newline.
 */
#ifndef PGCELL_OPTIONS_H
#define PGCELL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum isolate { ISOLATE_CELL, ISOLATE_CONNECTION };

/* Strings are owned by the config. */
struct config {
	const char *command; /* "serve" and so on: not owned */
	char **rest; /* what follows the options, NULL at the end: argv's, not owned */
	char *listen; /* HOST:PORT as given, or "none" */
	char *listen_host; /* NULL: no TCP */
	int64_t port; /* 0: any free one; without TCP it only names the socket file */
	char *socket_dir; /* NULL: no Unix socket */
	char *image_path;
	char *tls_cert, *tls_key; /* both, or NULL: no TLS */
	bool is_tls_only;
	int64_t isolate; /* enum isolate */
	int64_t session_wait_ms;
	int64_t startup_timeout_ms;
	int64_t autovacuum_naptime_s;
	int64_t max_cells;
	int64_t max_sessions;
	int64_t sessions_per_cell;
	int64_t session_memory_mib;
	bool is_verbose;
};

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_ERROR };

/* argv[0] is the command's name, one that options.c has in its table. Uses getopt_long(), so not reentrant. */
enum options_result options_parse(struct config *config, int argc, char **argv, char *err, size_t err_len)
	__attribute__((warn_unused_result));

void options_print_help(const char *command, FILE *out);

void config_release(struct config *config);

#endif

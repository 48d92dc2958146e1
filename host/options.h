/*
 * The options of every command that runs cells: one table gives parsing, environment variables, defaults and --help, and says which
 * command takes what.
 *
 * Calling sequence:
 *	struct config config;
 *	switch (options_parse(&config, argc, argv, err, sizeof(err))) { ... }
 *	config_release(&config);	(after any result)
 *
 * The command line wins over the environment (PGCELL_SESSION_WAIT for --session-wait), that over the file of --config (session-wait =
 * 5000; config_file.h has the syntax), and that over the default. One file may serve several commands: what another command's options
 * are is passed over. An empty value in the environment or the file is none.
 * An error is one line in the user's words, without a program name or newline.
 *
 * A server that is told to reload calls options_reload(), which does the same again with the arguments it was started with.
 */
#ifndef PGCELL_OPTIONS_H
#define PGCELL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum isolate { ISOLATE_CELL, ISOLATE_CONNECTION };
enum auth_method { AUTH_TRUST, AUTH_SCRAM };
enum output_format { OUTPUT_ALIGNED, OUTPUT_CSV, OUTPUT_JSON };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Strings are owned by the config. */
struct config {
	const char *command; /* "serve" and so on: not owned */
	int argc; /* of options_parse(), for options_reload() */
	char **argv; /* not owned */
	char *config_path; /* "none": no file */
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
	int64_t auth; /* enum auth_method */
	char *password_file; /* NULL without SCRAM */
	int64_t cell_memory_mib; /* 0: no limit */
	int64_t statement_time_s; /* 0: no limit */
	int64_t connection_rate; /* a second; 0: no limit */
	bool is_fair;
	int64_t total_memory_mib; /* 0: no limit */
	int64_t warm;
	int64_t idle_timeout_s; /* 0: never */
	char *template; /* NULL: the image */
	int64_t control_port;
	bool is_forced; /* cell drop */
	int64_t drain_timeout_ms;
	char *metrics_listen; /* HOST:PORT as given, or "none" */
	char *metrics_host; /* NULL: no metrics */
	int64_t metrics_port; /* 0: any free one */
	int64_t log_format; /* enum log_format */
	bool is_verbose;
	bool exits_with_stdin; /* serve */
	/* port */
	int64_t framing; /* enum framing_kind */
	bool does_startup;
	char *socket_path; /* NULL: standard input and output */
	/* port, exec */
	char *user;
	char *database;
	/* run */
	char *cell_name; /* NULL: the default cell */
	/* exec */
	int64_t output_format; /* enum output_format */
	char **statements; /* -c, in the order given; the strings are argv's; NULL: none, else NULL at the end */
};

/* SAMPLE: --print-config, see options_print_sample(). */
enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_SAMPLE, OPTIONS_ERROR };

/* argv[0] is the command's name, one that options.c has in its table. Uses getopt_long(), so not reentrant. */
enum options_result options_parse(struct config *config, int argc, char **argv, char *err, size_t err_len)
	__attribute__((warn_unused_result));

/*
 * Sets what a configuration file's text says, over what is set; `source` is the file's name, for messages ("FILE:LINE: ..."). Returns 0,
 * or -1 with a line in err.
 */
int options_set_from_text(struct config *config, const char *source, const char *text, size_t len, char *err,
			  size_t err_len) __attribute__((warn_unused_result));

/* What options_reload() found. `value` is a text for the log; NULL when the option cannot change while the server runs. */
typedef void options_changed_fn(const char *name, const char *value, void *data);

/*
 * The configuration as it would be if the server were started now, but for options that cannot change while it runs: they are as in
 * `current`. Overwrites *next, the caller's to release after any result; returns 0 or -1 with a line in err.
 */
int options_reload(struct config *next, const struct config *current, options_changed_fn *on_changed, void *data, char *err,
		   size_t err_len) __attribute__((warn_unused_result));

/* Has it options here? */
bool options_know(const char *command);

void options_print_help(const char *command, FILE *out);

/* A configuration file with every option as a comment that says its default. */
void options_print_sample(const char *command, FILE *out);

/* The command's part of the manual, in mdoc. */
void options_print_mdoc(const char *command, FILE *out);

void config_release(struct config *config);

#endif

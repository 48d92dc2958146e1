#define _GNU_SOURCE
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "log.h"
#include "supervisor.h"
#include "wire.h"

#define EXIT_USAGE 2
#define EXIT_NOT_RUNNABLE 126
#define EXIT_NOT_FOUND 127
#define EXIT_SIGNALLED 128
#define TEMPLATE "pgcell-run-XXXXXX"
#define FOLDER_MAX 80 /* a socket's path must fit behind it */

extern char **environ;

/* Beside DATABASE_URL; with PGCELL_SOCKET_DIR the last. */
enum { SET_URL, SET_HOST, SET_PORT, SET_USER, SET_DATABASE, SET_SSLMODE, SET_FOLDER, SET_COUNT };

static const char *const set_names[SET_COUNT] = {
	[SET_URL] = "DATABASE_URL",   [SET_HOST] = "PGHOST",	   [SET_PORT] = "PGPORT",	     [SET_USER] = "PGUSER",
	[SET_DATABASE] = "PGDATABASE", [SET_SSLMODE] = "PGSSLMODE", [SET_FOLDER] = "PGCELL_SOCKET_DIR",
};

/* What would lead libpq elsewhere, or have it ask for what this server has not. */
static const char *const dropped_names[] = {"PGHOSTADDR", "PGSERVICE", "PGREQUIRESSL", "PGREQUIREAUTH", "PGCHANNELBINDING",
					    "PGGSSENCMODE", "PGSSLNEGOTIATION", "PGTARGETSESSIONATTRS"};

static const int forwarded[] = {SIGHUP, SIGQUIT}; /* SIGINT and SIGTERM come through the supervisor */

#define FORWARDED_COUNT (sizeof(forwarded) / sizeof(forwarded[0]))

struct run {
	struct supervisor *sv;
	const struct config *config;
	char folder[FOLDER_MAX + 1];
	struct rlimit files; /* as we found it: the command gets that, not the server's */
	uv_process_t process;
	bool is_running;
	int exit_status; /* -1: the command has not ended */
	uv_signal_t signals[FORWARDED_COUNT];
	bool has_signals;
};

/* ---- the folder ---- */

static int make_folder(struct run *run)
{
	const char *parent = getenv("TMPDIR");

	if (parent == NULL || parent[0] != '/' || strlen(parent) + sizeof("/" TEMPLATE) > sizeof(run->folder))
		parent = "/tmp";
	snprintf(run->folder, sizeof(run->folder), "%s/" TEMPLATE, parent);
	if (mkdtemp(run->folder) != NULL)
		return 0;
	fprintf(stderr, "pgcell run: cannot make the folder %s: %s; see TMPDIR\n", run->folder, strerror(errno));
	return -1;
}

/* ---- the environment ---- */

static bool is_name(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

static bool is_ours_or_dropped(const char *entry)
{
	for (size_t i = 0; i < SET_COUNT; i++) {
		if (is_name(entry, set_names[i]))
			return true;
	}
	for (size_t i = 0; i < sizeof(dropped_names) / sizeof(dropped_names[0]); i++) {
		if (is_name(entry, dropped_names[i]))
			return true;
	}
	return false;
}

/* Fills texts[] with NAME=VALUE. A cell's name needs no escaping in a URL, only the @ before it does. */
static void describe_server(const struct run *run, char texts[SET_COUNT][256])
{
	const char *cell = run->config->cell_name;
	int port = (int)supervisor_port(run->sv);
	char values[SET_COUNT][200];

	snprintf(values[SET_URL], sizeof(values[0]), "postgresql://postgres@127.0.0.1:%d/postgres%s%s", port,
		 cell != NULL ? "%40" : "", cell != NULL ? cell : "");
	snprintf(values[SET_HOST], sizeof(values[0]), "127.0.0.1");
	snprintf(values[SET_PORT], sizeof(values[0]), "%d", port);
	snprintf(values[SET_USER], sizeof(values[0]), "postgres");
	snprintf(values[SET_DATABASE], sizeof(values[0]), "postgres%s%s", cell != NULL ? "@" : "", cell != NULL ? cell : "");
	snprintf(values[SET_SSLMODE], sizeof(values[0]), "disable");
	snprintf(values[SET_FOLDER], sizeof(values[0]), "%s", run->folder);
	for (size_t i = 0; i < SET_COUNT; i++)
		snprintf(texts[i], sizeof(texts[i]), "%s=%s", set_names[i], values[i]);
}

/* The strings are texts[]'s and the environment's; the array is the caller's to free. NULL: out of memory. */
static char **make_environment(char texts[SET_COUNT][256])
{
	size_t count = 0;
	size_t used = 0;
	char **made;

	while (environ[count] != NULL)
		count++;
	made = calloc(count + SET_COUNT + 1, sizeof(*made));
	if (made == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (!is_ours_or_dropped(environ[i]))
			made[used++] = environ[i];
	}
	for (size_t i = 0; i < SET_COUNT; i++)
		made[used++] = texts[i];
	return made;
}

/* ---- the command ---- */

static void on_exit_of_command(uv_process_t *process, int64_t exit_status, int signal_number)
{
	struct run *run = process->data;

	run->is_running = false;
	uv_close((uv_handle_t *)process, NULL);
	run->exit_status = signal_number != 0 ? EXIT_SIGNALLED + signal_number : (int)exit_status;
	supervisor_stop(run->sv, run->exit_status);
}

static void spawn(struct run *run)
{
	uv_stdio_container_t stdio[3];
	char texts[SET_COUNT][256];
	uv_process_options_t options = {.exit_cb = on_exit_of_command,
					.file = run->config->rest[0],
					.args = run->config->rest,
					.stdio = stdio,
					.stdio_count = 3};
	struct rlimit ours;
	int rc = UV_ENOMEM;

	for (int i = 0; i < 3; i++)
		stdio[i] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = i};
	describe_server(run, texts);
	options.env = make_environment(texts);
	if (options.env != NULL) {
		getrlimit(RLIMIT_NOFILE, &ours);
		setrlimit(RLIMIT_NOFILE, &run->files);
		rc = uv_spawn(supervisor_loop(run->sv), &run->process, &options);
		setrlimit(RLIMIT_NOFILE, &ours);
		run->process.data = run;
		run->is_running = rc == 0;
		if (rc != 0)
			uv_close((uv_handle_t *)&run->process, NULL);
		free(options.env);
	}
	if (rc != 0) {
		fprintf(stderr, "pgcell run: %s: %s\n", options.file, uv_strerror(rc));
		supervisor_stop(run->sv, rc == UV_ENOENT ? EXIT_NOT_FOUND : rc == UV_ENOMEM ? 1 : EXIT_NOT_RUNNABLE);
	}
}

/* ---- signals ---- */

/* The terminal sends its signals to the whole foreground group, the command included: twice would be once too often. */
static bool has_come_from_terminal(int signal_number)
{
	if (signal_number != SIGINT && signal_number != SIGQUIT)
		return false;
	for (int fd = 0; fd < 3; fd++) {
		if (tcgetpgrp(fd) == getpgrp())
			return true;
	}
	return false;
}

static bool on_signal(struct supervisor *sv, int signal_number, void *data)
{
	struct run *run = data;

	(void)sv;
	if (!run->is_running)
		return false;
	if (!has_come_from_terminal(signal_number))
		uv_process_kill(&run->process, signal_number);
	return true;
}

static void on_forwarded(uv_signal_t *handle, int signal_number)
{
	struct run *run = handle->data;

	if (!on_signal(run->sv, signal_number, run) && !supervisor_is_stopping(run->sv))
		supervisor_stop(run->sv, EXIT_SIGNALLED + signal_number);
}

/* ---- life ---- */

static void on_ready(struct supervisor *sv, void *data)
{
	struct run *run = data;

	run->sv = sv;
	for (size_t i = 0; i < FORWARDED_COUNT; i++) {
		uv_signal_init(supervisor_loop(sv), &run->signals[i]);
		run->signals[i].data = run;
		uv_signal_start(&run->signals[i], on_forwarded, forwarded[i]);
	}
	run->has_signals = true;
	spawn(run);
}

static void on_finish(struct supervisor *sv, void *data)
{
	struct run *run = data;

	(void)sv;
	if (run->is_running) { /* the server has failed it */
		uv_process_kill(&run->process, SIGTERM);
		uv_close((uv_handle_t *)&run->process, NULL);
		run->is_running = false;
	}
	for (size_t i = 0; i < FORWARDED_COUNT && run->has_signals; i++)
		uv_close((uv_handle_t *)&run->signals[i], NULL);
	run->has_signals = false;
}

static bool is_cell_name(const char *name)
{
	char database[WIRE_CELL_NAME_MAX + 16];
	struct wire_route route;

	if (strlen(name) > WIRE_CELL_NAME_MAX || strchr(name, '@') != NULL)
		return false;
	snprintf(database, sizeof(database), "postgres@%s", name);
	wire_route(database, &route);
	return route.kind != WIRE_CELL_BAD_NAME;
}

int run_main(const struct config *config)
{
	static struct run run;
	const struct supervisor_hooks hooks = {
		.on_ready = on_ready, .on_finish = on_finish, .on_signal = on_signal, .data = &run};
	struct config own = *config;
	int status;

	run = (struct run){.config = config, .exit_status = -1};
	if (config->rest[0] == NULL) {
		fprintf(stderr, "pgcell run: which command? See --help\n");
		return EXIT_USAGE;
	}
	if (config->cell_name != NULL && !is_cell_name(config->cell_name)) {
		fprintf(stderr, "pgcell run: --cell: a cell's name has 1 to %d letters, digits, \"_\", \".\" or \"-\", unlike \"%.80s\"\n",
			WIRE_CELL_NAME_MAX, config->cell_name);
		return EXIT_USAGE;
	}
	if (getrlimit(RLIMIT_NOFILE, &run.files) != 0 || make_folder(&run) != 0)
		return 1;
	own.socket_dir = run.folder;
	status = supervisor_run(&own, &hooks);
	if (rmdir(run.folder) != 0 && errno != ENOENT)
		log_warn(NULL, 0, "the folder %s is left: %s", run.folder, strerror(errno));
	return run.exit_status >= 0 ? run.exit_status : status; /* however the server's end went */
}

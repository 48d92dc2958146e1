#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config_file.h"
#include "fail.h"
#include "framing.h"
#include "log.h"

#define DEFAULT_PORT 5432
#define SESSIONS_PER_CELL_MAX 200 /* CELL_SLOTS_MAX */

/* Which commands take an option. */
enum { SERVE = 1, PORT = 2, RUN = 4, EXEC = 8, CELL = 16, ALL = SERVE | PORT | RUN | EXEC };

static const struct command_spec {
	const char *name;
	unsigned bit;
	const char *rest; /* NULL: nothing may follow the options */
	const char *listen; /* where the command listens, if that is no option of its own: "none", or a port of its own choice */
	const char *help;
} command_specs[] = {
	{"serve", SERVE, NULL, NULL,
	 "Runs a PostgreSQL server. Database \"db@cell\" is database db in cell \"cell\", made on first use;\n"
	 "plain \"db\" is in cell \"default\"; \"db@new\" is a private cell that ends with its connection."},
	{"cell", CELL, "list | create NAME | clone SOURCE NAME | drop NAME... | snapshot NAME FILE | restore FILE NAME", NULL,
	 "Asks a running server, by its control socket in --socket-dir.\n\n"
	 "  list                  name, state, sessions and memory in bytes of each cell, tab separated\n"
	 "  create NAME           a cell like any new one, or with --template a copy of that one\n"
	 "  clone SOURCE NAME     a copy of a cell as it is now; its sessions go on\n"
	 "  drop NAME...          cells and all that is in them; --force ends their sessions first\n"
	 "  snapshot NAME FILE    saves a cell into a file, for this build of pgcell\n"
	 "  restore FILE NAME     a new cell from such a file"},
	{"port", PORT, NULL, "none",
	 "PostgreSQL's protocol over standard input and output, for a parent process (an Erlang port, a subprocess).\n"
	 "Exit status: 0 the input ended, or the session did after Terminate; 1 an error of pgcell or the machine; 2 usage;\n"
	 "3 the session could not be started; 4 the session ended by itself, or crashed."},
	{"run", RUN, "[--] COMMAND [ARGUMENT]...", "127.0.0.1:0",
	 "Runs a command with a throw-away PostgreSQL server, whose address is in DATABASE_URL, PGHOST, PGPORT, PGUSER,\n"
	 "PGDATABASE and PGCELL_SOCKET_DIR. The exit status is the command's; 126 or 127 if it could not be started."},
	{"exec", EXEC, "[FILE|-]", "none",
	 "Runs SQL in a new cell without a server, prints what it returns, and forgets the cell. -c may be given several times;\n"
	 "FILE comes last, - is standard input. The first error ends it: exit status 1."},
};

/* Options that have a short form as well. */
static const struct {
	unsigned commands;
	char letter;
	const char *name;
} short_specs[] = {
	{EXEC, 'c', "command"},
};

#define SHORT_COUNT (sizeof(short_specs) / sizeof(short_specs[0]))

#define COMMAND_COUNT (sizeof(command_specs) / sizeof(command_specs[0]))

enum option_type { OPTION_TEXT, OPTION_NUMBER, OPTION_CHOICE, OPTION_FLAG, OPTION_LIST };

enum option_change { FIXED, RELOADED };

struct option_spec {
	unsigned commands;
	const char *name;
	const char *placeholder; /* NULL: takes no argument */
	const char *env; /* NULL: none */
	const char *fallback; /* NULL: worked out in set_defaults() */
	const char *fallback_help; /* shown by --help when fallback is NULL or says little */
	enum option_type type;
	size_t offset; /* in struct config: char *, int64_t, int64_t, bool, char ** */
	int64_t min, max; /* NUMBER */
	const char *const *choices; /* CHOICE: the index is the value */
	const char *help;
	enum option_change change; /* of a server that runs */
};

static const char *const isolate_choices[] = {
	[ISOLATE_CELL] = "cell", [ISOLATE_CONNECTION] = "connection", NULL};
static const char *const framing_choices[] = {[FRAMING_PACKET4] = "packet4", [FRAMING_RAW] = "raw", NULL};
static const char *const format_choices[] = {
	[OUTPUT_ALIGNED] = "aligned", [OUTPUT_CSV] = "csv", [OUTPUT_JSON] = "json", NULL};
static const char *const auth_choices[] = {[AUTH_TRUST] = "trust", [AUTH_SCRAM] = "scram-sha-256", NULL};
static const char *const log_format_choices[] = {[LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_JSON] = "json", NULL};

#define FIELD(name) offsetof(struct config, name)

static const struct option_spec specs[] = {
	{SERVE, "config", "FILE", "PGCELL_CONFIG", "none", NULL, OPTION_TEXT, FIELD(config_path), 0, 0, NULL,
	 "file with lines OPTION = VALUE; \"none\": no file", FIXED},
	{SERVE, "listen", "HOST:PORT", "PGCELL_LISTEN", "127.0.0.1:5432", NULL, OPTION_TEXT, FIELD(listen), 0, 0, NULL,
	 "TCP address; port 0 takes any free port, \"none\" disables TCP", FIXED},
	{SERVE | CELL, "socket-dir", "DIR", "PGCELL_SOCKET_DIR", NULL, "$XDG_RUNTIME_DIR/pgcell or /tmp/pgcell-UID", OPTION_TEXT,
	 FIELD(socket_dir), 0, 0, NULL, "folder of the Unix socket, yours alone; \"none\" disables it", FIXED},
	{ALL, "image", "FILE", "PGCELL_IMAGE", NULL, "pgcell.img beside the program", OPTION_TEXT, FIELD(image_path), 0, 0,
	 NULL, "image from which new cells start", FIXED},
	{SERVE | RUN, "isolate", "MODE", "PGCELL_ISOLATE", "cell", NULL, OPTION_CHOICE, FIELD(isolate), 0, 0, isolate_choices,
	 "\"connection\" gives every connection a cell of its own", RELOADED},
	{ALL, "session-wait", "MS", "PGCELL_SESSION_WAIT", "10000", NULL, OPTION_NUMBER, FIELD(session_wait_ms), 0, 86400000,
	 NULL, "how long a connection waits for a busy cell", RELOADED},
	{ALL, "startup-timeout", "MS", "PGCELL_STARTUP_TIMEOUT", "60000", NULL, OPTION_NUMBER, FIELD(startup_timeout_ms), 1,
	 86400000, NULL, "how long a client may take to say what it wants", RELOADED},
	{ALL, "max-cells", "N", "PGCELL_MAX_CELLS", "1000", NULL, OPTION_NUMBER, FIELD(max_cells), 1, 1000000, NULL,
	 "most cells at a time", RELOADED},
	{ALL, "max-sessions", "N", "PGCELL_MAX_SESSIONS", "2000", NULL, OPTION_NUMBER, FIELD(max_sessions), 1, 1000000, NULL,
	 "most sessions at a time", FIXED},
	{ALL, "sessions-per-cell", "N", "PGCELL_SESSIONS_PER_CELL", "200", NULL, OPTION_NUMBER, FIELD(sessions_per_cell), 1,
	 SESSIONS_PER_CELL_MAX, NULL, "most sessions at a time in one cell; PostgreSQL's own max_connections (100) comes first", RELOADED},
	{ALL, "session-memory", "MIB", "PGCELL_SESSION_MEMORY", "1024", NULL, OPTION_NUMBER, FIELD(session_memory_mib), 16,
	 4096, NULL, "most memory one session may use", RELOADED},
	{ALL, "autovacuum-naptime", "S", "PGCELL_AUTOVACUUM_NAPTIME", "60", NULL, OPTION_NUMBER, FIELD(autovacuum_naptime_s), 0,
	 86400, NULL, "how long between autovacuums of a cell that is used; 0: none", FIXED},
	{ALL, "cell-memory", "MIB", "PGCELL_CELL_MEMORY", "0", "2559", OPTION_NUMBER, FIELD(cell_memory_mib), 0, 2559, NULL,
	 "most memory for the files of one cell: then PostgreSQL's \"No space left on device\"", FIXED},
	{SERVE, "statement-time", "S", "PGCELL_STATEMENT_TIME", "0", "none", OPTION_NUMBER, FIELD(statement_time_s), 0, 86400, NULL,
	 "cancel what runs longer, whatever statement_timeout says", FIXED},
	{SERVE, "connection-rate", "N", "PGCELL_CONNECTION_RATE", "0", "none", OPTION_NUMBER, FIELD(connection_rate), 0, 100000, NULL,
	 "most connections a second; as many more may come at once", RELOADED},
	{SERVE, "fair", NULL, "PGCELL_FAIR", "off", NULL, OPTION_FLAG, FIELD(is_fair), 0, 0, NULL,
	 "share out processors by cell, not by session; needs CAP_SYS_NICE", FIXED},
	{SERVE, "total-memory", "MIB", "PGCELL_TOTAL_MEMORY", "0", "none", OPTION_NUMBER, FIELD(total_memory_mib), 0, 1 << 30, NULL,
	 "no client comes in while the cells use more memory", FIXED},
	{SERVE, "warm", "N", "PGCELL_WARM", "0", NULL, OPTION_NUMBER, FIELD(warm), 0, 1000, NULL,
	 "new cells kept ready for clients to come", FIXED},
	{SERVE, "idle-timeout", "S", "PGCELL_IDLE_TIMEOUT", "0", "never", OPTION_NUMBER, FIELD(idle_timeout_s), 0, 86400 * 365, NULL,
	 "drop a cell, with its data, when no client has been in it for so long", FIXED},
	{SERVE | CELL, "template", "CELL", "PGCELL_TEMPLATE", NULL, "none", OPTION_TEXT, FIELD(template), 0, 0, NULL,
	 "new cells start as copies of this one, as it is then", FIXED},
	{CELL, "port", "PORT", "PGCELL_PORT", "5432", NULL, OPTION_NUMBER, FIELD(control_port), 0, 65535, NULL,
	 "the server's port, which is in the socket's name", FIXED},
	{CELL, "force", NULL, "PGCELL_FORCE", "off", NULL, OPTION_FLAG, FIELD(is_forced), 0, 0, NULL,
	 "drop: end the cell's sessions", FIXED},
	{SERVE, "drain-timeout", "MS", "PGCELL_DRAIN_TIMEOUT", "10000", NULL, OPTION_NUMBER, FIELD(drain_timeout_ms), 0, 86400000,
	 NULL, "how long running statements may go on after SIGTERM", RELOADED},
	{SERVE, "metrics-listen", "HOST:PORT", "PGCELL_METRICS_LISTEN", "none", NULL, OPTION_TEXT, FIELD(metrics_listen), 0, 0, NULL,
	 "HTTP for /metrics, /healthz and /readyz, without authentication; \"none\" disables it", FIXED},
	{SERVE, "auth", "METHOD", "PGCELL_AUTH", "trust", NULL, OPTION_CHOICE, FIELD(auth), 0, 0, auth_choices,
	 "\"scram-sha-256\": clients need a password, in every cell; without it only this machine can connect", FIXED},
	{SERVE, "password-file", "FILE", "PGCELL_PASSWORD_FILE", NULL, "none", OPTION_TEXT, FIELD(password_file), 0, 0, NULL,
	 "its first line is the password of role postgres in new cells; yours alone (mode 0600)", FIXED},
	{SERVE, "tls-cert", "FILE", "PGCELL_TLS_CERT", NULL, "no TLS", OPTION_TEXT, FIELD(tls_cert), 0, 0, NULL,
	 "server's certificate and what leads to its issuer, PEM; SIGHUP reads it anew", FIXED},
	{SERVE, "tls-key", "FILE", "PGCELL_TLS_KEY", NULL, "no TLS", OPTION_TEXT, FIELD(tls_key), 0, 0, NULL,
	 "its private key, PEM without a passphrase; yours alone (mode 0600)", FIXED},
	{SERVE, "tls-only", NULL, "PGCELL_TLS_ONLY", "off", NULL, OPTION_FLAG, FIELD(is_tls_only), 0, 0, NULL,
	 "refuse TCP clients without TLS", FIXED},
	{ALL, "log-format", "FORMAT", "PGCELL_LOG_FORMAT", "text", NULL, OPTION_CHOICE, FIELD(log_format), 0, 0,
	 log_format_choices, "\"json\" writes the log as one object a line", FIXED},
	{ALL, "verbose", NULL, "PGCELL_VERBOSE", "off", NULL, OPTION_FLAG, FIELD(is_verbose), 0, 0, NULL,
	 "log connections as well", RELOADED},
	{SERVE, "exit-with-stdin", NULL, "PGCELL_EXIT_WITH_STDIN", "off", NULL, OPTION_FLAG, FIELD(exits_with_stdin), 0, 0, NULL,
	 "stop when standard input ends, so that the server goes with who started it", FIXED},
	{PORT, "framing", "KIND", "PGCELL_FRAMING", "packet4", NULL, OPTION_CHOICE, FIELD(framing), 0, 0, framing_choices,
	 "\"packet4\": frames with a length of four bytes, as Erlang's {packet, 4}; \"raw\": none", FIXED},
	{PORT, "startup", NULL, "PGCELL_STARTUP", "off", NULL, OPTION_FLAG, FIELD(does_startup), 0, 0, NULL,
	 "start the session for the parent, which begins after ReadyForQuery", FIXED},
	{PORT | EXEC, "user", "NAME", "PGCELL_USER", "postgres", NULL, OPTION_TEXT, FIELD(user), 0, 0, NULL,
	 "role; for port with --startup", FIXED},
	{PORT | EXEC, "database", "NAME", "PGCELL_DATABASE", "postgres", NULL, OPTION_TEXT, FIELD(database), 0, 0, NULL,
	 "database; for port with --startup", FIXED},
	{PORT, "socket", "PATH", "PGCELL_SOCKET", NULL, "none", OPTION_TEXT, FIELD(socket_path), 0, 0, NULL,
	 "serve clients of this Unix socket until standard input ends", FIXED},
	{RUN, "cell", "NAME", "PGCELL_CELL", NULL, "the default cell", OPTION_TEXT, FIELD(cell_name), 0, 0, NULL,
	 "cell of the database that the command is told", FIXED},
	{EXEC, "command", "SQL", NULL, NULL, "none", OPTION_LIST, FIELD(statements), 0, 0, NULL, "SQL to run; short: -c SQL", FIXED},
	{EXEC, "format", "FORMAT", "PGCELL_FORMAT", "aligned", NULL, OPTION_CHOICE, FIELD(output_format), 0, 0, format_choices,
	 "aligned, csv or json (one array of objects per result)", FIXED},
};

#define SPEC_COUNT (sizeof(specs) / sizeof(specs[0]))
#define LONG_BASE 1000 /* what getopt_long() returns for specs[0]: beyond all letters */
#define HELP_OPTION (LONG_BASE + (int)SPEC_COUNT)
#define SAMPLE_OPTION (HELP_OPTION + 1)

static int set_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return -1;
	free(*field);
	*field = copy;
	return 0;
}

static int add_to_list(char ***field, const char *value)
{
	size_t count = 0;
	char **longer;

	while (*field != NULL && (*field)[count] != NULL)
		count++;
	longer = realloc(*field, (count + 2) * sizeof(*longer));
	if (longer == NULL)
		return -1;
	longer[count] = (char *)(uintptr_t)value;
	longer[count + 1] = NULL;
	*field = longer;
	return 0;
}

/* `source` names where the value came from, for messages: "--image" or "PGCELL_IMAGE". */
static int set_value(struct config *config, const struct option_spec *spec, const char *source, const char *value,
		     char *err, size_t err_len)
{
	char *field = (char *)config + spec->offset;
	char *end;
	long long number;

	switch (spec->type) {
	case OPTION_TEXT:
		if (value[0] == '\0')
			return fail(err, err_len, "%s needs a value", source);
		if (set_text((char **)field, value) != 0)
			return fail(err, err_len, "out of memory");
		return 0;
	case OPTION_NUMBER:
		errno = 0;
		number = strtoll(value, &end, 10);
		if (end == value || *end != '\0' || errno != 0 || number < spec->min || number > spec->max)
			return fail(err, err_len, "%s must be a number from %lld to %lld, not \"%.80s\"", source,
				    (long long)spec->min, (long long)spec->max, value);
		*(int64_t *)field = number;
		return 0;
	case OPTION_CHOICE:
		for (int i = 0; spec->choices[i] != NULL; i++) {
			if (strcmp(spec->choices[i], value) == 0) {
				*(int64_t *)field = i;
				return 0;
			}
		}
		return fail(err, err_len, "%s: \"%.80s\" is not known; see --help", source, value);
	case OPTION_FLAG:
		if (strcmp(value, "on") != 0 && strcmp(value, "1") != 0 && strcmp(value, "off") != 0 &&
		    strcmp(value, "0") != 0)
			return fail(err, err_len, "%s must be on or off, not \"%.80s\"", source, value);
		*(bool *)field = strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
		return 0;
	case OPTION_LIST:
		if (add_to_list((char ***)field, value) != 0)
			return fail(err, err_len, "out of memory");
		return 0;
	}
	return fail(err, err_len, "%s cannot be set", source);
}

static int default_socket_dir(char *out, size_t cap)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int len;

	if (runtime != NULL && runtime[0] == '/')
		len = snprintf(out, cap, "%s/pgcell", runtime);
	else
		len = snprintf(out, cap, "/tmp/pgcell-%u", (unsigned)geteuid());
	return len > 0 && (size_t)len < cap ? 0 : -1;
}

static int default_image_path(char *out, size_t cap)
{
	static const char name[] = "pgcell.img";
	ssize_t len = readlink("/proc/self/exe", out, cap - 1);
	char *slash;

	if (len <= 0)
		return -1;
	out[len] = '\0';
	slash = strrchr(out, '/');
	if (slash == NULL || (size_t)(slash + 1 - out) + sizeof(name) > cap)
		return -1;
	memcpy(slash + 1, name, sizeof(name));
	return 0;
}

static int set_defaults(struct config *config, char *err, size_t err_len)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if (specs[i].fallback != NULL &&
		    set_value(config, &specs[i], specs[i].name, specs[i].fallback, err, err_len) != 0)
			return -1;
	}
	if (default_socket_dir(path, sizeof(path)) != 0 || set_text(&config->socket_dir, path) != 0)
		return fail(err, err_len, "XDG_RUNTIME_DIR is too long; use --socket-dir");
	if (default_image_path(path, sizeof(path)) != 0 || set_text(&config->image_path, path) != 0)
		return fail(err, err_len, "cannot tell where the program is; use --image");
	return 0;
}

static int set_from_environment(struct config *config, unsigned commands, char *err, size_t err_len)
{
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		const char *value = specs[i].env == NULL ? NULL : getenv(specs[i].env);

		if (value == NULL || value[0] == '\0' || (specs[i].commands & commands) == 0)
			continue;
		if (set_value(config, &specs[i], specs[i].env, value, err, err_len) != 0)
			return -1;
	}
	return 0;
}

static const struct command_spec *find_command(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(command_specs[i].name, name) == 0)
			return &command_specs[i];
	}
	BUG("command %s has no options", name);
}

/* getopt()'s string of the command's short options, all of which take a value. */
static void list_letters(const struct command_spec *command, const char *start, char *out)
{
	out = stpcpy(out, start);
	for (size_t i = 0; i < SHORT_COUNT; i++) {
		if ((short_specs[i].commands & command->bit) != 0) {
			*out++ = short_specs[i].letter;
			*out++ = ':';
		}
	}
	*out = '\0';
}

/* The index in specs[] of what getopt_long() returned: a letter, or LONG_BASE and the index. */
static size_t find_letter(const struct command_spec *command, int chosen)
{
	for (size_t i = 0; i < SHORT_COUNT; i++) {
		if ((short_specs[i].commands & command->bit) == 0 || short_specs[i].letter != chosen)
			continue;
		for (size_t j = 0; j < SPEC_COUNT; j++) {
			if (strcmp(specs[j].name, short_specs[i].name) == 0)
				return j;
		}
	}
	return (size_t)chosen - LONG_BASE;
}

bool options_know(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(command_specs[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Returns OPTIONS_RUN to go on. */
static enum options_result set_from_arguments(struct config *config, const struct command_spec *command, int argc,
					      char **argv, char *err, size_t err_len)
{
	struct option longopts[SPEC_COUNT + 3];
	char shortopts[2 * SHORT_COUNT + 3];
	size_t count = 0;
	char source[64];
	int chosen;

	memset(longopts, 0, sizeof(longopts));
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if ((specs[i].commands & command->bit) == 0)
			continue;
		longopts[count].name = specs[i].name;
		longopts[count].has_arg = specs[i].placeholder != NULL ? required_argument : no_argument;
		longopts[count++].val = LONG_BASE + (int)i;
	}
	longopts[count].name = "help";
	longopts[count++].val = HELP_OPTION;
	if (command->bit == SERVE) {
		longopts[count].name = "print-config";
		longopts[count].val = SAMPLE_OPTION;
	}
	/* what follows a command to run is the command's */
	list_letters(command, command->bit == RUN ? "+:" : ":", shortopts);

	optind = 0; /* glibc: start anew */
	opterr = 0;
	while ((chosen = getopt_long(argc, argv, shortopts, longopts, NULL)) != -1) {
		const struct option_spec *spec;

		if (chosen == HELP_OPTION)
			return OPTIONS_HELP;
		if (chosen == SAMPLE_OPTION)
			return OPTIONS_SAMPLE;
		if (chosen == ':') {
			fail(err, err_len, "%.80s needs a value; see --help", argv[optind - 1]);
			return OPTIONS_ERROR;
		}
		if (chosen == '?') {
			fail(err, err_len, "option %.80s is not known; see --help", argv[optind - 1]);
			return OPTIONS_ERROR;
		}
		spec = &specs[find_letter(command, chosen)];
		snprintf(source, sizeof(source), "--%s", spec->name);
		if (set_value(config, spec, source, spec->placeholder != NULL ? optarg : "on", err, err_len) != 0)
			return OPTIONS_ERROR;
	}
	config->rest = argv + optind;
	if (optind < argc && command->rest == NULL) {
		fail(err, err_len, "unexpected argument \"%.80s\"; see --help", argv[optind]);
		return OPTIONS_ERROR;
	}
	return OPTIONS_RUN;
}

/* Of the option `name`: HOST:PORT or [HOST]:PORT into *host_out (NULL for "none"; the caller's) and *port_out. */
static int split_address(const char *name, const char *text, char **host_out, int64_t *port_out, char *err, size_t err_len)
{
	const char *colon = strrchr(text, ':');
	const char *host = text;
	size_t host_len;
	char *end;
	long port;

	*host_out = NULL;
	if (strcmp(text, "none") == 0)
		return 0;
	if (colon == NULL || colon == text)
		goto bad;
	host_len = (size_t)(colon - text);
	if (host[0] == '[') {
		if (host_len < 3 || host[host_len - 1] != ']')
			goto bad;
		host++;
		host_len -= 2;
	} else if (memchr(host, ':', host_len) != NULL) {
		goto bad;
	}
	errno = 0;
	port = strtol(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || errno != 0 || port > 65535)
		goto bad;
	*port_out = port;
	*host_out = strndup(host, host_len);
	return *host_out != NULL ? 0 : fail(err, err_len, "out of memory");
bad:
	return fail(err, err_len, "--%s must be HOST:PORT, [IPV6]:PORT or none, not \"%.80s\"", name, text);
}

static const struct option_spec *find_option(const char *name, unsigned commands)
{
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if ((specs[i].commands & commands) != 0 && strcmp(specs[i].name, name) == 0)
			return &specs[i];
	}
	return NULL;
}

/* One line, whatever a value that is quoted in it holds. */
static void clean_line(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

int options_set_from_text(struct config *config, const char *source, const char *text, size_t len, char *err,
			  size_t err_len)
{
	const struct command_spec *command = find_command(config->command);
	struct config_file file = {.text = text, .len = len};
	struct config_file_setting setting;
	enum config_file_result result;
	char what[CONFIG_FILE_NAME_MAX + 300];

	while ((result = config_file_next(&file, &setting)) == CONFIG_FILE_SETTING) {
		const struct option_spec *spec = find_option(setting.name, command->bit);
		int rc = 0;

		snprintf(what, sizeof(what), "%.200s:%u: %s", source, file.line, setting.name);
		if (spec == NULL && find_option(setting.name, ~0u) == NULL)
			rc = fail(err, err_len, "%s is not an option", what);
		else if (spec != NULL && spec->offset == FIELD(config_path))
			rc = fail(err, err_len, "%s cannot be set in a file", what);
		else if (spec != NULL && setting.value[0] != '\0')
			rc = set_value(config, spec, what, setting.value, err, err_len);
		if (rc != 0) {
			clean_line(err);
			return -1;
		}
	}
	if (result == CONFIG_FILE_ERROR)
		return fail(err, err_len, "%.200s:%u: %s", source, file.line, file.error);
	return 0;
}

static int set_from_file(struct config *config, const char *path, char *err, size_t err_len)
{
	FILE *in = fopen(path, "re");
	char *text = NULL;
	size_t len = 0;
	int rc = -1;

	if (in == NULL)
		return fail(err, err_len, "cannot open the configuration file %.200s: %s", path, strerror(errno));
	text = malloc(CONFIG_FILE_BYTES_MAX + 1);
	if (text == NULL) {
		fail(err, err_len, "out of memory");
		goto cleanup;
	}
	len = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, in);
	if (ferror(in))
		fail(err, err_len, "cannot read the configuration file %.200s: %s", path, strerror(errno));
	else if (len > CONFIG_FILE_BYTES_MAX)
		fail(err, err_len, "the configuration file %.200s is larger than %u bytes", path, CONFIG_FILE_BYTES_MAX);
	else
		rc = options_set_from_text(config, path, text, len, err, err_len);
cleanup:
	free(text);
	fclose(in);
	return rc;
}

/* Everything as it is said, before finish_config(). Returns OPTIONS_RUN to go on. */
static enum options_result collect(struct config *config, int argc, char **argv, char *err, size_t err_len)
{
	const struct command_spec *command = find_command(argv[0]);
	enum options_result result;
	char *path;

	memset(config, 0, sizeof(*config));
	config->command = command->name;
	config->argc = argc;
	config->argv = argv;
	config->rest = argv + argc;
	/* the file comes first, but only the rest says which */
	if (set_defaults(config, err, err_len) != 0 || set_from_environment(config, command->bit, err, err_len) != 0)
		return OPTIONS_ERROR;
	result = set_from_arguments(config, command, argc, argv, err, err_len);
	if (result != OPTIONS_RUN || strcmp(config->config_path, "none") == 0)
		return result;
	path = strdup(config->config_path);
	if (path == NULL || set_defaults(config, err, err_len) != 0 || set_from_file(config, path, err, err_len) != 0 ||
	    set_from_environment(config, command->bit, err, err_len) != 0)
		result = OPTIONS_ERROR;
	else
		result = set_from_arguments(config, command, argc, argv, err, err_len);
	free(path);
	return result;
}

/* What follows from the options. */
static int finish_config(struct config *config, char *err, size_t err_len)
{
	const struct command_spec *command = find_command(config->command);

	if (command->bit == CELL)
		return 0;
	if (command->listen != NULL && (set_text(&config->listen, command->listen) != 0 || set_text(&config->socket_dir, "none") != 0))
		return fail(err, err_len, "out of memory");
	config->port = DEFAULT_PORT;
	if (split_address("listen", config->listen, &config->listen_host, &config->port, err, err_len) != 0 ||
	    split_address("metrics-listen", config->metrics_listen, &config->metrics_host, &config->metrics_port, err,
			  err_len) != 0)
		return -1;
	if (strcmp(config->socket_dir, "none") == 0) {
		free(config->socket_dir);
		config->socket_dir = NULL;
	}
	if ((config->auth == AUTH_SCRAM) != (config->password_file != NULL))
		return fail(err, err_len, "--auth scram-sha-256 and --password-file belong together");
	if ((config->tls_cert == NULL) != (config->tls_key == NULL))
		return fail(err, err_len, "--tls-cert and --tls-key belong together: --tls-%s is missing",
			    config->tls_cert == NULL ? "cert" : "key");
	if (config->is_tls_only && config->tls_cert == NULL)
		return fail(err, err_len, "--tls-only needs --tls-cert and --tls-key");
	if (command->listen == NULL && config->listen_host == NULL && config->socket_dir == NULL)
		return fail(err, err_len, "--listen none and --socket-dir none leave nothing to connect to");
	return 0;
}

enum options_result options_parse(struct config *config, int argc, char **argv, char *err, size_t err_len)
{
	enum options_result result = collect(config, argc, argv, err, err_len);

	if (result == OPTIONS_RUN && finish_config(config, err, err_len) != 0)
		return OPTIONS_ERROR;
	return result;
}

/* In words, as the file would have it. */
static void value_text(const struct config *config, const struct option_spec *spec, char *out, size_t cap)
{
	const char *field = (const char *)config + spec->offset;
	const char *text;

	switch (spec->type) {
	case OPTION_TEXT:
		text = *(char *const *)field;
		snprintf(out, cap, "%s", text != NULL ? text : "none"); /* NULL: see finish_config() */
		break;
	case OPTION_NUMBER:
		snprintf(out, cap, "%lld", (long long)*(const int64_t *)field);
		break;
	case OPTION_CHOICE:
		snprintf(out, cap, "%s", spec->choices[*(const int64_t *)field]);
		break;
	case OPTION_FLAG:
		snprintf(out, cap, "%s", *(const bool *)field ? "on" : "off");
		break;
	case OPTION_LIST:
		*out = '\0'; /* in no file */
		break;
	}
}

/* `text` is what value_text() made of it. */
static int keep_value(struct config *next, const struct config *current, const struct option_spec *spec, const char *text, char *err,
		      size_t err_len)
{
	char **field = (char **)(void *)((char *)next + spec->offset);
	bool is_null = spec->type == OPTION_TEXT && *(char *const *)(const void *)((const char *)current + spec->offset) == NULL;

	if (!is_null || spec->offset == FIELD(socket_dir)) /* of which finish_config() makes NULL again */
		return set_value(next, spec, spec->name, text, err, err_len);
	free(*field);
	*field = NULL;
	return 0;
}

int options_reload(struct config *next, const struct config *current, options_changed_fn *on_changed, void *data, char *err,
		   size_t err_len)
{
	const struct command_spec *command = find_command(current->command);
	char before[CONFIG_FILE_VALUE_MAX + 1], after[CONFIG_FILE_VALUE_MAX + 1];

	switch (collect(next, current->argc, current->argv, err, err_len)) {
	case OPTIONS_RUN:
		break;
	case OPTIONS_ERROR:
		return -1;
	case OPTIONS_HELP:
	case OPTIONS_SAMPLE:
		BUG("the arguments have changed");
	}
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if ((specs[i].commands & command->bit) == 0)
			continue;
		value_text(current, &specs[i], before, sizeof(before));
		value_text(next, &specs[i], after, sizeof(after));
		if (strcmp(before, after) == 0)
			continue;
		on_changed(specs[i].name, specs[i].change == RELOADED ? after : NULL, data);
		if (specs[i].change == FIXED && keep_value(next, current, &specs[i], before, err, err_len) != 0)
			return -1;
	}
	return finish_config(next, err, err_len);
}

void options_print_help(const char *name, FILE *out)
{
	const struct command_spec *command = find_command(name);
	char left[64];

	fprintf(out, "Usage: pgcell %s [OPTION]...%s%s\n\n%s\n\n", name, command->rest != NULL ? " " : "",
		command->rest != NULL ? command->rest : "", command->help);
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		const struct option_spec *spec = &specs[i];

		if ((spec->commands & command->bit) == 0)
			continue;
		snprintf(left, sizeof(left), "--%s%s%s", spec->name, spec->placeholder != NULL ? " " : "",
			 spec->placeholder != NULL ? spec->placeholder : "");
		fprintf(out, "  %-24s %s\n%27s(default %s%s%s)\n", left, spec->help, "",
			spec->fallback_help != NULL ? spec->fallback_help : spec->fallback, spec->env != NULL ? "; env " : "",
			spec->env != NULL ? spec->env : "");
	}
	if (command->bit == SERVE)
		fprintf(out, "  %-24s %s\n", "--print-config", "a configuration file with the defaults, for --config");
	fprintf(out, "  %-24s %s\n", "--help", "this text");
}

void options_print_sample(const char *name, FILE *out)
{
	const struct command_spec *command = find_command(name);
	char quoted[CONFIG_FILE_VALUE_MAX];

	fprintf(out,
		"# Configuration of pgcell %s, read with --config FILE or PGCELL_CONFIG=FILE.\n"
		"# Each line is OPTION = VALUE, with the value in single quotes unless it is plain.\n"
		"# Options on the command line and in the environment win. What is commented out is the default.\n",
		name);
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		const struct option_spec *spec = &specs[i];

		if ((spec->commands & command->bit) == 0 || spec->offset == FIELD(config_path))
			continue;
		if (config_file_quote(quoted, sizeof(quoted), spec->fallback != NULL ? spec->fallback : "") == 0)
			BUG("the default of %s is too long", spec->name);
		fprintf(out, "\n# %s", spec->help);
		if (spec->fallback == NULL)
			fprintf(out, "; empty: %s", spec->fallback_help);
		fprintf(out, "\n# %s\n#%s = %s\n",
			spec->change == RELOADED ? "(SIGHUP changes it)" : "(a change wants a restart)", spec->name, quoted);
	}
}

/* A paragraph of mdoc, which wants each sentence on a line of its own. */
static void print_roff(FILE *out, const char *text)
{
	bool is_line_start = true;

	for (const char *c = text; *c != '\0'; c++) {
		if (is_line_start && (*c == '.' || *c == '\''))
			fputs("\\&", out);
		is_line_start = *c == '\n' || (*c == ' ' && c != text && c[-1] == '.');
		if (is_line_start)
			fputc('\n', out);
		else if (*c == '\\')
			fputs("\\e", out);
		else if (*c == '-')
			fputs("\\-", out);
		else
			fputc(*c, out);
	}
	fputc('\n', out);
}

/* What comes after an empty line is a table. */
static void print_help_text(FILE *out, const char *help)
{
	const char *table = strstr(help, "\n\n");
	char first[512];

	snprintf(first, sizeof(first), "%.*s", (int)(table != NULL ? (size_t)(table - help) : strlen(help)), help);
	print_roff(out, first);
	if (table != NULL) {
		fputs(".Bd -literal\n", out);
		print_roff(out, table + 2);
		fputs(".Ed\n", out);
	}
}

void options_print_mdoc(const char *name, FILE *out)
{
	const struct command_spec *command = find_command(name);
	char line[600];

	print_help_text(out, command->help);
	fputs(".Bl -tag -width Ds\n", out);
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		const struct option_spec *spec = &specs[i];

		if ((spec->commands & command->bit) == 0)
			continue;
		fprintf(out, ".It Fl -%s", spec->name);
		if (spec->placeholder != NULL)
			fprintf(out, " Ar %s", spec->placeholder);
		fputc('\n', out);
		snprintf(line, sizeof(line), "%s.", spec->help);
		print_roff(out, line);
		if (spec->choices != NULL) {
			fputs("One of\n", out);
			for (int c = 0; spec->choices[c] != NULL; c++)
				fprintf(out, ".Cm %s%s\n", spec->choices[c], spec->choices[c + 1] != NULL ? " ," : " .");
		}
		if (spec->type == OPTION_NUMBER) {
			snprintf(line, sizeof(line), "From %lld to %lld.", (long long)spec->min, (long long)spec->max);
			print_roff(out, line);
		}
		snprintf(line, sizeof(line), "The default is %s.",
			 spec->fallback_help != NULL ? spec->fallback_help : spec->fallback);
		print_roff(out, line);
		if (spec->env != NULL)
			fprintf(out, "Environment:\n.Ev %s .\n", spec->env);
		if (spec->change == RELOADED)
			fputs("SIGHUP changes it.\n", out);
	}
	if (command->bit == SERVE)
		fputs(".It Fl -print-config\nPrints a configuration file with the defaults.\n", out);
	fputs(".It Fl -help\nPrints the options.\n.El\n", out);
}

void config_release(struct config *config)
{
	free(config->config_path);
	free(config->listen);
	free(config->listen_host);
	free(config->socket_dir);
	free(config->image_path);
	free(config->template);
	free(config->password_file);
	free(config->socket_path);
	free(config->user);
	free(config->database);
	free(config->cell_name);
	free(config->statements);
	free(config->metrics_listen);
	free(config->metrics_host);
	free(config->tls_cert);
	free(config->tls_key);
	memset(config, 0, sizeof(*config));
}

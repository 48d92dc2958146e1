#define _GNU_SOURCE
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define DEFAULT_PORT 5432
#define SESSIONS_PER_CELL_MAX 200 /* CELL_SLOTS_MAX */

/* Which commands take an option. */
enum { SERVE = 1 };

static const struct command_spec {
	const char *name;
	unsigned bit;
	const char *rest; /* NULL: nothing may follow the options */
	const char *help;
} command_specs[] = {
	{"serve", SERVE, NULL,
	 "Runs a PostgreSQL server. Database \"db@cell\" is database db in cell \"cell\", made on first use;\n"
	 "plain \"db\" is in cell \"default\"; \"db@new\" is a private cell that ends with its connection."},
};

#define COMMAND_COUNT (sizeof(command_specs) / sizeof(command_specs[0]))

enum option_type { OPTION_TEXT, OPTION_NUMBER, OPTION_CHOICE, OPTION_FLAG };

struct option_spec {
	unsigned commands;
	const char *name;
	const char *placeholder; /* NULL: takes no argument */
	const char *env;
	const char *fallback; /* NULL: worked out in set_defaults() */
	const char *fallback_help; /* shown by --help when fallback is NULL or says little */
	enum option_type type;
	size_t offset; /* in struct config: char *, int64_t, int64_t, bool */
	int64_t min, max; /* NUMBER */
	const char *const *choices; /* CHOICE: the index is the value */
	const char *help;
};

static const char *const isolate_choices[] = {
	[ISOLATE_CELL] = "cell", [ISOLATE_CONNECTION] = "connection", NULL};

#define FIELD(name) offsetof(struct config, name)

static const struct option_spec specs[] = {
	{SERVE, "listen", "HOST:PORT", "PGCELL_LISTEN", "127.0.0.1:5432", NULL, OPTION_TEXT, FIELD(listen), 0, 0, NULL,
	 "TCP address; port 0 takes any free port, \"none\" disables TCP"},
	{SERVE, "socket-dir", "DIR", "PGCELL_SOCKET_DIR", NULL, "$XDG_RUNTIME_DIR/pgcell or /tmp/pgcell-UID", OPTION_TEXT,
	 FIELD(socket_dir), 0, 0, NULL, "folder of the Unix socket, yours alone; \"none\" disables it"},
	{SERVE, "image", "FILE", "PGCELL_IMAGE", NULL, "pgcell.img beside the program", OPTION_TEXT, FIELD(image_path), 0, 0,
	 NULL, "image from which new cells start"},
	{SERVE, "isolate", "MODE", "PGCELL_ISOLATE", "cell", NULL, OPTION_CHOICE, FIELD(isolate), 0, 0, isolate_choices,
	 "\"connection\" gives every connection a cell of its own"},
	{SERVE, "session-wait", "MS", "PGCELL_SESSION_WAIT", "10000", NULL, OPTION_NUMBER, FIELD(session_wait_ms), 0, 86400000,
	 NULL, "how long a connection waits for a busy cell"},
	{SERVE, "startup-timeout", "MS", "PGCELL_STARTUP_TIMEOUT", "60000", NULL, OPTION_NUMBER, FIELD(startup_timeout_ms), 1,
	 86400000, NULL, "how long a client may take to say what it wants"},
	{SERVE, "max-cells", "N", "PGCELL_MAX_CELLS", "1000", NULL, OPTION_NUMBER, FIELD(max_cells), 1, 1000000, NULL,
	 "most cells at a time"},
	{SERVE, "max-sessions", "N", "PGCELL_MAX_SESSIONS", "2000", NULL, OPTION_NUMBER, FIELD(max_sessions), 1, 1000000, NULL,
	 "most sessions at a time"},
	{SERVE, "sessions-per-cell", "N", "PGCELL_SESSIONS_PER_CELL", "200", NULL, OPTION_NUMBER, FIELD(sessions_per_cell), 1,
	 SESSIONS_PER_CELL_MAX, NULL, "most sessions at a time in one cell; PostgreSQL's own max_connections (100) comes first"},
	{SERVE, "session-memory", "MIB", "PGCELL_SESSION_MEMORY", "1024", NULL, OPTION_NUMBER, FIELD(session_memory_mib), 16,
	 4096, NULL, "most memory one session may use"},
	{SERVE, "autovacuum-naptime", "S", "PGCELL_AUTOVACUUM_NAPTIME", "60", NULL, OPTION_NUMBER, FIELD(autovacuum_naptime_s), 0,
	 86400, NULL, "how long between autovacuums of a cell that is used; 0: none"},
	{SERVE, "tls-cert", "FILE", "PGCELL_TLS_CERT", NULL, "no TLS", OPTION_TEXT, FIELD(tls_cert), 0, 0, NULL,
	 "server's certificate and what leads to its issuer, PEM; SIGHUP reads it anew"},
	{SERVE, "tls-key", "FILE", "PGCELL_TLS_KEY", NULL, "no TLS", OPTION_TEXT, FIELD(tls_key), 0, 0, NULL,
	 "its private key, PEM without a passphrase; yours alone (mode 0600)"},
	{SERVE, "tls-only", NULL, "PGCELL_TLS_ONLY", "off", NULL, OPTION_FLAG, FIELD(is_tls_only), 0, 0, NULL,
	 "refuse TCP clients without TLS"},
	{SERVE, "verbose", NULL, "PGCELL_VERBOSE", "off", NULL, OPTION_FLAG, FIELD(is_verbose), 0, 0, NULL,
	 "log connections as well"},
};

#define SPEC_COUNT (sizeof(specs) / sizeof(specs[0]))
#define HELP_OPTION ((int)SPEC_COUNT)

static int fail(char *err, size_t err_len, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int fail(char *err, size_t err_len, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err, err_len, format, args);
	va_end(args);
	return -1;
}

static int set_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return -1;
	free(*field);
	*field = copy;
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

static int set_from_environment(struct config *config, char *err, size_t err_len)
{
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		const char *value = getenv(specs[i].env);

		if (value == NULL || value[0] == '\0')
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

/* Returns OPTIONS_RUN to go on. */
static enum options_result set_from_arguments(struct config *config, const struct command_spec *command, int argc, char **argv, char *err, size_t err_len)
{
	struct option longopts[SPEC_COUNT + 2];
	size_t count = 0;
	char source[64];
	int chosen;

	memset(longopts, 0, sizeof(longopts));
	for (size_t i = 0; i < SPEC_COUNT; i++) {
		if ((specs[i].commands & command->bit) == 0)
			continue;
		longopts[count].name = specs[i].name;
		longopts[count].has_arg = specs[i].placeholder != NULL ? required_argument : no_argument;
		longopts[count++].val = (int)i;
	}
	longopts[count].name = "help";
	longopts[count].val = HELP_OPTION;

	optind = 0; /* glibc: start anew */
	opterr = 0;
	while ((chosen = getopt_long(argc, argv, "+:", longopts, NULL)) != -1) {
		const struct option_spec *spec;

		if (chosen == HELP_OPTION)
			return OPTIONS_HELP;
		if (chosen == ':') {
			fail(err, err_len, "%.80s needs a value; see --help", argv[optind - 1]);
			return OPTIONS_ERROR;
		}
		if (chosen == '?') {
			fail(err, err_len, "option %.80s is not known; see --help", argv[optind - 1]);
			return OPTIONS_ERROR;
		}
		spec = &specs[chosen];
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

/* HOST:PORT or [HOST]:PORT into listen_host and port. */
static int split_listen(struct config *config, char *err, size_t err_len)
{
	const char *text = config->listen;
	const char *colon = strrchr(text, ':');
	const char *host = text;
	size_t host_len;
	char *end;
	long port;

	config->port = DEFAULT_PORT;
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
	config->port = port;
	config->listen_host = strndup(host, host_len);
	return config->listen_host != NULL ? 0 : fail(err, err_len, "out of memory");
bad:
	return fail(err, err_len, "--listen must be HOST:PORT, [IPV6]:PORT or none, not \"%.80s\"", text);
}

enum options_result options_parse(struct config *config, int argc, char **argv, char *err, size_t err_len)
{
	const struct command_spec *command = find_command(argv[0]);
	enum options_result result;

	memset(config, 0, sizeof(*config));
	config->command = command->name;
	config->rest = argv + argc;
	if (set_defaults(config, err, err_len) != 0 || set_from_environment(config, err, err_len) != 0)
		return OPTIONS_ERROR;
	result = set_from_arguments(config, command, argc, argv, err, err_len);
	if (result != OPTIONS_RUN)
		return result;
	if (split_listen(config, err, err_len) != 0)
		return OPTIONS_ERROR;
	if (strcmp(config->socket_dir, "none") == 0) {
		free(config->socket_dir);
		config->socket_dir = NULL;
	}
	if ((config->tls_cert == NULL) != (config->tls_key == NULL)) {
		fail(err, err_len, "--tls-cert and --tls-key belong together: --tls-%s is missing",
		     config->tls_cert == NULL ? "cert" : "key");
		return OPTIONS_ERROR;
	}
	if (config->is_tls_only && config->tls_cert == NULL) {
		fail(err, err_len, "--tls-only needs --tls-cert and --tls-key");
		return OPTIONS_ERROR;
	}
	if (config->listen_host == NULL && config->socket_dir == NULL) {
		fail(err, err_len, "--listen none and --socket-dir none leave nothing to connect to");
		return OPTIONS_ERROR;
	}
	return OPTIONS_RUN;
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
		fprintf(out, "  %-24s %s\n%27s(default %s; env %s)\n", left, spec->help, "",
			spec->fallback_help != NULL ? spec->fallback_help : spec->fallback, spec->env);
	}
	fprintf(out, "  %-24s %s\n", "--help", "this text");
}

void config_release(struct config *config)
{
	free(config->listen);
	free(config->listen_host);
	free(config->socket_dir);
	free(config->image_path);
	free(config->tls_cert);
	free(config->tls_key);
	memset(config, 0, sizeof(*config));
}

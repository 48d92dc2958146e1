#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../host/framing.h"
#include "../../host/options.h"

static char err[512];

#define PARSE(config, ...) parse(config, (char *[]){(char *)"serve", __VA_ARGS__ __VA_OPT__(, ) NULL})

static enum options_result parse(struct config *config, char **argv)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	err[0] = '\0';
	return options_parse(config, argc, argv, err, sizeof(err));
}

static int clear_environment(void **state)
{
	(void)state;
	return clearenv();
}

static void test_defaults(void **state)
{
	struct config config;
	char expected[64];
	const char *name;

	(void)state;
	assert_int_equal(PARSE(&config), OPTIONS_RUN);
	assert_string_equal(config.listen_host, "127.0.0.1");
	assert_int_equal(config.port, 5432);
	snprintf(expected, sizeof(expected), "/tmp/pgcell-%u", (unsigned)geteuid());
	assert_string_equal(config.socket_dir, expected);
	name = strrchr(config.image_path, '/');
	assert_string_equal(name, "/pgcell.img");
	assert_int_equal(config.isolate, ISOLATE_CELL);
	assert_int_equal(config.session_wait_ms, 10000);
	assert_int_equal(config.startup_timeout_ms, 60000);
	assert_int_equal(config.max_cells, 1000);
	assert_int_equal(config.max_sessions, 2000);
	assert_int_equal(config.sessions_per_cell, 200);
	assert_int_equal(config.session_memory_mib, 1024);
	assert_false(config.is_verbose);
	config_release(&config);

	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_int_equal(PARSE(&config), OPTIONS_RUN);
	assert_string_equal(config.socket_dir, "/run/user/7/pgcell");
	config_release(&config);
}

static void test_arguments_win_over_environment(void **state)
{
	struct config config;

	(void)state;
	setenv("PGCELL_MAX_CELLS", "7", 1);
	setenv("PGCELL_SESSION_WAIT", "8", 1);
	setenv("PGCELL_LISTEN", "", 1);
	setenv("PGCELL_VERBOSE", "on", 1);
	assert_int_equal(PARSE(&config, (char *)"--max-cells=9", (char *)"--socket-dir", (char *)"/x"), OPTIONS_RUN);
	assert_int_equal(config.max_cells, 9);
	assert_int_equal(config.session_wait_ms, 8);
	assert_string_equal(config.socket_dir, "/x");
	assert_int_equal(config.port, 5432);
	assert_true(config.is_verbose);
	config_release(&config);
}

static void test_listen_forms(void **state)
{
	static const struct {
		const char *text;
		const char *host; /* NULL: no TCP */
		int port; /* -1: refused */
	} cases[] = {
		{"127.0.0.1:0", "127.0.0.1", 0},	{"localhost:65535", "localhost", 65535},
		{"[::1]:5433", "::1", 5433},		{"none", NULL, 5432},
		{"127.0.0.1", NULL, -1},		{"127.0.0.1:", NULL, -1},
		{":5432", NULL, -1},			{"::1:5432", NULL, -1},
		{"127.0.0.1:65536", NULL, -1},		{"127.0.0.1:-1", NULL, -1},
		{"127.0.0.1:+1", NULL, -1},		{"127.0.0.1: 1", NULL, -1},
		{"127.0.0.1:1x", NULL, -1},		{"[]:1", NULL, -1},
		{"[::1:1", NULL, -1},			{"127.0.0.1:99999999999999999999", NULL, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config config;
		enum options_result result = PARSE(&config, (char *)"--listen", (char *)(uintptr_t)cases[i].text);

		if (result != (cases[i].port < 0 ? OPTIONS_ERROR : OPTIONS_RUN))
			fail_msg("%s: result %d", cases[i].text, (int)result);
		if (result == OPTIONS_ERROR) {
			assert_non_null(strstr(err, cases[i].text));
		} else {
			assert_int_equal(config.port, cases[i].port);
			if (cases[i].host == NULL)
				assert_null(config.listen_host);
			else
				assert_string_equal(config.listen_host, cases[i].host);
		}
		config_release(&config);
	}
}

static void test_bad_arguments_are_named(void **state)
{
	static const struct {
		const char *argument, *value; /* value may be NULL */
		const char *said;
	} cases[] = {
		{"--max-cells", "0", "--max-cells must be a number from 1 to"},
		{"--max-cells", "x", "not \"x\""},
		{"--max-cells", "1x", "not \"1x\""},
		{"--max-cells", "", "not \"\""},
		{"--session-wait", "-1", "--session-wait must be"},
		{"--session-wait", "99999999999999999999", "--session-wait must be"},
		{"--sessions-per-cell", "201", "from 1 to 200"},
		{"--isolate", "nothing", "\"nothing\" is not known"},
		{"--max-cells", NULL, "--max-cells needs a value"},
		{"--image", "", "--image needs a value"},
		{"--bogus", NULL, "--bogus is not known"},
		{"-x", NULL, "not known"},
		{"stray", NULL, "unexpected argument \"stray\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config config;
		char *argv[] = {(char *)"serve", (char *)(uintptr_t)cases[i].argument, (char *)(uintptr_t)cases[i].value,
				NULL};

		assert_int_equal(parse(&config, argv), OPTIONS_ERROR);
		if (strstr(err, cases[i].said) == NULL)
			fail_msg("%s: \"%s\"", cases[i].argument, err);
		config_release(&config);
	}
}

static void test_bad_environment_is_named(void **state)
{
	struct config config;

	(void)state;
	setenv("PGCELL_MAX_SESSIONS", "lots", 1);
	assert_int_equal(PARSE(&config), OPTIONS_ERROR);
	assert_non_null(strstr(err, "PGCELL_MAX_SESSIONS must be a number"));
	config_release(&config);
}

static void test_isolation_and_no_socket(void **state)
{
	struct config config;

	(void)state;
	assert_int_equal(PARSE(&config, (char *)"--isolate=connection", (char *)"--socket-dir=none"), OPTIONS_RUN);
	assert_int_equal(config.isolate, ISOLATE_CONNECTION);
	assert_null(config.socket_dir);
	config_release(&config);
	assert_int_equal(PARSE(&config, (char *)"--listen=none", (char *)"--socket-dir=none"), OPTIONS_ERROR);
	config_release(&config);
}

static void test_tls_needs_certificate_and_key(void **state)
{
	struct config config;

	(void)state;
	assert_int_equal(PARSE(&config, "--tls-cert", "c", "--tls-key", "k", "--tls-only"), OPTIONS_RUN);
	assert_string_equal(config.tls_cert, "c");
	assert_string_equal(config.tls_key, "k");
	assert_true(config.is_tls_only);
	config_release(&config);

	assert_int_equal(PARSE(&config), OPTIONS_RUN);
	assert_null(config.tls_cert);
	assert_false(config.is_tls_only);
	config_release(&config);

	assert_int_equal(PARSE(&config, "--tls-cert", "c"), OPTIONS_ERROR);
	assert_non_null(strstr(err, "--tls-key is missing"));
	config_release(&config);
	assert_int_equal(PARSE(&config, "--tls-key", "k"), OPTIONS_ERROR);
	assert_non_null(strstr(err, "--tls-cert is missing"));
	config_release(&config);
	assert_int_equal(PARSE(&config, "--tls-only"), OPTIONS_ERROR);
	assert_non_null(strstr(err, "--tls-only needs"));
	config_release(&config);
}

static void test_help_names_every_option(void **state)
{
	static const char *const names[] = {"--listen HOST:PORT", "--socket-dir DIR", "--image FILE", "--isolate MODE",
					    "--session-wait MS", "--startup-timeout MS", "--max-cells N",
					    "--max-sessions N", "--sessions-per-cell N", "--session-memory MIB",
					    "--verbose", "--help", "PGCELL_IMAGE"};
	struct config config;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	options_print_help("serve", out);
	fclose(out);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(strstr(text, names[i]));
	free(text);
	assert_int_equal(PARSE(&config, (char *)"--help"), OPTIONS_HELP);
	config_release(&config);
}

static void test_commands_know_their_own_options(void **state)
{
	static const struct {
		char *argv[6];
		enum options_result result;
	} cases[] = {
		{{(char *)"port", (char *)"--framing=raw", (char *)"--startup", (char *)"--user=me", NULL}, OPTIONS_RUN},
		{{(char *)"port", (char *)"--listen=none", NULL}, OPTIONS_ERROR},
		{{(char *)"port", (char *)"--framing=packet2", NULL}, OPTIONS_ERROR},
		{{(char *)"port", (char *)"-c", (char *)"select 1", NULL}, OPTIONS_ERROR},
		{{(char *)"port", (char *)"stray", NULL}, OPTIONS_ERROR},
		{{(char *)"serve", (char *)"--exit-with-stdin", NULL}, OPTIONS_RUN},
		{{(char *)"serve", (char *)"--startup", NULL}, OPTIONS_ERROR},
		{{(char *)"run", (char *)"--cell=x", (char *)"ls", (char *)"--color", NULL}, OPTIONS_RUN},
		{{(char *)"exec", (char *)"--cell=x", NULL}, OPTIONS_ERROR},
	};

	(void)state;
	setenv("PGCELL_LISTEN", "nonsense", 1); /* is serve's alone */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config config;
		char *argv[6];

		memcpy(argv, cases[i].argv, sizeof(argv));
		if (strcmp(argv[0], "serve") == 0)
			unsetenv("PGCELL_LISTEN");
		assert_int_equal(parse(&config, argv), cases[i].result);
		config_release(&config);
	}
}

static void test_commands_without_a_listener(void **state)
{
	struct config config;

	(void)state;
	assert_int_equal(parse(&config, (char *[]){(char *)"port", NULL}), OPTIONS_RUN);
	assert_null(config.listen_host);
	assert_null(config.socket_dir);
	assert_null(config.socket_path);
	assert_int_equal(config.framing, FRAMING_PACKET4);
	assert_string_equal(config.user, "postgres");
	assert_string_equal(config.database, "postgres");
	config_release(&config);
	assert_int_equal(parse(&config, (char *[]){(char *)"run", (char *)"--", (char *)"x", (char *)"--help", NULL}), OPTIONS_RUN);
	assert_string_equal(config.listen_host, "127.0.0.1");
	assert_int_equal(config.port, 0);
	assert_string_equal(config.rest[0], "x");
	assert_string_equal(config.rest[1], "--help");
	assert_null(config.rest[2]);
	config_release(&config);
}

static void test_statements_keep_their_order(void **state)
{
	struct config config;

	(void)state;
	assert_int_equal(parse(&config, (char *[]){(char *)"exec", (char *)"-c", (char *)"one", (char *)"file", (char *)"-ctwo",
						   (char *)"--format=json", (char *)"--command", (char *)"three", NULL}),
			 OPTIONS_RUN);
	assert_string_equal(config.statements[0], "one");
	assert_string_equal(config.statements[1], "two");
	assert_string_equal(config.statements[2], "three");
	assert_null(config.statements[3]);
	assert_int_equal(config.output_format, OUTPUT_JSON);
	assert_string_equal(config.rest[0], "file");
	assert_null(config.rest[1]);
	config_release(&config);
	assert_int_equal(parse(&config, (char *[]){(char *)"exec", (char *)"-c", NULL}), OPTIONS_ERROR);
	assert_non_null(strstr(err, "-c needs a value"));
	config_release(&config);
}

static char folder[] = "/tmp/pgcell-options-XXXXXX";
static char path[64];

/* Writes the file that `path` names. */
static void write_file(const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder + sizeof(folder) - 7, "XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/pgcell.conf", folder);
	return clearenv();
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

static void test_file_is_weaker_than_environment_and_arguments(void **state)
{
	struct config config;

	(void)state;
	write_file("max-cells = 5\nmax-sessions = 6 # six\nsession-wait = 7\nisolate = 'connection'\nverbose = on\nimage=''\n");
	setenv("PGCELL_MAX_SESSIONS", "16", 1);
	setenv("PGCELL_SESSION_WAIT", "17", 1);
	assert_int_equal(PARSE(&config, (char *)"--session-wait=27", (char *)"--config", path), OPTIONS_RUN);
	assert_int_equal(config.max_cells, 5);
	assert_int_equal(config.max_sessions, 16);
	assert_int_equal(config.session_wait_ms, 27);
	assert_int_equal(config.isolate, ISOLATE_CONNECTION);
	assert_true(config.is_verbose);
	assert_non_null(strstr(config.image_path, "pgcell.img"));
	config_release(&config);

	setenv("PGCELL_CONFIG", path, 1);
	assert_int_equal(PARSE(&config), OPTIONS_RUN);
	assert_int_equal(config.max_cells, 5);
	config_release(&config);
	assert_int_equal(PARSE(&config, (char *)"--config=none"), OPTIONS_RUN);
	assert_int_equal(config.max_cells, 1000);
	config_release(&config);
}

static void test_bad_files_are_named_with_their_line(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"max-cells = 5\n\nmax-cells = many\n", "conf:3: max-cells must be a number from 1 to 1000000, not \"many\""},
		{"max_cells = 5\n", "conf:1: max_cells is not an option"},
		{"config = x\n", "conf:1: config cannot be set in a file"},
		{"a b\n", "conf:1: expected NAME = VALUE"},
		{"verbose = 'm\\naybe'\n", "conf:1: verbose must be on or off, not \"m?aybe\""},
		{"isolate = both\n", "conf:1: isolate: \"both\" is not known"},
	};
	struct config config;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		write_file(cases[i].text);
		assert_int_equal(PARSE(&config, (char *)"--config", path), OPTIONS_ERROR);
		if (strstr(err, cases[i].expected) == NULL)
			fail_msg("%s: %s", cases[i].text, err);
		config_release(&config);
	}
	unlink(path);
	assert_int_equal(PARSE(&config, (char *)"--config", path), OPTIONS_ERROR);
	assert_non_null(strstr(err, "cannot open the configuration file"));
	config_release(&config);
}

static char changes[512];

static void note_change(const char *name, const char *value, void *data)
{
	(void)data;
	snprintf(changes + strlen(changes), sizeof(changes) - strlen(changes), "%s=%s ", name, value != NULL ? value : "FIXED");
}

static void test_reload_takes_what_may_change(void **state)
{
	struct config config, next;

	(void)state;
	write_file("max-cells = 5\n");
	assert_int_equal(PARSE(&config, (char *)"--config", path, (char *)"--session-wait=1", (char *)"--socket-dir=none"),
			 OPTIONS_RUN);
	changes[0] = '\0';
	assert_int_equal(options_reload(&next, &config, note_change, NULL, err, sizeof(err)), 0);
	assert_string_equal(changes, "");
	assert_null(next.socket_dir);
	config_release(&next);

	write_file("max-cells = 6\nsession-wait = 9\nlisten = 127.0.0.1:7\nmax-sessions = 3\nverbose = on\n");
	assert_int_equal(options_reload(&next, &config, note_change, NULL, err, sizeof(err)), 0);
	assert_string_equal(changes, "listen=FIXED max-cells=6 max-sessions=FIXED verbose=on ");
	assert_int_equal(next.max_cells, 6);
	assert_int_equal(next.session_wait_ms, 1);
	assert_int_equal(next.port, 5432);
	assert_string_equal(next.listen, config.listen);
	assert_int_equal(next.max_sessions, 2000);
	assert_true(next.is_verbose);
	config_release(&next);

	write_file("max-cells = six\n");
	assert_int_equal(options_reload(&next, &config, note_change, NULL, err, sizeof(err)), -1);
	assert_non_null(strstr(err, "conf:1: max-cells must be a number"));
	config_release(&next);
	config_release(&config);
}

static void count_change(const char *name, const char *value, void *data)
{
	(void)value;
	print_message("%s differs\n", name);
	(*(int *)data)++;
}

/* Every line of the sample, in force: the defaults. */
static void test_sample_says_the_defaults(void **state)
{
	struct config config, sampled;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	FILE *file = fopen(path, "w");
	int settings = 0, differences = 0;

	(void)state;
	assert_non_null(out);
	assert_non_null(file);
	options_print_sample("serve", out);
	fclose(out);
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		assert_int_equal(line[0], '#');
		if (line[1] == ' ')
			continue;
		fprintf(file, "%s\n", line + 1);
		settings++;
	}
	fclose(file);
	free(text);
	assert_true(settings > 10);
	assert_int_equal(PARSE(&sampled, (char *)"--config", path), OPTIONS_RUN);
	write_file("");
	assert_int_equal(PARSE(&config, (char *)"--config", path), OPTIONS_RUN);
	config_release(&config);
	assert_int_equal(options_reload(&config, &sampled, count_change, &differences, err, sizeof(err)), 0);
	assert_int_equal(differences, 0);
	config_release(&config);
	config_release(&sampled);
	assert_int_equal(PARSE(&config, (char *)"--print-config"), OPTIONS_SAMPLE);
	config_release(&config);
}

static void test_manual_names_every_option(void **state)
{
	static const char *const lines[] = {".It Fl -listen Ar HOST:PORT\n", ".Ev PGCELL_CONFIG .\n", ".It Fl -verbose\n",
					    ".Cm json .\n"};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	options_print_mdoc("serve", out);
	fclose(out);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_non_null(strstr(text, lines[i]));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_defaults, clear_environment),
		cmocka_unit_test_setup(test_arguments_win_over_environment, clear_environment),
		cmocka_unit_test_setup(test_listen_forms, clear_environment),
		cmocka_unit_test_setup(test_bad_arguments_are_named, clear_environment),
		cmocka_unit_test_setup(test_bad_environment_is_named, clear_environment),
		cmocka_unit_test_setup(test_isolation_and_no_socket, clear_environment),
		cmocka_unit_test_setup(test_tls_needs_certificate_and_key, clear_environment),
		cmocka_unit_test_setup(test_help_names_every_option, clear_environment),
		cmocka_unit_test_setup(test_commands_know_their_own_options, clear_environment),
		cmocka_unit_test_setup(test_commands_without_a_listener, clear_environment),
		cmocka_unit_test_setup(test_statements_keep_their_order, clear_environment),
		cmocka_unit_test_setup_teardown(test_file_is_weaker_than_environment_and_arguments, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_bad_files_are_named_with_their_line, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_reload_takes_what_may_change, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(test_sample_says_the_defaults, make_folder, remove_folder),
		cmocka_unit_test_setup(test_manual_names_every_option, clear_environment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

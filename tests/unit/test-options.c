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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../guest/port/layout.h"
#include "cell_cmd.h"
#include "exec.h"
#include "image_cmd.h"
#include "log.h"
#include "manual.h"
#include "options.h"
#include "port.h"
#include "run.h"
#include "serve.h"
#include "supervisor.h"
#include "version.h"

#define EXIT_USAGE 2

/* A command that runs cells. */
static int run_with_options(int (*run)(const struct config *), int argc, char **argv)
{
	struct config config;
	char err[512];
	int status = EXIT_USAGE;

	switch (options_parse(&config, argc, argv, err, sizeof(err))) {
	case OPTIONS_RUN:
		log_set_verbose(config.is_verbose);
		log_set_json(config.log_format == LOG_FORMAT_JSON);
		status = run(&config);
		break;
	case OPTIONS_HELP:
		options_print_help(argv[0], stdout);
		status = 0;
		break;
	case OPTIONS_SAMPLE:
		options_print_sample(argv[0], stdout);
		status = 0;
		break;
	case OPTIONS_ERROR:
		fprintf(stderr, "pgcell %s: %s\n", argv[0], err);
		break;
	}
	config_release(&config);
	return status;
}

static int cmd_serve(int argc, char **argv)
{
	return run_with_options(serve_main, argc, argv);
}

static int cmd_port(int argc, char **argv)
{
	return run_with_options(port_main, argc, argv);
}

static int cmd_run(int argc, char **argv)
{
	return run_with_options(run_main, argc, argv);
}

static int cmd_exec(int argc, char **argv)
{
	return run_with_options(exec_main, argc, argv);
}

static int cmd_cell(int argc, char **argv)
{
	return run_with_options(cell_cmd, argc, argv);
}

static int cmd_man(int argc, char **argv);

/* argv[0] of a command is its own name. */
static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"serve", cmd_serve, "run a PostgreSQL server"},
	{"port", cmd_port, "speak the protocol with a parent process, over standard input and output"},
	{"run", cmd_run, "run a command with a throw-away server"},
	{"exec", cmd_exec, "run SQL without a server"},
	{"cell", cmd_cell, "list, create, clone, drop, save and restore cells of a running server"},
	{"image", cmd_image, "make or check an image"},
	{"man", cmd_man, "print the manual page, for man -l -"},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int cmd_man(int argc, char **argv)
{
	if (argc > 1) {
		bool wants_help = argc == 2 && strcmp(argv[1], "--help") == 0;

		fprintf(wants_help ? stdout : stderr, "usage: pgcell man  the manual page, in mdoc: pgcell man | man -l -\n");
		return wants_help ? 0 : EXIT_USAGE;
	}
	manual_begin(stdout);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		manual_command(stdout, commands[i].name, commands[i].help);
	manual_end(stdout);
	return 0;
}

static void print_help(FILE *out)
{
	fprintf(out, "Usage: pgcell COMMAND [OPTION]...\n\nReal PostgreSQL in thousands of isolated cells.\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n  --help, --version\n\n`pgcell COMMAND --help` says more about a command.\n");
}

/* A file or socket of ours must not become standard input because somebody closed that. */
static void open_missing_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	open_missing_stdio();
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("pgcell %s (contract %d)\n", PGCELL_VERSION, PGCELL_CONTRACT_VERSION);
		return 0;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "pgcell: \"%.80s\" is not a command; see pgcell --help\n", argv[1]);
	return EXIT_USAGE;
}

/*
 * main.c - a complete host for the portable module, in C: runs the SQL of its arguments and prints the rows.
 *
 *	c-host 'create table t (a int)' 'insert into t values (1), (2)' 'select sum(a) from t'
 *
 * The module was translated to C by wasm2c, so a call of the guest is a call of a function. Of PostgreSQL's protocol
 * (https://www.postgresql.org/docs/current/protocol.html) a host need not know anything; this one speaks enough of it to be its own
 * client. The order of calls is docs/contract.md's; wasi.c has the other half of the imports.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "wasi.h"

#define CONTRACT_VERSION 1

/* The guest's functions are C functions: deep recursion in SQL is deep recursion here. */
#define STACK_BYTES (64ul << 20)

static w2c_cell cell;
static struct w2c_wasi__snapshot__preview1 wasi = {.log_fd = -1};
static char **arguments;
static int exit_status = 1;

/* ---- the transport: bytes for the guest, bytes from it ---- */

struct bytes {
	unsigned char *data;
	size_t len;
};

struct w2c_env {
	struct bytes input, output;
	size_t taken; /* of input */
};

static struct w2c_env env;

static void append(struct bytes *to, const void *data, size_t len)
{
	unsigned char *room = realloc(to->data, to->len + len + 1);

	if (!room)
		abort();
	memcpy(room + to->len, data, len);
	to->data = room;
	to->len += len;
}

/* Never believe a pointer of the guest's: the range has to be inside of its memory. */
static void *guest_range(u32 at, u32 len)
{
	if ((u64)at + len > cell.w2c_memory.size)
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return cell.w2c_memory.data + at;
}

u32 w2c_env_pglite_js_read(struct w2c_env *e, u32 ptr, u32 max_length)
{
	size_t left = e->input.len - e->taken;
	u32 n = left < max_length ? (u32)left : max_length;

	if (n > 0)
		memcpy(guest_range(ptr, n), e->input.data + e->taken, n);
	e->taken += n;
	return n; /* 0: nothing is left, and the guest returns to us */
}

u32 w2c_env_pglite_js_write(struct w2c_env *e, u32 ptr, u32 length)
{
	append(&e->output, guest_range(ptr, length), length);
	return length;
}

/* ---- a client ---- */

static uint32_t get_u32(const unsigned char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return ntohl(value);
}

/* Queues a message; type 0 is a start-up packet, which has none. */
static void send_message(char type, const void *body, size_t len)
{
	uint32_t length = htonl((uint32_t)len + 4);

	if (type)
		append(&env.input, &type, 1);
	append(&env.input, &length, sizeof length);
	append(&env.input, body, len);
}

static void print_row(const unsigned char *at, const unsigned char *end)
{
	unsigned columns = (unsigned)at[0] << 8 | at[1];

	at += 2;
	for (unsigned i = 0; i < columns && end - at >= 4; i++) {
		uint32_t len = get_u32(at);

		at += 4;
		if (i > 0)
			putchar('\t');
		if (len == UINT32_MAX) { /* NULL */
			fputs("\\N", stdout);
			continue;
		}
		fwrite(at, 1, len, stdout);
		at += len;
	}
	putchar('\n');
}

/* The fields of an error are a letter and a string each; S is the severity, C the SQLSTATE, M the message. */
static void print_error(const unsigned char *at, const unsigned char *end)
{
	while (at < end && *at) {
		if (*at == 'S' || *at == 'C' || *at == 'M')
			fprintf(stderr, "%s%s", *at == 'S' ? "" : *at == 'C' ? " " : ": ", (const char *)at + 1);
		at += 1 + strlen((const char *)at + 1) + 1;
	}
	fputc('\n', stderr);
}

/* Prints what the guest has answered. Whole messages: it never leaves one unfinished. false after an error. */
static bool print_answers(void)
{
	const unsigned char *at = env.output.data, *end = at + env.output.len;
	bool ok = true;

	while (end - at >= 5) {
		const unsigned char *body = at + 5, *next = at + 1 + get_u32(at + 1);

		if (*at == 'D')
			print_row(body, next);
		else if (*at == 'E') {
			print_error(body, next);
			ok = false;
		}
		at = next;
	}
	env.output.len = 0;
	return ok;
}

/* ---- the order of calls ---- */

static bool run(void)
{
	static const char startup[] = "\0\3\0\0user\0postgres\0database\0postgres\0";
	bool ok;

	wasm_rt_init();
	wasm2c_cell_instantiate(&cell, &env, &wasi); /* PostgreSQL is started: the module's data is its memory */
	wasi.memory = &cell.w2c_memory;
	if (w2c_cell_pgcell_contract_version(&cell) != CONTRACT_VERSION || w2c_cell_pgl_initdb(&cell) != 1) {
		fputs("c-host: the module is of another version than this host\n", stderr);
		return false;
	}
	send_message(0, startup, sizeof startup);
	ok = (int32_t)w2c_cell_pgl_backend(&cell) == 0 && print_answers();
	for (; ok && *arguments; arguments++) {
		send_message('Q', *arguments, strlen(*arguments) + 1);
		/* 0: everything was run, and the session waits for more */
		if ((int32_t)w2c_cell_interactive_one(&cell, (u32)(env.input.len - env.taken), 'Q') != 0)
			ok = false;
		if (!print_answers())
			ok = false;
	}
	if ((int32_t)w2c_cell_pgl_shutdown(&cell) != 0)
		ok = false;
	wasm2c_cell_free(&cell);
	free(env.input.data);
	free(env.output.data);
	return ok;
}

static void *on_big_stack(void *unused)
{
	(void)unused;
	exit_status = run() ? 0 : 1;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (argc < 2 || strcmp(argv[1], "--help") == 0) {
		fputs("usage: c-host SQL...   runs each in a fresh PostgreSQL and prints the rows\n", argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	arguments = argv + 1;
	pthread_attr_init(&attr);
	if (pthread_attr_setstacksize(&attr, STACK_BYTES) != 0 || pthread_create(&thread, &attr, on_big_stack, NULL) != 0)
		return 1;
	pthread_join(thread, NULL);
	return exit_status;
}

/*
 * What libpq.c checks with: connections, checks that are counted, and errors that must come.
 *
 * EXPECT() and the functions below it note the first thing that is wrong in the running check; check() says it.
 */
#ifndef CHECKS_H
#define CHECKS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpq-fe.h"

#define PARAMETERS(...) (const char *const[]){__VA_ARGS__}

static int passed, failed;
static bool is_good; /* the running check so far */
static char why[1000];
static PGconn *a, *b;
static const char *cell;

/* ---- checks ---- */

static bool expect(bool good, const char *what, ...)
{
	if (!good && is_good) {
		va_list args;

		va_start(args, what);
		vsnprintf(why, sizeof(why), what, args);
		va_end(args);
		is_good = false;
	}
	return good;
}
#define EXPECT(condition) expect(condition, "line %d: %s: %s", __LINE__, #condition, PQerrorMessage(a))

static void check(const char *name, void (*body)(void))
{
	is_good = true;
	body();
	if (is_good) {
		passed++;
	} else {
		failed++;
		PQclear(PQexec(a, "rollback")); /* nothing is left to the next check */
		PQclear(PQexec(b, "rollback"));
	}
	for (char *p = why; !is_good && *p; p++)
		if (*p == '\n')
			*p = '|';
	printf(is_good ? "ok %s\n" : "FAILED %s: %s\n", name, why);
	fflush(stdout);
}

static void equal(const char *got, const char *expected)
{
	expect(got && strcmp(got, expected) == 0, "%.200s instead of %.200s", got ? got : "nothing", expected);
}

/* Checks the outcome, frees the result. A NULL sqlstate means success. */
static void outcome(PGresult *res, const char *sqlstate)
{
	const char *got = PQresultErrorField(res, PG_DIAG_SQLSTATE);

	expect(sqlstate ? got && strcmp(got, sqlstate) == 0 : !got && res, "SQLSTATE %s instead of %s: %s", got ? got : "none",
		   sqlstate ? sqlstate : "none", PQresultErrorMessage(res));
	PQclear(res);
}

static void run(PGconn *conn, const char *sql, const char *sqlstate)
{
	outcome(PQexec(conn, sql), sqlstate);
}

/* The first value, in a buffer that the next call uses again. */
static const char *value(PGconn *conn, const char *sql)
{
	static char buffer[4000];
	PGresult *res = PQexec(conn, sql);

	if (expect(PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) > 0, "%s: %s", sql, PQresultErrorMessage(res)))
		snprintf(buffer, sizeof(buffer), "%s", PQgetvalue(res, 0, 0));
	else
		buffer[0] = 0;
	PQclear(res);
	return buffer;
}

static PGconn *connect_with(const char *keyword, const char *text)
{
	static char options[60];

	snprintf(options, sizeof(options), "-c statement_timeout=%s", getenv("CLIENTS_STATEMENT_MS"));
	return PQconnectdbParams((const char *[]){"options", "connect_timeout", keyword, NULL}, (const char *[]){options, "20", text, NULL}, 0);
}

static PGconn *connect_unix(void)
{
	return PQconnectdbParams((const char *[]){"host", "port", NULL},
							 (const char *[]){getenv("CLIENTS_SOCKET_DIR"), getenv("CLIENTS_SOCKET_PORT"), NULL}, 0);
}

#endif

/*
 * libpq of the same release: both formats, pipelines, chunked rows, binary COPY, both protocol versions, cancelling, and a pool of
 * connections that one thread polls.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checks.h"

#define POOL 20
#define ROUNDS 20
#define BUSY "select count(*) from (select generate_series(1, 2000000000)) s"

/* ---- connect ---- */

static void answers(PGconn *conn)
{
	if (expect(PQstatus(conn) == CONNECTION_OK, "%s", PQerrorMessage(conn)))
		equal(value(conn, "select 6 * 7"), "42");
	EXPECT(PQserverVersion(conn) >= 180000);
	PQfinish(conn);
}

static void tcp(void) { answers(connect_with(NULL, NULL)); }
static void unix_socket(void) { answers(connect_unix()); }

static void newest_protocol(void)
{
	PGconn *conn = connect_with("max_protocol_version", "latest");

	EXPECT(PQfullProtocolVersion(conn) == 30002);
	answers(conn);
}

static void refused(const char *keyword, const char *text, const char *message)
{
	PGconn *conn = connect_with(keyword, text);

	EXPECT(PQstatus(conn) == CONNECTION_BAD);
	expect(strstr(PQerrorMessage(conn), message) != NULL, "%s", PQerrorMessage(conn));
	PQfinish(conn);
}

static const char *database(const char *name, const char *suffix)
{
	static char buffer[100];

	snprintf(buffer, sizeof(buffer), "%s@%s%s", name, cell, suffix);
	return buffer;
}

static void no_database(void) { refused("dbname", database("nosuch", ""), "FATAL:  database \"nosuch"); }
static void no_role(void) { refused("user", "nobody here", "FATAL:  role \"nobody here\" does not exist"); }

static void another_cell(void)
{
	PGconn *other = connect_with("dbname", database("postgres", "-2"));

	run(a, "create table here (i int)", NULL);
	run(other, "select * from here", "42P01");
	run(b, "select * from here", NULL);
	PQfinish(other);
}

/* ---- types ---- */

/* As text and back in binary, and from binary to text. */
static void there_and_back(void)
{
	static const struct { Oid type; const char *text; } values[] = {
		{20, "-9223372036854775808"}, {701, "0.1"}, {701, "-Infinity"}, {1700, "12345678901234567890.1234567890"}, {16, "f"},
		{25, "Žluťoučký κόσμε 日本語 🐘"}, {25, ""}, {17, "\\x00ff5c27"}, {114, "{\"a\": [1, null]}"}, {3802, "{\"ü\": {\"b\": 1.50}}"},
		{1007, "{1,NULL,-3}"}, {1009, "{\"a,b\",\"\\\"\",NULL,\"NULL\",\"\",ü}"}, {1184, "2024-02-29 23:59:59.123456+00"}, {1082, "0001-01-01 BC"},
		{1186, "-3 days +00:00:05.000007"}, {2950, "6f1ed002-ab5d-4a3c-9d0e-0123456789ab"}, {869, "fe80::1/64"}, {3904, "[1,10)"}};

	run(a, "set timezone = 'UTC'", NULL);
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		PGresult *binary = PQexecParams(a, "select $1", 1, &values[i].type, &values[i].text, NULL, NULL, 1);
		int len = PQgetlength(binary, 0, 0), format = 1;
		PGresult *text = PQexecParams(a, "select $1", 1, &values[i].type, PARAMETERS(PQgetvalue(binary, 0, 0)), &len, &format, 0);

		EXPECT(PQfformat(binary, 0) == 1 && PQftype(binary, 0) == values[i].type);
		equal(PQgetvalue(text, 0, 0), values[i].text);
		PQclear(binary);
		PQclear(text);
	}
}

static void binary_int(void)
{
	uint32_t sent = htonl(-5), got;
	int len = 4, format = 1;
	PGresult *res = PQexecParams(a, "select $1 * 2, null", 1, (Oid[]){23}, PARAMETERS((char *) &sent), &len, &format, 1);

	EXPECT(PQntuples(res) == 1 && PQgetlength(res, 0, 0) == 4 && PQgetisnull(res, 0, 1));
	memcpy(&got, PQgetvalue(res, 0, 0), 4);
	EXPECT((int32_t) ntohl(got) == -10);
	PQclear(res);
}

static void megabytes(void)
{
	int len = 5000000, format = 1;
	char *bytes = malloc(len);
	PGresult *res;

	for (int i = 0; i < len; i++)
		bytes[i] = (char) (i * 7 + i / 251);
	res = PQexecParams(a, "select $1", 1, (Oid[]){17}, PARAMETERS(bytes), &len, &format, 1);
	EXPECT(PQntuples(res) == 1 && PQgetlength(res, 0, 0) == len && memcmp(PQgetvalue(res, 0, 0), bytes, len) == 0);
	PQclear(res);
	free(bytes);
}

/* ---- prepared ---- */

static void many_times(void)
{
	char number[20], twice[20];

	outcome(PQprepare(a, "twice", "select $1::int * 2", 0, NULL), NULL);
	for (int i = 0; i < 300; i++) {
		PGresult *res;

		snprintf(number, sizeof(number), "%d", i);
		snprintf(twice, sizeof(twice), "%d", 2 * i);
		res = PQexecPrepared(a, "twice", 1, PARAMETERS(number), NULL, NULL, 0);
		equal(PQgetvalue(res, 0, 0), twice);
		PQclear(res);
	}
	equal(value(a, "select generic_plans + custom_plans from pg_prepared_statements where name = 'twice'"), "300");
	outcome(PQclosePrepared(a, "twice"), NULL);
	outcome(PQexecPrepared(a, "twice", 1, PARAMETERS("1"), NULL, NULL, 0), "26000");
}

/* 100 statements are under way; the one that fails takes with it what comes before the next Sync, and nothing else. */
static void pipelined(void)
{
	EXPECT(PQenterPipelineMode(a));
	for (int i = 0; i < 100; i++) {
		EXPECT(PQsendQueryParams(a, "select 100 / $1::int", 1, NULL, PARAMETERS(i == 44 ? "0" : "5"), NULL, NULL, 0));
		EXPECT(i % 10 < 9 || PQpipelineSync(a));
	}
	for (int i = 0; i < 100; i++) {
		PGresult *res = PQgetResult(a);
		ExecStatusType status = PQresultStatus(res);

		EXPECT(status == (i == 44 ? PGRES_FATAL_ERROR : i > 44 && i < 50 ? PGRES_PIPELINE_ABORTED : PGRES_TUPLES_OK));
		PQclear(res);
		EXPECT(PQgetResult(a) == NULL);
		if (i % 10 == 9) {
			res = PQgetResult(a);
			EXPECT(PQresultStatus(res) == PGRES_PIPELINE_SYNC);
			PQclear(res);
		}
	}
	EXPECT(PQexitPipelineMode(a));
}

static void in_chunks(void)
{
	int rows = 0, chunks = 0;

	EXPECT(PQsendQuery(a, "select i, repeat('x', 100) from generate_series(1, 25000) i") && PQsetChunkedRowsMode(a, 1000));
	for (PGresult *res; (res = PQgetResult(a)); PQclear(res)) {
		rows += PQntuples(res);
		chunks += PQresultStatus(res) == PGRES_TUPLES_CHUNK;
	}
	EXPECT(rows == 25000 && chunks == 25);
}

/* ---- copy ---- */

static void copy_binary(void)
{
	char *data;
	int len, out = 0;

	run(a, "create table source as select i, 'ůň ' || i as v from generate_series(1, 20000) i", NULL);
	run(a, "create table copied (i int primary key, v text)", NULL);
	run(a, "copy source to stdout (format binary)", NULL);
	run(b, "copy copied from stdin (format binary)", NULL);
	while ((len = PQgetCopyData(a, &data, 0)) > 0) {
		EXPECT(PQputCopyData(b, data, len) == 1);
		PQfreemem(data);
		out++;
	}
	EXPECT(len == -1 && out >= 20000 && PQputCopyEnd(b, NULL) == 1);
	outcome(PQgetResult(a), NULL);
	outcome(PQgetResult(b), NULL);
	EXPECT(PQgetResult(a) == NULL && PQgetResult(b) == NULL);
	equal(value(b, "select count(*) from source natural join copied"), "20000");
}

static void copy_fails(const char *lines, const char *give_up, const char *sqlstate)
{
	run(a, "copy copied from stdin", NULL);
	EXPECT(PQputCopyData(a, lines, strlen(lines)) == 1 && PQputCopyEnd(a, give_up) == 1);
	outcome(PQgetResult(a), sqlstate);
	EXPECT(PQgetResult(a) == NULL);
	equal(value(a, "select count(*) from copied"), "20000");
}

static void bad_row(void) { copy_fails("50000\tgood\nbad\tline\n", NULL, "22P02"); }
static void gives_up(void) { copy_fails("50000\tgood\n", "enough", "57014"); }

/* ---- errors ---- */

static void fields(void)
{
	static const struct { int field; const char *text; } wanted[] = {
		{PG_DIAG_SEVERITY_NONLOCALIZED, "ERROR"}, {PG_DIAG_SQLSTATE, "23505"}, {PG_DIAG_CONSTRAINT_NAME, "strict_pkey"},
		{PG_DIAG_TABLE_NAME, "strict"}, {PG_DIAG_SCHEMA_NAME, "public"}, {PG_DIAG_MESSAGE_DETAIL, "Key (i)=(1) already exists."},
		{PG_DIAG_MESSAGE_PRIMARY, "duplicate key value violates unique constraint \"strict_pkey\""}};
	PGresult *res;

	run(a, "create table strict (i int primary key); insert into strict values (1)", NULL);
	res = PQexec(a, "insert into strict values (1)");
	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		equal(PQresultErrorField(res, wanted[i].field), wanted[i].text);
	PQclear(res);
	res = PQexec(a, "select nothing");
	equal(PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION), "8");
	outcome(res, "42703");
	run(a, "select 1 / 0", "22012");
	equal(value(a, "select 1"), "1");
}

static void ended_by_another(void)
{
	PGconn *victim = connect_with(NULL, NULL);
	char sql[80];

	EXPECT(PQsendQuery(victim, "select pg_sleep(20)"));
	usleep(200000);
	snprintf(sql, sizeof(sql), "select pg_terminate_backend(%d)", PQbackendPID(victim));
	equal(value(a, sql), "t");
	outcome(PQgetResult(victim), "57P01");
	PQclear(PQgetResult(victim));
	EXPECT(PQstatus(victim) == CONNECTION_BAD);
	PQfinish(victim);
}

/* ---- transactions ---- */

static void reset(void)
{
	run(a, "truncate account; insert into account select i, 100 from generate_series(1, 20) i", NULL);
}
#define AMOUNTS "select array_agg(amount order by id) from account where id <= 2"

static void savepoints(void)
{
	reset();
	run(a, "begin; update account set amount = 101 where id = 1; savepoint s", NULL);
	equal(value(b, AMOUNTS), "{100,100}");
	run(a, "select 1 / 0", "22012");
	run(a, "select 1", "25P02");
	EXPECT(PQtransactionStatus(a) == PQTRANS_INERROR);
	run(a, "rollback to s; update account set amount = 102 where id = 2; commit", NULL);
	run(a, "begin; update account set amount = 0; rollback", NULL);
	equal(value(b, AMOUNTS), "{101,102}");
}

static void serializable(void)
{
	reset();
	run(a, "begin isolation level serializable; select sum(amount) from account", NULL);
	run(b, "begin isolation level serializable; select sum(amount) from account", NULL);
	run(a, "update account set amount = 0 where id = 1", NULL);
	run(b, "update account set amount = 0 where id = 2", NULL);
	run(a, "commit", NULL);
	run(b, "commit", "40001");
	equal(value(b, AMOUNTS), "{0,100}");
}

static void deadlock(void)
{
	PGresult *first, *second;

	reset();
	run(a, "begin; set local deadlock_timeout = '10s'; update account set amount = 1 where id = 1", NULL);
	run(b, "begin; set local deadlock_timeout = '200ms'; update account set amount = 2 where id = 2", NULL);
	EXPECT(PQsendQuery(a, "update account set amount = 1 where id = 2"));
	usleep(100000);
	EXPECT(PQsendQuery(b, "update account set amount = 2 where id = 1"));
	second = PQgetResult(b);
	first = PQgetResult(a);
	EXPECT(PQgetResult(a) == NULL && PQgetResult(b) == NULL);
	outcome(second, "40P01"); /* it looks first */
	outcome(first, NULL);
	run(a, "commit", NULL);
	run(b, "rollback", NULL);
	equal(value(b, AMOUNTS), "{1,1}");
}

/* ---- notifications ---- */

static bool readable(PGconn *conn, int timeout_ms)
{
	struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};

	return poll(&p, 1, timeout_ms) == 1 && PQconsumeInput(conn);
}

static void notification(void)
{
	PGnotify   *n;

	run(b, "listen news", NULL);
	usleep(500000);
	run(a, "begin; notify news, 'never'; rollback", NULL);
	run(a, "select pg_notify('news', 'žádné'), pg_notify('other', 'x')", NULL);
	EXPECT(readable(b, 5000));
	n = PQnotifies(b);
	if (EXPECT(n != NULL)) {
		equal(n->relname, "news");
		equal(n->extra, "žádné");
		EXPECT(n->be_pid == PQbackendPID(a));
	}
	PQfreemem(n);
	run(b, "unlisten news", NULL);
	run(a, "notify news", NULL);
	EXPECT(!readable(b, 300) && PQnotifies(b) == NULL);
}

/* ---- cancel ---- */

static void cancelled(PGconn *conn, const char *sql)
{
	PGcancelConn *cancel = PQcancelCreate(conn);
	PGresult *res;

	EXPECT(PQsendQuery(conn, sql));
	usleep(200000);
	expect(PQcancelBlocking(cancel), "%s", PQcancelErrorMessage(cancel));
	PQcancelFinish(cancel);
	res = PQgetResult(conn);
	equal(PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY), "canceling statement due to user request");
	outcome(res, "57014");
	EXPECT(PQgetResult(conn) == NULL);
	answers(conn);
}

static void cancel_sleep(void) { cancelled(connect_with(NULL, NULL), "select pg_sleep(20)"); }
static void cancel_busy(void) { cancelled(connect_with(NULL, NULL), BUSY); }
static void cancel_unix(void) { cancelled(connect_unix(), BUSY); }
static void cancel_newest(void) { cancelled(connect_with("max_protocol_version", "3.2"), BUSY); }

static void statement_timeout(void)
{
	PGconn *conn = connect_with(NULL, NULL);

	run(conn, "set statement_timeout = '300ms'", NULL);
	run(conn, "select pg_sleep(20)", "57014");
	run(conn, BUSY, "57014");
	answers(conn);
}

/* ---- pool ---- */

/* Each connection has a transaction under way all the time; whichever answers gets its next one. */
static void pool(void)
{
	PGconn *conns[POOL];
	struct pollfd polled[POOL];
	int left[POOL], working = POOL;
	char sql[300];

	reset();
	for (int i = 0; i < POOL; i++) {
		conns[i] = connect_with(NULL, NULL);
		if (!expect(PQstatus(conns[i]) == CONNECTION_OK, "%s", PQerrorMessage(conns[i])))
			working = 0;
		polled[i] = (struct pollfd){.fd = PQsocket(conns[i]), .events = POLLIN};
		left[i] = ROUNDS + 1; /* the first answer is that to nothing */
		EXPECT(PQsendQuery(conns[i], ""));
	}
	while (working > 0 && EXPECT(poll(polled, POOL, 20000) > 0))
		for (int i = 0; i < POOL; i++) {
			if (left[i] == 0 || !polled[i].revents || !EXPECT(PQconsumeInput(conns[i])))
				continue;
			while (left[i] > 0 && !PQisBusy(conns[i])) {
				PGresult *res = PQgetResult(conns[i]);
				int from = i + 1, to = (i + left[i]) % POOL + 1;

				if (res) {
					outcome(res, NULL);
					continue;
				}
				if (--left[i] == 0) {
					working--;
					polled[i].fd = -1;
					break;
				}
				snprintf(sql, sizeof(sql), "begin; select 1 from account where id in (%d, %d) order by id for update;"
						 "update account set amount = amount - %d where id = %d; update account set amount = amount + %d where id = %d; %s",
						 from, to, i, from, i, to, left[i] % 5 ? "commit" : "rollback");
				EXPECT(PQsendQuery(conns[i], sql));
			}
		}
	EXPECT(working == 0);
	for (int i = 0; i < POOL; i++)
		PQfinish(conns[i]);
	equal(value(a, "select sum(amount) from account"), "2000");
	equal(value(a, "select sum(abs(amount - 100)) > 0 from account"), "t");
}

int main(void)
{
	static const struct { const char *name; void (*body)(void); } checks[] = {
		{"connect: TCP", tcp}, {"connect: Unix socket", unix_socket}, {"connect: protocol 3.2", newest_protocol},
		{"connect: no such database", no_database}, {"connect: no such role", no_role},
		{"connect: another cell is another PostgreSQL", another_cell}, {"types: to binary and back", there_and_back},
		{"types: a binary integer, NULL", binary_int}, {"types: megabytes of binary bytea", megabytes},
		{"prepared: a named statement, 300 times", many_times}, {"prepared: a pipeline with an error in it", pipelined},
		{"prepared: rows in chunks", in_chunks}, {"copy: binary, from one connection to another", copy_binary},
		{"copy: a bad row undoes it", bad_row}, {"copy: the client gives up", gives_up}, {"errors: fields", fields},
		{"errors: a session that another one ends", ended_by_another}, {"transactions: commit, rollback, savepoint", savepoints},
		{"transactions: serializable ones that conflict", serializable}, {"transactions: a deadlock", deadlock},
		{"notifications: to an idle connection", notification}, {"cancel: a query that sleeps", cancel_sleep},
		{"cancel: a query that computes", cancel_busy}, {"cancel: over the Unix socket", cancel_unix},
		{"cancel: with protocol 3.2's long key", cancel_newest}, {"cancel: statement_timeout", statement_timeout},
		{"pool: 20 connections move money and lose none", pool}};

	cell = strchr(getenv("PGDATABASE"), '@') + 1;
	a = connect_with("application_name", "a");
	b = connect_with("application_name", "b");
	run(a, "create table account (id int primary key, amount int not null)", NULL);
	for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++)
		check(checks[i].name, checks[i].body);
	PQfinish(a);
	PQfinish(b);
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}

#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "log.h"
#include "pgclient.h"
#include "rows.h"
#include "sqlerror.h"
#include "supervisor.h"

#define EXIT_USAGE 2
#define BUFFER_MIN 65536
#define SQL_MAX (PGCLIENT_BODY_MAX - 1) /* bytes of one query, without its terminator */
#define TURN_BYTES (1u << 20) /* then the rest of the loop gets its turn */

struct exec {
	struct supervisor *sv;
	const struct config *config;
	struct channel session;
	struct rows *rows;
	int status;
	bool is_ending; /* Terminate was sent */
	bool has_failed; /* a query did: nothing more is sent */

	char *file_sql; /* NULL: there is no file */
	size_t next; /* of the -c, and after these the file */
	const char *sql; /* that runs now */

	/* out[out_used..out_len) goes to the session */
	uint8_t *out;
	size_t out_used, out_len;

	/* in[in_used..in_len) was read */
	uint8_t *in;
	size_t in_used, in_len, in_cap;

	bool in_rows; /* between RowDescription and CommandComplete */
	bool in_copy; /* COPY TO STDOUT's data was seen */
};

static void on_session_event(struct channel *channel, int events);

/* ---- the end ---- */

/* status 0: whatever it has come to. */
static void stop(struct exec *exec, int status)
{
	if (status != 0)
		exec->status = status;
	rows_flush(exec->rows);
	channel_close(&exec->session, NULL);
	supervisor_stop(exec->sv, exec->status);
}

static void fail(struct exec *exec, const char *what, const char *why)
{
	rows_flush(exec->rows);
	fprintf(stderr, "pgcell exec: %s: %s\n", what, why);
	stop(exec, 1);
}

/* ---- to the session ---- */

static void flush(struct exec *exec)
{
	while (exec->out_used < exec->out_len) {
		ssize_t written =
			channel_write(&exec->session, exec->out + exec->out_used, exec->out_len - exec->out_used);

		if (written == -EAGAIN)
			break;
		if (written < 0) { /* it has ended; why is to be read */
			exec->out_used = exec->out_len;
			break;
		}
		exec->out_used += (size_t)written;
	}
	channel_watch(&exec->session, exec->out_used < exec->out_len ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

/* Behind what is not sent yet. `len` bytes of body, then a NUL if is_text. False: out of memory, and the end. */
static bool send_message(struct exec *exec, char type, const void *body, size_t len, bool is_text)
{
	size_t left = exec->out_len - exec->out_used;
	uint8_t *out = malloc(left + PGCLIENT_HEAD_LEN + len + is_text);

	if (out == NULL) {
		fail(exec, "query", strerror(ENOMEM));
		return false;
	}
	if (left > 0)
		memcpy(out, exec->out + exec->out_used, left);
	pgclient_put_head(out + left, type, (uint32_t)(len + is_text));
	if (len > 0)
		memcpy(out + left + PGCLIENT_HEAD_LEN, body, len);
	if (is_text)
		out[left + PGCLIENT_HEAD_LEN + len] = '\0';
	free(exec->out);
	exec->out = out;
	exec->out_used = 0;
	exec->out_len = left + PGCLIENT_HEAD_LEN + len + is_text;
	flush(exec);
	return true;
}

/* NULL: there is none. */
static const char *next_sql(struct exec *exec)
{
	char **statements = exec->config->statements;

	if (statements != NULL && statements[exec->next] != NULL)
		return statements[exec->next++];
	if (exec->sql == exec->file_sql)
		return NULL;
	return exec->file_sql;
}

static bool run_next(struct exec *exec)
{
	const char *sql = exec->has_failed ? NULL : next_sql(exec);

	exec->in_rows = exec->in_copy = false;
	if (sql == NULL) {
		exec->is_ending = true;
		exec->sql = NULL;
		return send_message(exec, 'X', NULL, 0, false);
	}
	exec->sql = sql;
	return send_message(exec, 'Q', sql, strlen(sql), true);
}

/* ---- from the session ---- */

static bool is_write(const char *tag)
{
	static const char *const commands[] = {"INSERT ", "UPDATE ", "DELETE ", "MERGE "};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strncmp(tag, commands[i], strlen(commands[i])) == 0)
			return true;
	}
	return false;
}

/* As psql: rows need no tag, unless something was written as well. */
static bool on_complete(struct exec *exec, const struct pgclient_message *message)
{
	struct pgclient_cursor cursor = pgclient_cursor(message);
	const char *tag = pgclient_string(&cursor);
	bool is_good = !exec->in_rows || rows_end(exec->rows);

	if (is_good && !exec->in_copy && (!exec->in_rows || is_write(tag)))
		rows_tag(exec->rows, tag);
	exec->in_rows = exec->in_copy = false;
	return is_good;
}

static void on_complaint(struct exec *exec, const struct pgclient_message *message)
{
	rows_flush(exec->rows); /* standard output and error may be the same terminal */
	sqlerror_print(stderr, message, exec->sql);
	if (message->type == 'E') {
		exec->has_failed = true;
		exec->status = exec->status != 0 ? exec->status : 1; /* a signal's stays */
	}
}

static void on_notification(const struct pgclient_message *message)
{
	struct pgclient_cursor cursor = pgclient_cursor(message);
	uint32_t pid = pgclient_u32(&cursor);
	const char *channel = pgclient_string(&cursor);
	const char *payload = pgclient_string(&cursor);

	if (payload[0] != '\0')
		fprintf(stderr,
			"Asynchronous notification \"%s\" with payload \"%s\" received from server process with PID %u.\n",
			channel, payload, pid);
	else
		fprintf(stderr, "Asynchronous notification \"%s\" received from server process with PID %u.\n", channel, pid);
}

/* False: errno says why the message makes no sense, or the end has come. */
static bool on_message(struct exec *exec, const struct pgclient_message *message)
{
	static const char no_input[] = "pgcell exec has no data for COPY FROM STDIN: use INSERT, or psql by way of \"pgcell run\"";
	struct pgclient_cursor cursor = pgclient_cursor(message);

	errno = EBADMSG;
	switch (message->type) {
	case 'R': /* trust, or nothing that is known here */
		return pgclient_u32(&cursor) == 0 && !cursor.is_short;
	case 'T':
		exec->in_rows = true;
		return rows_begin(exec->rows, message);
	case 'D':
		return exec->in_rows && rows_add(exec->rows, message);
	case 'C':
		return on_complete(exec, message);
	case 'G':
		return send_message(exec, 'f', no_input, strlen(no_input), true);
	case 'H':
		exec->in_copy = true;
		return true;
	case 'd':
		rows_raw(exec->rows, message->body, message->body_len);
		return exec->in_copy;
	case 'E':
	case 'N':
		on_complaint(exec, message);
		return true;
	case 'A':
		on_notification(message);
		return true;
	case 'Z':
		rows_flush(exec->rows);
		return run_next(exec);
	default: /* parameters, the cancel key, an empty query: nothing to show */
		return true;
	}
}

/* Everything complete in the buffer. False: the end. */
static bool take_messages(struct exec *exec)
{
	for (;;) {
		struct pgclient_message message;
		enum pgclient_result result =
			pgclient_next(exec->in + exec->in_used, exec->in_len - exec->in_used, &message);

		if (result == PGCLIENT_NEED_MORE)
			return true;
		if (result == PGCLIENT_NONSENSE || !on_message(exec, &message)) {
			if (exec->session.fd >= 0)
				fail(exec, "the session's answer",
				     result == PGCLIENT_NONSENSE || errno == EBADMSG ? "not understood" : strerror(errno));
			return false;
		}
		exec->in_used += message.total_len;
		if (rows_error(exec->rows) == EPIPE) { /* nobody wants to see more */
			stop(exec, 1);
			return false;
		}
		if (rows_error(exec->rows) != 0) {
			fail(exec, "standard output", strerror(rows_error(exec->rows)));
			return false;
		}
	}
}

/* Room for at least one byte. It grows with what has come, not with what a length promises. */
static bool make_room(struct exec *exec)
{
	size_t cap = exec->in_cap == 0 ? BUFFER_MIN : exec->in_cap;
	uint8_t *in;

	if (exec->in_used > 0) {
		exec->in_len -= exec->in_used;
		memmove(exec->in, exec->in + exec->in_used, exec->in_len);
		exec->in_used = 0;
	}
	if (exec->in_len == cap)
		cap *= 2;
	if (cap == exec->in_cap)
		return true;
	in = realloc(exec->in, cap);
	if (in == NULL) {
		fail(exec, "a message of the session's", strerror(ENOMEM));
		return false;
	}
	exec->in = in;
	exec->in_cap = cap;
	return true;
}

static void on_session_event(struct channel *channel, int events)
{
	struct exec *exec = channel->data;

	(void)events;
	if (exec->out_used < exec->out_len)
		flush(exec);
	for (size_t taken = 0; taken < TURN_BYTES || channel->is_broken;) {
		ssize_t got;

		if (!make_room(exec))
			return;
		got = channel_read(channel, exec->in + exec->in_len, exec->in_cap - exec->in_len);
		if (got == -EAGAIN && !channel->is_broken)
			return;
		if (got <= 0) {
			if (exec->is_ending || exec->has_failed)
				stop(exec, 0);
			else
				fail(exec, "the session", "ended unexpectedly");
			return;
		}
		exec->in_len += (size_t)got;
		taken += (size_t)got;
		if (!take_messages(exec))
			return;
	}
}

/* ---- life ---- */

static void on_ready(struct supervisor *sv, void *data)
{
	struct exec *exec = data;
	/* the session's log would repeat on standard error what is printed there anyway */
	const char *pairs[] = {"user",		   exec->config->user, "database",	 exec->config->database,
			       "application_name", "pgcell exec",      "client_encoding", "UTF8",
			       "log_min_messages", "panic",	       NULL};
	size_t len;
	int fd;
	int rc;

	exec->sv = sv;
	fd = supervisor_connect(sv);
	rc = fd < 0 ? fd : channel_open(&exec->session, supervisor_loop(sv), fd, on_session_event, exec);
	if (rc != 0) {
		fail(exec, "the session", uv_strerror(rc));
		return;
	}
	exec->out = malloc(BUFFER_MIN);
	len = exec->out == NULL ? 0 : pgclient_put_startup(exec->out, BUFFER_MIN, pairs);
	if (len == 0) {
		fail(exec, "the session", exec->out == NULL ? strerror(ENOMEM) : "--user and --database are too long");
		return;
	}
	exec->out_len = len;
	flush(exec);
}

static void on_finish(struct supervisor *sv, void *data)
{
	struct exec *exec = data;

	(void)sv;
	channel_close(&exec->session, NULL);
}

/* Interrupted, it is not a success. */
static bool on_signal(struct supervisor *sv, int signal_number, void *data)
{
	struct exec *exec = data;

	(void)sv;
	exec->status = 128 + signal_number;
	exec->has_failed = true;
	return false;
}

/* The whole file, NUL-terminated; NULL with a line on standard error. */
static char *read_file(const char *path)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	const char *why = NULL;
	char *text = NULL;
	size_t len = 0;
	size_t cap = 0;
	ssize_t got = 1;

	if (fd < 0)
		why = strerror(errno);
	while (why == NULL && got != 0) {
		if (len + 1 >= cap) {
			char *longer = realloc(text, cap = cap == 0 ? BUFFER_MIN : cap * 2);

			if (longer == NULL) {
				why = strerror(ENOMEM);
				break;
			}
			text = longer;
		}
		got = read(fd, text + len, cap - 1 - len);
		if (got < 0 && errno != EINTR)
			why = strerror(errno);
		else if (got > 0)
			len += (size_t)got;
		if (len > SQL_MAX)
			why = "longer than the gigabyte that a query may have";
	}
	if (why == NULL && memchr(text, '\0', len) != NULL)
		why = "not SQL: it contains a zero byte";
	if (fd >= 0)
		close(fd);
	if (why != NULL) {
		fprintf(stderr, "pgcell exec: %s: %s\n", is_stdin ? "standard input" : path, why);
		free(text);
		return NULL;
	}
	text[len] = '\0';
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark, as some editors leave it */
		memmove(text, text + 3, len - 2);
	return text;
}

int exec_main(const struct config *config)
{
	static struct exec exec;
	const struct supervisor_hooks hooks = {
		.on_ready = on_ready, .on_finish = on_finish, .on_signal = on_signal, .data = &exec};
	int status;

	exec = (struct exec){.config = config, .session.fd = -1};
	if (config->rest[0] == NULL && config->statements == NULL) {
		fprintf(stderr, "pgcell exec: no SQL: give -c SQL, or a FILE (- for standard input); see --help\n");
		return EXIT_USAGE;
	}
	if (config->rest[0] != NULL && config->rest[1] != NULL) {
		fprintf(stderr, "pgcell exec: one file at a time, not \"%.80s\" as well; see --help\n", config->rest[1]);
		return EXIT_USAGE;
	}
	if (config->rest[0] != NULL && (exec.file_sql = read_file(config->rest[0])) == NULL)
		return EXIT_USAGE;
	setlocale(LC_CTYPE, "C.UTF-8"); /* for the widths of characters */
	exec.rows = rows_new((enum output_format)config->output_format, STDOUT_FILENO);
	if (exec.rows == NULL) {
		fprintf(stderr, "pgcell exec: out of memory\n");
		free(exec.file_sql);
		return 1;
	}
	status = supervisor_run(config, &hooks);
	if (status == 0)
		status = exec.status;
	rows_free(exec.rows);
	free(exec.file_sql);
	free(exec.in);
	free(exec.out);
	return status;
}

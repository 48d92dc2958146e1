#define _GNU_SOURCE
#include "auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "supervisor_internal.h"

#define PASSWORD_MAX 1000 /* bytes; quoted it is at most twice as long, and the statement has to fit into PROBE_SQL_MAX */
#define TIMEOUT_MS 30000

static int fail(char *err, size_t err_len, const char *path, const char *why)
{
	snprintf(err, err_len, "--password-file %s: %s", path, why);
	return -1;
}

/* The first line. */
static int read_password(const char *path, char *password, size_t cap, char *err, size_t err_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat info;
	ssize_t len;

	if (fd < 0)
		return fail(err, err_len, path, strerror(errno));
	if (fstat(fd, &info) != 0 || (S_ISREG(info.st_mode) && (info.st_mode & 077) != 0)) {
		close(fd);
		return fail(err, err_len, path, "other users can read it; chmod 600 it");
	}
	len = read(fd, password, cap - 1);
	close(fd);
	if (len < 0)
		return fail(err, err_len, path, strerror(errno));
	password[len] = '\0';
	password[strcspn(password, "\r\n")] = '\0';
	if (password[0] == '\0')
		return fail(err, err_len, path, "its first line is empty");
	if ((size_t)len == cap - 1 && strlen(password) == (size_t)len)
		return fail(err, err_len, path, "its first line is too long for a password");
	return 0;
}

/* As an SQL literal, with standard_conforming_strings. */
static void quote(char *out, const char *text)
{
	*out++ = '\'';
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			*out++ = '\'';
		*out++ = *text;
	}
	*out++ = '\'';
	*out = '\0';
}

static void end(struct auth *auth, const char *reason)
{
	explicit_bzero(auth->sql, sizeof(auth->sql));
	auth->on_done(auth->sv, reason);
}

static int ask(struct auth *auth, struct cell *cell, const char *sql, probe_done_fn *on_done)
{
	int fd = supervisor_connect_to(auth->sv, cell);

	return fd < 0 ? fd : probe_start(&auth->probe, supervisor_loop(auth->sv), fd, sql, TIMEOUT_MS, on_done, auth);
}

static void on_prepared(const char *reason, const char *value, void *data)
{
	struct auth *auth = data;

	(void)value;
	if (reason == NULL)
		auth->prepared = auth->preparing;
	end(auth, reason);
}

static void prepare(uv_timer_t *timer)
{
	struct auth *auth = timer->data;
	int rc;

	auth->preparing = cell_add(&auth->sv->cells, NULL);
	if (auth->preparing == NULL) {
		end(auth, strerror(errno));
		return;
	}
	auth->preparing->is_kept = true;
	rc = ask(auth, auth->preparing, auth->next_sql, on_prepared);
	if (rc != 0)
		end(auth, uv_strerror(rc));
}

static void on_verifier(const char *reason, const char *verifier, void *data)
{
	struct auth *auth = data;

	if (reason != NULL || strncmp(verifier, "SCRAM-SHA-256$", 14) != 0 || strchr(verifier, '\'') != NULL) {
		end(auth, reason != NULL ? reason : "PostgreSQL made no SCRAM verifier of the password");
		return;
	}
	snprintf(auth->next_sql, sizeof(auth->next_sql),
		 "ALTER ROLE postgres PASSWORD '%s';"
		 "DO $$BEGIN EXECUTE format('COPY (VALUES (''local all all scram-sha-256''), (''host all all all scram-sha-256'')) TO %%L', "
		 "current_setting('hba_file')); END$$",
		 verifier);
	uv_timer_start(&auth->pause, prepare, 0, 0);
}

int auth_begin(struct auth *auth, struct supervisor *sv, auth_done_fn *on_done, char *err, size_t err_len)
{
	const char *path = supervisor_config(sv)->password_file;
	char password[PASSWORD_MAX + 1], quoted[2 * PASSWORD_MAX + 3];
	struct cell *scratch;
	int rc;

	memset(auth, 0, sizeof(*auth));
	auth->sv = sv;
	auth->on_done = on_done;
	if (read_password(path, password, sizeof(password), err, err_len) != 0)
		return -1;
	quote(quoted, password);
	snprintf(auth->sql, sizeof(auth->sql),
		 "ALTER ROLE postgres PASSWORD %s; SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'", quoted);
	explicit_bzero(password, sizeof(password));
	explicit_bzero(quoted, sizeof(quoted));
	scratch = cell_add(&sv->cells, NULL);
	rc = scratch == NULL ? -errno : ask(auth, scratch, auth->sql, on_verifier);
	if (rc != 0) {
		snprintf(err, err_len, "authentication could not be set up: %s", uv_strerror(rc));
		return -1;
	}
	uv_timer_init(supervisor_loop(sv), &auth->pause);
	auth->pause.data = auth;
	return 0;
}

void auth_cancel(struct auth *auth)
{
	if (auth->sv == NULL)
		return;
	probe_cancel(&auth->probe);
	if (auth->pause.data != NULL)
		uv_close((uv_handle_t *)&auth->pause, NULL);
	auth->sv = NULL;
}

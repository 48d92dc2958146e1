#define _GNU_SOURCE
#include "supervisor.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "log.h"
#include "operations.h"
#include "sandbox.h"
#include "sd.h"
#include "supervisor_internal.h"
#include "tally.h"
#include "tls.h"

#define CONNS_EXTRA 64 /* connections without a session, beyond max-sessions: cancel requests must get through */
#define CANCELS_PER_CELL_MAX 16 /* running at a time; clients need no password for these */
#define RECOVERIES_KILLED_MAX 10 /* in a row, by the machine's OOM killer, say: then recovery itself is at fault */
#define STOP_TIMEOUT_MS (FORKSERVER_STOP_GRACE_MS + 2000)

static const int signal_numbers[SIGNAL_COUNT] = {SIGINT, SIGTERM, SIGHUP};

static void stop(struct supervisor *sv);
static void finish(struct supervisor *sv);

/* ---- orders to the fork server ---- */

static void on_fs_event(uv_poll_t *poll, int status, int events);

int supervisor_send_order(struct supervisor *sv, struct order *order, int client_fd, int cell_fd)
{
	int rc = forkserver_send(&sv->fs, order, client_fd, cell_fd);

	if (forkserver_has_unsent(&sv->fs))
		uv_poll_start(&sv->fs_poll, UV_READABLE | UV_WRITABLE, on_fs_event);
	return rc;
}

static void pack_address(struct order_address *to, const struct sockaddr_storage *from)
{
	to->family = from->ss_family;
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;

		to->port = ntohs(in->sin_port);
		memcpy(to->bytes, &in->sin_addr, sizeof(in->sin_addr));
	} else if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

		to->port = ntohs(in6->sin6_port);
		memcpy(to->bytes, &in6->sin6_addr, sizeof(in6->sin6_addr));
	}
}

/* What the session finds already read: its start-up packet without the @cell part, and the bytes after it. */
static void pack_preread(struct order *order, const struct conn *conn)
{
	const struct wire_startup *startup = &conn->startup;
	size_t trailing = conn->len - startup->packet_len;
	size_t len;

	if (order->kind == SESSION_CANCEL) {
		len = startup->packet_len;
		memcpy(order->preread, conn->buf, len);
	} else {
		len = wire_startup_rewrite(conn->buf, startup, conn->route.database_len, order->preread,
					   sizeof(order->preread));
		if (len == 0 || len + trailing > sizeof(order->preread))
			BUG("a rewritten start-up packet grew");
		memcpy(order->preread + len, conn->buf + startup->packet_len, trailing);
		len += trailing;
	}
	order->preread_len = (uint32_t)len;
}

/* conn NULL: without a client. Returns 0, or -errno with nothing changed. */
static int start_backend(struct supervisor *sv, enum session_kind kind, struct cell *cell, struct conn *conn)
{
	static struct order order; /* big */
	struct backend *backend = backend_add(&sv->backends, kind, cell);
	int rc;

	if (backend == NULL)
		return -ENOMEM;
	memset(&order, 0, sizeof(order));
	order.type = ORDER_START;
	order.cookie = backend->cookie;
	order.kind = kind;
	order.slot = backend->slot;
	order.tally = backend->tally;
	order.flags = cell->state == CELL_NEW ? ORDER_FRESH_CELL : 0;
	order.memory_limit_bytes = (uint64_t)sv->config->session_memory_mib << 20;
	order.files_limit_bytes = (uint64_t)sv->config->cell_memory_mib << 20;
	order.cell_created_us = cell->created_us;
	order.cell_id = cell->id;
	snprintf(order.cell_name, sizeof(order.cell_name), "%s", cell->name);
	if (conn != NULL) {
		pack_address(&order.peer, &conn->peer);
		pack_address(&order.server, &conn->server);
		pack_preread(&order, conn);
	}
	rc = supervisor_send_order(sv, &order, conn != NULL ? conn->fd : -1, cell->fd);
	if (rc != 0) {
		backend_remove(&sv->backends, backend);
		return rc;
	}
	if (conn != NULL) {
		conn_park(conn);
		backend->conn = conn;
		backend->accepted_ns = conn->accepted_ns;
	}
	if (cell->state == CELL_NEW)
		cell_become(cell, CELL_POPULATING);
	return 0;
}

static int start_vacuum(void *data, struct cell *cell, enum session_kind kind)
{
	struct supervisor *sv = data;

	return sv->is_stopping || cell->copies.count > 0 ? -EBUSY : start_backend(sv, kind, cell, NULL);
}

int supervisor_start(struct supervisor *sv, enum session_kind kind, struct cell *cell)
{
	return start_backend(sv, kind, cell, NULL);
}

void supervisor_signal(struct supervisor *sv, struct backend *backend, int signal_number)
{
	static struct order order;

	memset(&order, 0, sizeof(order));
	order.type = ORDER_SIGNAL;
	order.cookie = backend->cookie;
	order.signal_number = signal_number;
	if (supervisor_send_order(sv, &order, -1, -1) != 0)
		log_error(backend->cell->name, backend->pid, "signal %d cannot be sent", signal_number);
}

/* All but copying processes: those don't use the memory, but read it. */
static void kill_backends(struct supervisor *sv, struct cell *cell)
{
	struct backend *backend;

	LIST_FOREACH (backend, &cell->backends, cell_link) {
		if (backend->kind != SESSION_COPY)
			supervisor_signal(sv, backend, SIGQUIT);
	}
}

/* ---- cells ---- */

static void refuse_failed_start(struct conn *conn, int error)
{
	char message[WIRE_TEXT_MAX];

	snprintf(message, sizeof(message), "could not start a session: %s", strerror(error));
	conn_refuse(conn, "53000", message, NULL);
}

static void refuse_shutdown(struct conn *conn)
{
	conn_refuse(conn, "57P03", "the database system is shutting down", NULL);
}

static void refuse_dead(struct conn *conn, const struct cell *cell)
{
	char message[WIRE_TEXT_MAX];

	snprintf(message, sizeof(message), "cell \"%s\" is damaged", cell->name);
	conn_refuse(conn, "58000", message,
		    "One of its sessions ended abnormally and recovery failed. Its data is lost when the server stops.");
}

void supervisor_refuse_waiting(struct cell *cell, const char *sqlstate, const char *message, const char *hint)
{
	struct conn *conn;

	while ((conn = TAILQ_FIRST(&cell->waiting)) != NULL)
		conn_refuse(conn, sqlstate, message, hint);
}

/* Takes the conn out of the cell's queue. */
static void serve_conn(struct supervisor *sv, struct cell *cell, struct conn *conn)
{
	int rc;

	TAILQ_REMOVE(&cell->waiting, conn, cell_link);
	conn->cell = NULL;
	if (sv->backends.client_count >= (size_t)sv->config->max_sessions) {
		conn_refuse(conn, "53300", "sorry, too many clients already", NULL);
		return;
	}
	rc = start_backend(sv, SESSION_CLIENT, cell, conn);
	if (rc != 0)
		refuse_failed_start(conn, -rc);
}

/* Nothing was touched; the next client that comes, or gives up waiting, asks for it again. */
static void recovery_not_started(struct cell *cell)
{
	log_error(cell->name, 0, "recovery could not be started: it waits for the next client");
	cell_become(cell, CELL_CRASHED);
}

static void recover(struct supervisor *sv, struct cell *cell)
{
	cell_become(cell, CELL_RECOVERING);
	if (start_backend(sv, SESSION_RECOVER, cell, NULL) != 0)
		recovery_not_started(cell);
}

void supervisor_advance(struct supervisor *sv, struct cell *cell)
{
	struct conn *conn;

	if (sv->is_stopping)
		return;
	if (cell->state == CELL_CRASHED && LIST_EMPTY(&cell->backends) && cell->copies.running == 0 &&
	    (!cell->is_private || cell->is_warm || !TAILQ_EMPTY(&cell->waiting)))
		recover(sv, cell);
	keeper_advance(sv, cell);
	while ((conn = TAILQ_FIRST(&cell->waiting)) != NULL) {
		if (cell->state == CELL_DEAD) {
			TAILQ_REMOVE(&cell->waiting, conn, cell_link);
			conn->cell = NULL;
			refuse_dead(conn, cell);
		} else if (cell_has_room(cell, (uint32_t)sv->config->sessions_per_cell)) {
			serve_conn(sv, cell, conn);
		} else {
			break;
		}
	}
	if (LIST_EMPTY(&cell->backends) && TAILQ_EMPTY(&cell->waiting) && cell->copies.count == 0 && cell->state != CELL_COPYING &&
	    !cell->is_kept && !cell->is_warm && (cell->is_private || cell->state == CELL_NEW))
		cell_remove(&sv->cells, cell);
}

/* ---- reports of the fork server ---- */

static const char *describe_end(int wait_status, char *text, size_t cap)
{
	if (WIFSIGNALED(wait_status))
		snprintf(text, cap, "signal %d (%s)", WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
	else
		snprintf(text, cap, "exit status %d", WEXITSTATUS(wait_status));
	return text;
}

static void on_started(struct supervisor *sv, struct backend *backend, pid_t pid)
{
	struct cell *cell = backend->cell;

	if (backend_set_pid(&sv->backends, backend, pid) != 0)
		log_warn(cell->name, pid, "cannot be cancelled: out of memory");
	log_info(cell->name, pid, "started");
	if (backend->kind == SESSION_CLIENT) {
		sv->ops.metrics.starts_ok++;
		metrics_observe(&sv->ops.metrics.start, uv_hrtime() - backend->accepted_ns);
	}
	if (backend->conn != NULL) {
		struct conn *conn = backend->conn;

		backend->conn = NULL;
		conn_free(conn);
	}
	if (cell->state == CELL_POPULATING)
		cell_become(cell, CELL_READY); /* the copy of a cell is ready when it ends */
	if (backend->kind == SESSION_CLIENT)
		vacuum_note_use(&sv->vacuum, cell);
	supervisor_advance(sv, cell);
}

static bool is_vacuum(enum session_kind kind)
{
	return kind == SESSION_VACUUM_LAUNCHER || kind == SESSION_VACUUM_WORKER;
}

static void on_failed(struct supervisor *sv, struct backend *backend, int error)
{
	struct cell *cell = backend->cell;
	struct conn *conn = backend->conn;
	enum session_kind kind = backend->kind;

	log_error(cell->name, 0, "a session could not be started: %s", strerror(error));
	if (kind == SESSION_COPY && !sv->is_stopping) {
		keeper_copy_ended(sv, backend, -1);
		return;
	}
	sv->ops.metrics.starts_failed += kind == SESSION_CLIENT;
	backend_remove(&sv->backends, backend);
	if (kind == SESSION_RECOVER) {
		recovery_not_started(cell);
		return;
	}
	if (cell->state == CELL_POPULATING) {
		int rc = cell_reset_memory(cell);

		/* The old memfd can be populated again as well: the engine writes all of it. */
		if (rc != 0)
			log_warn(cell->name, 0, "no fresh memory: %s", strerror(-rc));
		cell_become(cell, CELL_NEW);
	}
	if (conn != NULL && sv->is_stopping)
		refuse_shutdown(conn);
	else if (conn != NULL && kind == SESSION_CLIENT)
		refuse_failed_start(conn, error);
	else if (conn != NULL)
		conn_free(conn);
	if (is_vacuum(kind) && !sv->is_stopping)
		vacuum_ended(&sv->vacuum, cell, kind, false);
	supervisor_advance(sv, cell);
}

static void on_ended(struct supervisor *sv, struct backend *backend, int wait_status)
{
	struct cell *cell = backend->cell;
	enum session_kind kind = backend->kind;
	pid_t pid = backend->pid;
	char end[64];
	bool is_success = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
	/* 1 is PostgreSQL's end after a FATAL error: its exit hooks ran */
	bool is_orderly = is_success || (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 1);

	describe_end(wait_status, end, sizeof(end));
	if (kind == SESSION_COPY && !sv->is_stopping) {
		keeper_copy_ended(sv, backend, WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1);
		return;
	}
	observe_end(sv, backend, wait_status);
	backend_remove(&sv->backends, backend);
	if (sv->is_stopping && !sv->is_draining) {
		/* SIGKILL is how those end that do not end by themselves */
		if (!is_orderly && !(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL))
			log_error(cell->name, pid, "ended abnormally with %s", end);
		return;
	}
	if (kind == SESSION_CLIENT)
		keeper_session_ended(sv, cell);
	if (sv->is_draining && kind != SESSION_CLIENT) {
		/* they were told to end, and their cells end as well */
	} else if (kind == SESSION_RECOVER) {
		if (is_success) {
			log_warn(cell->name, pid, "recovered");
			cell->recoveries_killed = 0;
			cell_become(cell, CELL_READY);
		} else if (WIFSIGNALED(wait_status) && ++cell->recoveries_killed < RECOVERIES_KILLED_MAX) {
			log_warn(cell->name, pid, "recovery ended with %s: it starts over", end);
			cell_become(cell, CELL_CRASHED);
		} else {
			log_error(cell->name, pid, "recovery failed with %s: the cell is given up", end);
			cell_become(cell, CELL_DEAD);
		}
	} else if (is_orderly) {
		log_info(cell->name, pid, "ended with %s", end);
	} else {
		log_error(cell->name, pid, "ended abnormally with %s", end);
		if (cell->state == CELL_READY) { /* what it left in the shared memory cannot be trusted */
			cell_become(cell, CELL_CRASHED);
			kill_backends(sv, cell);
		}
	}
	if (sv->is_draining)
		return;
	if (is_vacuum(kind))
		vacuum_ended(&sv->vacuum, cell, kind, is_success);
	supervisor_advance(sv, cell);
}

static void on_report(struct supervisor *sv, const struct report *report)
{
	struct backend *backend = backend_find_cookie(&sv->backends, report->cookie);

	if (backend == NULL)
		BUG("report %u on an unknown session", report->type);
	switch (report->type) {
	case REPORT_STARTED:
		on_started(sv, backend, report->pid);
		break;
	case REPORT_FAILED:
		on_failed(sv, backend, report->error);
		break;
	case REPORT_ENDED:
		on_ended(sv, backend, report->wait_status);
		break;
	default:
		BUG("report of type %u", report->type);
	}
	if (sv->is_draining && sv->backends.count == 0)
		stop(sv);
}

/* Whatever is there. 0, or -1 when there will be no more. */
static int take_reports(struct supervisor *sv)
{
	struct report report;
	int rc;

	while ((rc = forkserver_receive(&sv->fs, &report)) == 1)
		on_report(sv, &report);
	return rc;
}

static void on_fs_event(uv_poll_t *poll, int status, int events)
{
	struct supervisor *sv = poll->data;

	if (status == 0 && (events & UV_WRITABLE) != 0) {
		if (forkserver_flush(&sv->fs) != 0)
			status = UV_EPIPE;
		if (!forkserver_has_unsent(&sv->fs))
			uv_poll_start(poll, UV_READABLE, on_fs_event);
	}
	if (status == 0 && take_reports(sv) == 0)
		return;
	if (!sv->is_stopping) {
		log_error(NULL, 0, "the fork server ended unexpectedly; every session is lost");
		sv->exit_status = 1;
	}
	finish(sv);
}

/* ---- connections ---- */

static void cancel(struct supervisor *sv, struct conn *conn)
{
	struct backend *target = backend_find_pid(&sv->backends, conn->startup.cancel_pid);
	struct backend *each;
	unsigned running = 0;

	if (target != NULL) {
		LIST_FOREACH (each, &target->cell->backends, cell_link)
			running += each->kind == SESSION_CANCEL;
	}
	/* Nothing is ever said to the client of a cancel request. */
	if (target == NULL || target->cell->state != CELL_READY || target->cell->copies.count > 0 || running >= CANCELS_PER_CELL_MAX ||
	    start_backend(sv, SESSION_CANCEL, target->cell, conn) != 0) {
		log_info(NULL, conn->startup.cancel_pid, "cancel request for no session, or too many of them");
		conn_free(conn);
	}
}

/* The cell that the client asked for, made if need be; NULL after having refused the client. */
static struct cell *find_cell(struct supervisor *sv, struct conn *conn)
{
	bool is_private = conn->route.kind == WIRE_CELL_PRIVATE || sv->config->isolate == ISOLATE_CONNECTION;
	const char *name = conn->route.kind == WIRE_CELL_DEFAULT ? CELL_DEFAULT_NAME : conn->route.cell;
	struct cell *cell = is_private ? NULL : cell_find(&sv->cells, name);

	if (cell != NULL)
		return cell;
	if (sv->cells.count - sv->warm_count >= (size_t)sv->config->max_cells) {
		conn_refuse(conn, "53400", "too many cells",
			    "Wait until a private cell ends, or start the server with a higher --max-cells.");
		return NULL;
	}
	cell = keeper_new_cell(sv, is_private ? NULL : name);
	if (cell == NULL)
		refuse_failed_start(conn, errno);
	return cell;
}

/*
 * In PostgreSQL's words. Cancel requests get through, as with PostgreSQL, where pg_hba.conf has no say about them: many clients send
 * them without encryption, and their key is worth nothing but a cancelled query.
 */
static bool refuse_plain_text(const struct supervisor *sv, struct conn *conn)
{
	char address[INET6_ADDRSTRLEN] = "?";
	const char *user = conn->startup.user != NULL ? conn->startup.user : "";
	char message[WIRE_TEXT_MAX];

	if (!sv->config->is_tls_only || conn->is_encrypted || conn->peer.ss_family == AF_UNIX)
		return false;
	(void)uv_inet_ntop(conn->peer.ss_family,
			   conn->peer.ss_family == AF_INET
				   ? (const void *)&((const struct sockaddr_in *)&conn->peer)->sin_addr
				   : (const void *)&((const struct sockaddr_in6 *)&conn->peer)->sin6_addr,
			   address, sizeof(address));
	snprintf(message, sizeof(message), "no pg_hba.conf entry for host \"%s\", user \"%.63s\", database \"%.63s\", no encryption",
		 address, user, conn->startup.database != NULL ? conn->startup.database : user);
	conn_refuse(conn, "28000", message, NULL);
	return true;
}

static int on_start_tls(struct conn *conn, int inner_fd, bool is_direct)
{
	struct supervisor *sv = conn->owner_data;

	return tls_accept(&sv->tls, conn->fd, inner_fd, is_direct);
}

/* Into the cell's queue. */
static void admit(struct supervisor *sv, struct conn *conn, struct cell *cell)
{
	sv->client_at_ms = uv_now(&sv->loop);
	conn->cell = cell;
	TAILQ_INSERT_TAIL(&cell->waiting, conn, cell_link);
	conn_wait(conn, (uint64_t)sv->config->session_wait_ms);
	supervisor_advance(sv, cell);
}

static void on_conn_packet(struct conn *conn)
{
	struct supervisor *sv = conn->owner_data;
	struct cell *cell;

	if (conn->given != NULL) {
		cell = conn->given;
		conn->given = NULL;
		wire_route(conn->startup.database, &conn->route);
		admit(sv, conn, cell);
		return;
	}
	if (sv->is_stopping) {
		refuse_shutdown(conn);
		return;
	}
	if (conn->startup.cancel_key != NULL) {
		cancel(sv, conn);
		return;
	}
	if (refuse_plain_text(sv, conn))
		return;
	wire_route(conn->startup.database, &conn->route);
	if (conn->route.kind == WIRE_CELL_BAD_NAME) {
		char message[WIRE_TEXT_MAX];

		snprintf(message, sizeof(message), "invalid cell name \"%s\"", conn->route.cell);
		conn_refuse(conn, "3D000", message,
			    "A database name is DATABASE@CELL; a cell's name has 1 to 63 letters, digits, \"_\", \".\" or \"-\".");
		return;
	}
	take_reports(sv); /* who hung up before this client came takes none of its room; the end of reports is on_fs_event's */
	if (sv->backends.client_count >= (size_t)sv->config->max_sessions) {
		conn_refuse(conn, "53300", "sorry, too many clients already", NULL);
		return;
	}
	if (keeper_is_full(sv)) {
		conn_refuse(conn, "53200", "out of memory", "The cells use all the memory that --total-memory gives them.");
		return;
	}
	cell = find_cell(sv, conn);
	if (cell == NULL)
		return;
	admit(sv, conn, cell);
}

static void on_conn_gone(struct conn *conn)
{
	struct supervisor *sv = conn->owner_data;
	struct cell *cell = conn->cell;

	log_info(cell->name, 0, "a waiting client hung up");
	conn_free(conn);
	supervisor_advance(sv, cell);
}

static void on_conn_timeout(struct conn *conn)
{
	struct supervisor *sv = conn->owner_data;
	struct cell *cell = conn->cell;
	char message[WIRE_TEXT_MAX];

	if (cell->state == CELL_CRASHED || cell->state == CELL_RECOVERING) {
		snprintf(message, sizeof(message), "cell \"%s\" is in recovery mode", cell->name);
		conn_refuse(conn, "57P03", message, "Try again in a moment.");
	} else {
		snprintf(message, sizeof(message), "cell \"%s\" is in use by another session", cell->name);
		conn_refuse(conn, "53300", message,
			    "Close the other session, connect to another cell (database@cell), or start the server with a "
			    "longer --session-wait.");
	}
	supervisor_advance(sv, cell);
}

static void on_conn_free(struct conn *conn)
{
	struct supervisor *sv = conn->owner_data;

	if (conn->cell != NULL)
		TAILQ_REMOVE(&conn->cell->waiting, conn, cell_link);
	conn->cell = NULL;
	TAILQ_REMOVE(&sv->conns, conn, all_link);
	sv->conn_count--;
	if (conn->given != NULL)
		supervisor_advance(sv, conn->given); /* it ends */
}

static void on_conn_refuse(struct conn *conn, const char *sqlstate)
{
	struct supervisor *sv = conn->owner_data;

	metrics_count_code(&sv->ops.metrics.refused, sqlstate, 1);
}

static const struct conn_owner conn_owner = {
	.on_packet = on_conn_packet,
	.on_gone = on_conn_gone,
	.on_timeout = on_conn_timeout,
	.on_free = on_conn_free,
	.on_refuse = on_conn_refuse,
};

static const struct conn_owner conn_owner_with_tls = {
	.on_packet = on_conn_packet,
	.on_gone = on_conn_gone,
	.on_timeout = on_conn_timeout,
	.on_free = on_conn_free,
	.on_refuse = on_conn_refuse,
	.start_tls = on_start_tls,
};

/* Takes fd. NULL when memory ran out. */
static struct conn *add_conn(struct supervisor *sv, int fd, const struct sockaddr_storage *peer)
{
	const struct conn_owner *owner = sv->config->tls_cert != NULL ? &conn_owner_with_tls : &conn_owner;
	struct conn *conn = conn_new(&sv->loop, fd, peer, owner, sv, (uint64_t)sv->config->startup_timeout_ms);

	if (conn == NULL) {
		log_error(NULL, 0, "out of memory for a connection");
		return NULL;
	}
	conn->accepted_ns = uv_hrtime();
	TAILQ_INSERT_TAIL(&sv->conns, conn, all_link);
	sv->conn_count++;
	return conn;
}

/* A bucket of as many tokens as --connection-rate lets in within a second. */
static bool is_too_fast(struct supervisor *sv)
{
	double rate = (double)sv->config->connection_rate;
	uint64_t now_ns = uv_hrtime();

	if (rate == 0)
		return false;
	sv->rate_left += sv->rate_at_ns == 0 ? rate : rate * (double)(now_ns - sv->rate_at_ns) / 1e9;
	sv->rate_at_ns = now_ns;
	if (sv->rate_left > rate)
		sv->rate_left = rate;
	if (sv->rate_left < 1)
		return true;
	sv->rate_left -= 1;
	return false;
}

/* Takes fd. */
static void on_accept(void *data, int fd, const struct sockaddr_storage *peer)
{
	struct supervisor *sv = data;

	if (sv->conn_count >= (size_t)sv->config->max_sessions + CONNS_EXTRA || is_too_fast(sv)) {
		metrics_count_code(&sv->ops.metrics.refused, "53300", 1);
		gate_turn_away(fd);
		return;
	}
	(void)add_conn(sv, fd, peer);
}

/* ---- life and death of the program ---- */

static void close_gates(struct supervisor *sv)
{
	control_close(&sv->control);
	for (int i = 0; i < LISTENER_COUNT; i++)
		gate_close(&sv->gates[i]);
}

/* Closes everything that keeps the loop running. */
static void finish(struct supervisor *sv)
{
	struct conn *conn;

	if (sv->is_finished)
		return;
	sv->is_finished = true;
	sv->is_stopping = true;
	close_gates(sv);
	if (sv->hooks->on_finish != NULL)
		sv->hooks->on_finish(sv, sv->hooks->data);
	while ((conn = TAILQ_FIRST(&sv->conns)) != NULL)
		conn_free(conn);
	uv_close((uv_handle_t *)&sv->fs_poll, NULL);
	uv_close((uv_handle_t *)&sv->watchdog_timer, NULL);
	uv_close((uv_handle_t *)&sv->drain_timer, NULL);
	uv_close((uv_handle_t *)&sv->stop_timer, NULL);
	vacuum_close(&sv->vacuum);
	tls_unwatch(&sv->tls);
	keeper_close(sv);
	auth_cancel(&sv->auth);
	operations_close(&sv->ops);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		uv_close((uv_handle_t *)&sv->signals[i], NULL);
}

static void on_watchdog(uv_timer_t *timer)
{
	struct supervisor *sv = timer->data;

	if (forkserver_is_alive(&sv->fs))
		sd_notify("WATCHDOG=1");
}

static void finish_now(struct supervisor *sv)
{
	sv->is_immediate = true;
	sv->exit_status = 1;
	finish(sv);
}

static void on_stop_timeout(uv_timer_t *timer)
{
	log_error(NULL, 0, "sessions do not end: killed");
	finish_now(timer->data);
}

/* Nobody comes in any more, and who waits hears why. */
static void shut_doors(struct supervisor *sv)
{
	struct conn *conn;
	struct conn *next;

	sv->is_stopping = true;
	close_gates(sv);
	for (conn = TAILQ_FIRST(&sv->conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, all_link);
		if (conn->state == CONN_WAITING)
			refuse_shutdown(conn);
	}
}

/* Sessions are asked to end; the fork server's end is ours. */
static void stop(struct supervisor *sv)
{
	static struct order order = {.type = ORDER_STOP};
	struct conn *conn;
	struct conn *next;

	log_info(NULL, 0, "stopping");
	sd_notify("STOPPING=1\nSTATUS=Ending sessions\nEXTEND_TIMEOUT_USEC=%d", 2 * STOP_TIMEOUT_MS * 1000);
	sv->is_draining = false;
	uv_timer_stop(&sv->drain_timer);
	shut_doors(sv);
	for (conn = TAILQ_FIRST(&sv->conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, all_link);
		if (conn->state == CONN_READING)
			conn_free(conn);
	}
	if (supervisor_send_order(sv, &order, -1, -1) != 0) {
		finish_now(sv);
		return;
	}
	uv_timer_start(&sv->stop_timer, on_stop_timeout, STOP_TIMEOUT_MS, 0);
}

static void on_drain_timeout(uv_timer_t *timer)
{
	log_warn(NULL, 0, "statements still run after the drain timeout: they are ended");
	stop(timer->data);
}

/* As stop(), but statements that run may finish within the drain timeout; idle sessions end now. */
static void drain(struct supervisor *sv)
{
	static struct order order = {.type = ORDER_DRAIN};

	log_info(NULL, 0, "draining");
	sd_notify("STOPPING=1\nSTATUS=Statements that run may finish\nEXTEND_TIMEOUT_USEC=%lld",
		  (long long)(sv->config->drain_timeout_ms + 2 * STOP_TIMEOUT_MS) * 1000);
	sv->is_draining = true;
	shut_doors(sv);
	if (sv->config->drain_timeout_ms == 0 || sv->backends.count == 0 || supervisor_send_order(sv, &order, -1, -1) != 0)
		stop(sv);
	else
		uv_timer_start(&sv->drain_timer, on_drain_timeout, (uint64_t)sv->config->drain_timeout_ms, 0);
}

static void on_option_changed(const char *name, const char *value, void *data)
{
	(void)data;
	if (value == NULL)
		log_warn(NULL, 0, "parameter \"%s\" cannot be changed without restarting the server", name);
	else
		log_warn(NULL, 0, "parameter \"%s\" changed to \"%s\"", name, value);
}

/* A reload that fails changes nothing. */
static void reload(struct supervisor *sv)
{
	struct config next;
	char err[512];

	log_warn(NULL, 0, "received SIGHUP, reloading the configuration");
	tls_reload(&sv->tls);
	if (options_reload(&next, sv->config, on_option_changed, NULL, err, sizeof(err)) != 0) {
		log_error(NULL, 0, "the configuration was not reloaded: %s", err);
		sv->ops.metrics.reloads_failed++;
		config_release(&next);
		return;
	}
	config_release(&sv->reloaded);
	sv->reloaded = next;
	sv->config = &sv->reloaded;
	log_set_verbose(sv->config->is_verbose);
	sv->ops.metrics.reloads_ok++;
}

/* Other commands belong to a terminal or a parent. */
static bool is_server(const struct supervisor *sv)
{
	return strcmp(sv->config->command, "serve") == 0;
}

static void on_signal(uv_signal_t *handle, int signal_number)
{
	struct supervisor *sv = handle->data;

	if (sv->hooks->on_signal != NULL && sv->hooks->on_signal(sv, signal_number, sv->hooks->data))
		return;
	if (signal_number == SIGHUP) {
		if (sv->is_stopping)
			return;
		sd_notify_reloading();
		reload(sv);
		sd_notify("READY=1");
	} else if (sv->is_stopping) {
		finish_now(sv);
	} else if (signal_number == SIGTERM && is_server(sv)) {
		drain(sv);
	} else {
		stop(sv);
	}
}

/*
 * Sockets that systemd has opened: "metrics" is for HTTP, the others take the places of --listen and --socket-dir. *is_passed: there are
 * any of those.
 */
static int adopt_sockets(struct supervisor *sv, bool *is_passed, char *err, size_t err_len)
{
	struct sd_socket passed;

	while (sd_take_socket(&passed)) {
		struct listener listener;
		int which;

		if (strcmp(passed.name, "metrics") == 0 && sv->ops.passed_fd < 0) {
			sv->ops.passed_fd = passed.fd;
			continue;
		}
		if (listener_adopt(&listener, passed.fd, sv->config->port, sv->config->auth != AUTH_TRUST, err, err_len) != 0)
			return -1;
		which = listener.host[0] != '\0' ? TCP : LOCAL;
		if (sv->gates[which].listener.fd >= 0) {
			listener_close(&listener);
			snprintf(err, err_len, "one TCP and one Unix socket can be passed, not two of a kind");
			return -1;
		}
		sv->gates[which].listener = listener;
		*is_passed = true;
	}
	return 0;
}

static int open_gates(struct supervisor *sv, char *err, size_t err_len)
{
	const struct config *config = sv->config;
	int64_t port = config->port;
	bool is_passed = false;

	if (adopt_sockets(sv, &is_passed, err, err_len) != 0)
		return -1;
	if (!is_passed && config->listen_host != NULL) {
		if (listener_open_tcp(&sv->gates[TCP].listener, config->listen_host, port, config->auth != AUTH_TRUST, err, err_len) != 0)
			return -1;
		port = sv->gates[TCP].listener.port;
	}
	if (!is_passed && config->socket_dir != NULL &&
	    listener_open_unix(&sv->gates[LOCAL].listener, config->socket_dir, LISTENER_CLIENTS, port, err, err_len) != 0)
		return -1;
	if (config->socket_dir != NULL && control_open(&sv->control, sv, config->socket_dir, port, err, err_len) != 0)
		return -1;
	return 0;
}

static int watch_gates(struct supervisor *sv, char *err, size_t err_len)
{
	for (int i = 0; i < LISTENER_COUNT; i++) {
		struct gate *gate = &sv->gates[i];
		int rc;

		if (gate->listener.fd < 0)
			continue;
		rc = gate_watch(gate, &sv->loop);
		if (rc != 0) {
			snprintf(err, err_len, "cannot watch %s: %s", gate->listener.name, uv_strerror(rc));
			return -1;
		}
	}
	return 0;
}

void supervisor_say_ready(const struct supervisor *sv)
{
	const struct listener *tcp = &sv->gates[TCP].listener;
	const struct listener *local = &sv->gates[LOCAL].listener;
	const char *host = tcp->fd >= 0 ? tcp->host : local->name; /* a socket's folder, for libpq */
	const char *slash = tcp->fd >= 0 ? NULL : strrchr(host, '/');
	int host_len = (int)(slash != NULL ? (size_t)(slash - host) : strlen(host));
	int64_t port = tcp->fd >= 0 ? tcp->port : local->port;

	printf("pgcell: ready on %s%s%s\n", tcp->fd >= 0 ? tcp->name : "", tcp->fd >= 0 && local->fd >= 0 ? " and " : "",
	       local->fd >= 0 ? local->name : "");
	printf("  psql -h %.*s -p %d -U postgres postgres\n", host_len, host, (int)port);
	if (operations_address(&sv->ops) != NULL)
		printf("  curl http://%s/metrics\n", operations_address(&sv->ops));
	fflush(stdout);
}

/* Each cell and each connection holds a descriptor here. */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int init_loop(struct supervisor *sv, char *err, size_t err_len)
{
	int rc = uv_poll_init(&sv->loop, &sv->fs_poll, sv->fs.fd);

	if (rc != 0) {
		snprintf(err, err_len, "cannot watch the fork server: %s", uv_strerror(rc));
		return -1;
	}
	sv->fs_poll.data = sv;
	uv_poll_start(&sv->fs_poll, UV_READABLE, on_fs_event);
	uv_timer_init(&sv->loop, &sv->watchdog_timer);
	sv->watchdog_timer.data = sv;
	if (sd_watchdog_ms() > 0)
		uv_timer_start(&sv->watchdog_timer, on_watchdog, sd_watchdog_ms(), sd_watchdog_ms());
	uv_timer_init(&sv->loop, &sv->drain_timer);
	sv->drain_timer.data = sv;
	uv_timer_init(&sv->loop, &sv->stop_timer);
	sv->stop_timer.data = sv;
	if (tls_watch(&sv->tls, &sv->loop) != 0)
		BUG("the TLS gateway can't be watched");
	if (vacuum_open(&sv->vacuum, &sv->loop, (uint64_t)sv->config->autovacuum_naptime_s, start_vacuum, sv) != 0)
		BUG("no timer for autovacuum");
	keeper_open(sv);
	for (size_t i = 0; i < SIGNAL_COUNT; i++) {
		uv_signal_init(&sv->loop, &sv->signals[i]);
		sv->signals[i].data = sv;
		if (signal_numbers[i] != SIGHUP || is_server(sv))
			uv_signal_start(&sv->signals[i], on_signal, signal_numbers[i]);
	}
	return 0;
}

uv_loop_t *supervisor_loop(struct supervisor *sv)
{
	return &sv->loop;
}

const struct config *supervisor_config(const struct supervisor *sv)
{
	return sv->config;
}

int64_t supervisor_port(const struct supervisor *sv)
{
	return sv->gates[TCP].listener.fd >= 0 ? sv->gates[TCP].listener.port : sv->gates[LOCAL].listener.port;
}

/* Both ends are blocking and close-on-exec. */
static int connect_pair(struct supervisor *sv, int fds[2])
{
	if (sv->is_stopping)
		return -ESHUTDOWN;
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : -errno;
}

int supervisor_connect(struct supervisor *sv)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNIX};
	int fds[2];
	int rc = connect_pair(sv, fds);

	if (rc != 0)
		return rc;
	on_accept(sv, fds[0], &peer);
	return fds[1];
}

int supervisor_connect_to(struct supervisor *sv, struct cell *cell)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNIX};
	struct conn *conn;
	int fds[2];
	int rc = connect_pair(sv, fds);

	conn = rc != 0 ? NULL : add_conn(sv, fds[0], &peer);
	if (conn == NULL) {
		if (rc == 0)
			close(fds[1]);
		supervisor_advance(sv, cell);
		return rc != 0 ? rc : -ENOMEM;
	}
	conn->given = cell;
	return fds[1];
}

bool supervisor_is_stopping(const struct supervisor *sv)
{
	return sv->is_stopping;
}

void supervisor_stop(struct supervisor *sv, int exit_status)
{
	sv->exit_status = exit_status;
	if (!sv->is_stopping || sv->is_draining)
		stop(sv);
}

static void give_up(struct supervisor *sv, const char *why)
{
	fprintf(stderr, "pgcell %s: %s\n", sv->config->command, why);
	finish_now(sv);
}

/* Everything is set up, or why not. */
static void serve_clients(struct supervisor *sv, const char *reason)
{
	char err[1024];

	if (reason != NULL) {
		snprintf(err, sizeof(err), "authentication could not be set up: %s", reason);
		give_up(sv, err);
		return;
	}
	if (watch_gates(sv, err, sizeof(err)) != 0) {
		give_up(sv, err);
		return;
	}
	if (sv->hooks->on_ready != NULL)
		sv->hooks->on_ready(sv, sv->hooks->data);
	else
		supervisor_say_ready(sv);
	sd_notify("READY=1\nSTATUS=Serving");
}

int supervisor_run(const struct config *config, const struct supervisor_hooks *hooks)
{
	static struct supervisor supervisor;
	struct supervisor *sv = &supervisor;
	char err[1024];
	int rc;

	*sv = (struct supervisor){.config = config, .hooks = hooks};
	for (int i = 0; i < LISTENER_COUNT; i++)
		gate_init(&sv->gates[i], on_accept, sv);
	control_init(&sv->control);
	TAILQ_INIT(&sv->conns);
	operations_init(&sv->ops);
	observe_init(sv);
	cell_table_init(&sv->cells);
	backend_table_init(&sv->backends);
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();
	if (config->rest == NULL || config->rest[0] == NULL) /* no command that might want them */
		sandbox_no_new_privs();

	rc = tally_open((uint32_t)config->max_sessions);
	if (rc != 0) {
		fprintf(stderr, "pgcell %s: cannot count: %s\n", config->command, strerror(-rc));
		return 1;
	}
	/* Before libuv, which may start threads: the fork server must be single-threaded. */
	if (forkserver_start(&sv->fs, config->image_path, err, sizeof(err)) != 0) {
		fprintf(stderr, "pgcell %s: %s\n", config->command, err);
		return 1;
	}
	if (tls_start(&sv->tls, config->tls_cert, config->tls_key, err, sizeof(err)) != 0) {
		fprintf(stderr, "pgcell %s: %s\n", config->command, err);
		forkserver_stop(&sv->fs, true);
		return 1;
	}
	rc = uv_loop_init(&sv->loop);
	if (rc != 0) {
		fprintf(stderr, "pgcell %s: cannot start the event loop: %s\n", config->command, uv_strerror(rc));
		forkserver_stop(&sv->fs, true);
		tls_stop(&sv->tls, true);
		return 1;
	}
	if (init_loop(sv, err, sizeof(err)) != 0) {
		fprintf(stderr, "pgcell %s: %s\n", config->command, err);
		forkserver_stop(&sv->fs, true);
		tls_stop(&sv->tls, true);
		return 1;
	}

	if (open_gates(sv, err, sizeof(err)) == 0 &&
	    operations_open(&sv->ops, &sv->loop, config, &sv->server, err, sizeof(err)) == 0) {
		if (config->auth == AUTH_TRUST)
			serve_clients(sv, NULL);
		else if (auth_begin(&sv->auth, sv, serve_clients, err, sizeof(err)) != 0)
			give_up(sv, err);
	} else {
		give_up(sv, err);
	}
	uv_run(&sv->loop, UV_RUN_DEFAULT);

	forkserver_stop(&sv->fs, sv->is_immediate);
	tls_stop(&sv->tls, sv->is_immediate);
	backend_table_release(&sv->backends);
	cell_table_release(&sv->cells);
	config_release(&sv->reloaded);
	rc = uv_loop_close(&sv->loop);
	if (rc != 0)
		BUG("the event loop is not empty: %s", uv_strerror(rc));
	return sv->exit_status;
}

#define _GNU_SOURCE
#include "supervisor.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <uv.h>

#include "backend.h"
#include "cell.h"
#include "conn.h"
#include "forkserver.h"
#include "gate.h"
#include "log.h"
#include "vacuum.h"

#define CONNS_EXTRA 64 /* connections without a session, beyond max-sessions: cancel requests must get through */
#define CANCELS_PER_CELL_MAX 16 /* running at a time; clients need no password for these */
#define RECOVERIES_KILLED_MAX 10 /* in a row, by the machine's OOM killer, say: then recovery itself is at fault */
#define STOP_TIMEOUT_MS (FORKSERVER_STOP_GRACE_MS + 2000)

enum { TCP, LOCAL, LISTENER_COUNT };

struct supervisor {
	const struct config *config;
	const struct supervisor_hooks *hooks;
	uv_loop_t loop;
	struct forkserver fs;
	uv_poll_t fs_poll;
	struct gate gates[LISTENER_COUNT];
	uv_signal_t signals[2];
	uv_timer_t stop_timer;
	struct cell_table cells;
	struct backend_table backends;
	struct vacuum vacuum;
	TAILQ_HEAD(, conn) conns; /* all that are not closed */
	size_t conn_count;
	bool is_stopping;
	bool is_finished;
	bool is_immediate;
	int exit_status;
};

static void cell_advance(struct supervisor *sv, struct cell *cell);
static void finish(struct supervisor *sv);

/* ---- orders to the fork server ---- */

static void on_fs_event(uv_poll_t *poll, int status, int events);

static int send_order(struct supervisor *sv, struct order *order, int client_fd, int cell_fd)
{
	int rc = forkserver_send(&sv->fs, order, client_fd, cell_fd);

	if (forkserver_has_unsent(&sv->fs))
		uv_poll_start(&sv->fs_poll, UV_READABLE | UV_WRITABLE, on_fs_event);
	return rc;
}

static void pack_peer(struct order *order, const struct sockaddr_storage *peer)
{
	order->peer_family = peer->ss_family;
	if (peer->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)peer;

		order->peer_port = ntohs(in->sin_port);
		memcpy(order->peer_address, &in->sin_addr, sizeof(in->sin_addr));
	} else if (peer->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;

		order->peer_port = ntohs(in6->sin6_port);
		memcpy(order->peer_address, &in6->sin6_addr, sizeof(in6->sin6_addr));
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
	order.flags = cell->state == CELL_NEW ? ORDER_FRESH_CELL : 0;
	order.memory_limit_bytes = (uint64_t)sv->config->session_memory_mib << 20;
	order.cell_created_us = cell->created_us;
	if (conn != NULL) {
		pack_peer(&order, &conn->peer);
		pack_preread(&order, conn);
	}
	rc = send_order(sv, &order, conn != NULL ? conn->fd : -1, cell->fd);
	if (rc != 0) {
		backend_remove(&sv->backends, backend);
		return rc;
	}
	if (conn != NULL) {
		conn_park(conn);
		backend->conn = conn;
	}
	if (cell->state == CELL_NEW)
		cell_become(cell, CELL_POPULATING);
	return 0;
}

static int start_vacuum(void *data, struct cell *cell, enum session_kind kind)
{
	struct supervisor *sv = data;

	return sv->is_stopping ? -ESHUTDOWN : start_backend(sv, kind, cell, NULL);
}

static void kill_backends(struct supervisor *sv, struct cell *cell)
{
	static struct order order;
	struct backend *backend;

	LIST_FOREACH (backend, &cell->backends, cell_link) {
		memset(&order, 0, sizeof(order));
		order.type = ORDER_KILL;
		order.cookie = backend->cookie;
		if (send_order(sv, &order, -1, -1) != 0)
			log_error(cell->name, backend->pid, "cannot be ended");
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

/* After any event: does whatever the cell's state now allows. May remove the cell. */
static void cell_advance(struct supervisor *sv, struct cell *cell)
{
	struct conn *conn;

	if (sv->is_stopping)
		return;
	if (cell->state == CELL_CRASHED && LIST_EMPTY(&cell->backends) && !cell->is_private)
		recover(sv, cell);
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
	if (LIST_EMPTY(&cell->backends) && TAILQ_EMPTY(&cell->waiting) &&
	    (cell->is_private || cell->state == CELL_NEW))
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
	if (backend->conn != NULL) {
		struct conn *conn = backend->conn;

		backend->conn = NULL;
		conn_free(conn);
	}
	if (cell->state == CELL_POPULATING)
		cell_become(cell, CELL_READY);
	if (backend->kind == SESSION_CLIENT)
		vacuum_note_use(&sv->vacuum, cell);
	cell_advance(sv, cell);
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
	cell_advance(sv, cell);
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
	backend_remove(&sv->backends, backend);
	if (sv->is_stopping) {
		/* SIGKILL is how those end that do not end by themselves */
		if (!is_orderly && !(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL))
			log_error(cell->name, pid, "ended abnormally with %s", end);
		return;
	}
	if (kind == SESSION_RECOVER) {
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
	if (is_vacuum(kind))
		vacuum_ended(&sv->vacuum, cell, kind, is_success);
	cell_advance(sv, cell);
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
	if (target == NULL || target->cell->state != CELL_READY || running >= CANCELS_PER_CELL_MAX ||
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
	if (sv->cells.count >= (size_t)sv->config->max_cells) {
		conn_refuse(conn, "53400", "too many cells",
			    "Wait until a private cell ends, or start the server with a higher --max-cells.");
		return NULL;
	}
	cell = cell_add(&sv->cells, is_private ? NULL : name);
	if (cell == NULL)
		refuse_failed_start(conn, errno);
	return cell;
}

static void on_conn_packet(struct conn *conn)
{
	struct supervisor *sv = conn->owner_data;
	struct cell *cell;

	if (conn->startup.cancel_key != NULL) {
		cancel(sv, conn);
		return;
	}
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
	cell = find_cell(sv, conn);
	if (cell == NULL)
		return;
	conn->cell = cell;
	TAILQ_INSERT_TAIL(&cell->waiting, conn, cell_link);
	conn_wait(conn, (uint64_t)sv->config->session_wait_ms);
	cell_advance(sv, cell);
}

static void on_conn_gone(struct conn *conn)
{
	struct supervisor *sv = conn->owner_data;
	struct cell *cell = conn->cell;

	log_info(cell->name, 0, "a waiting client hung up");
	conn_free(conn);
	cell_advance(sv, cell);
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
	cell_advance(sv, cell);
}

static void on_conn_free(struct conn *conn)
{
	struct supervisor *sv = conn->owner_data;

	if (conn->cell != NULL)
		TAILQ_REMOVE(&conn->cell->waiting, conn, cell_link);
	conn->cell = NULL;
	TAILQ_REMOVE(&sv->conns, conn, all_link);
	sv->conn_count--;
}

static const struct conn_owner conn_owner = {
	.on_packet = on_conn_packet,
	.on_gone = on_conn_gone,
	.on_timeout = on_conn_timeout,
	.on_free = on_conn_free,
};

/* Takes fd. */
static void on_accept(void *data, int fd, const struct sockaddr_storage *peer)
{
	struct supervisor *sv = data;
	struct conn *conn;

	if (sv->conn_count >= (size_t)sv->config->max_sessions + CONNS_EXTRA) {
		gate_turn_away(fd);
		return;
	}
	conn = conn_new(&sv->loop, fd, peer, &conn_owner, sv, (uint64_t)sv->config->startup_timeout_ms);
	if (conn == NULL) {
		log_error(NULL, 0, "out of memory for a connection");
		return;
	}
	TAILQ_INSERT_TAIL(&sv->conns, conn, all_link);
	sv->conn_count++;
}

/* ---- life and death of the program ---- */

static void close_gates(struct supervisor *sv)
{
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
	uv_close((uv_handle_t *)&sv->stop_timer, NULL);
	vacuum_close(&sv->vacuum);
	for (size_t i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&sv->signals[i], NULL);
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

/* Listeners close, waiting clients hear why, sessions are asked to end; the fork server's end is ours. */
static void stop(struct supervisor *sv)
{
	static struct order order = {.type = ORDER_STOP};
	struct conn *conn;
	struct conn *next;

	log_info(NULL, 0, "stopping");
	sv->is_stopping = true;
	close_gates(sv);
	for (conn = TAILQ_FIRST(&sv->conns); conn != NULL; conn = next) {
		next = TAILQ_NEXT(conn, all_link);
		if (conn->state == CONN_WAITING)
			refuse_shutdown(conn);
		else if (conn->state == CONN_READING)
			conn_free(conn);
	}
	if (send_order(sv, &order, -1, -1) != 0) {
		finish_now(sv);
		return;
	}
	uv_timer_start(&sv->stop_timer, on_stop_timeout, STOP_TIMEOUT_MS, 0);
}

static void on_signal(uv_signal_t *handle, int signal_number)
{
	struct supervisor *sv = handle->data;

	if (sv->hooks->on_signal != NULL && sv->hooks->on_signal(sv, signal_number, sv->hooks->data))
		return;
	if (sv->is_stopping)
		finish_now(sv);
	else
		stop(sv);
}

static int open_gates(struct supervisor *sv, char *err, size_t err_len)
{
	const struct config *config = sv->config;
	int64_t port = config->port;

	if (config->listen_host != NULL) {
		if (listener_open_tcp(&sv->gates[TCP].listener, config->listen_host, port, err, err_len) != 0)
			return -1;
		port = sv->gates[TCP].listener.port;
	}
	if (config->socket_dir != NULL &&
	    listener_open_unix(&sv->gates[LOCAL].listener, config->socket_dir, port, err, err_len) != 0)
		return -1;
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
	const char *host = tcp->fd >= 0 ? tcp->host : sv->config->socket_dir;
	int64_t port = tcp->fd >= 0 ? tcp->port : local->port;

	printf("pgcell: ready on %s%s%s\n", tcp->fd >= 0 ? tcp->name : "", tcp->fd >= 0 && local->fd >= 0 ? " and " : "",
	       local->fd >= 0 ? local->name : "");
	printf("  psql -h %s -p %d -U postgres postgres\n", host, (int)port);
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
	static const int signal_numbers[2] = {SIGINT, SIGTERM};
	int rc = uv_poll_init(&sv->loop, &sv->fs_poll, sv->fs.fd);

	if (rc != 0) {
		snprintf(err, err_len, "cannot watch the fork server: %s", uv_strerror(rc));
		return -1;
	}
	sv->fs_poll.data = sv;
	uv_poll_start(&sv->fs_poll, UV_READABLE, on_fs_event);
	uv_timer_init(&sv->loop, &sv->stop_timer);
	sv->stop_timer.data = sv;
	if (vacuum_open(&sv->vacuum, &sv->loop, (uint64_t)sv->config->autovacuum_naptime_s, start_vacuum, sv) != 0)
		BUG("no timer for autovacuum");
	for (size_t i = 0; i < 2; i++) {
		uv_signal_init(&sv->loop, &sv->signals[i]);
		sv->signals[i].data = sv;
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

int supervisor_connect(struct supervisor *sv)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNIX};
	int fds[2];

	if (sv->is_stopping)
		return -ESHUTDOWN;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
		return -errno;
	on_accept(sv, fds[0], &peer);
	return fds[1];
}

bool supervisor_is_stopping(const struct supervisor *sv)
{
	return sv->is_stopping;
}

void supervisor_stop(struct supervisor *sv, int exit_status)
{
	sv->exit_status = exit_status;
	if (!sv->is_stopping)
		stop(sv);
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
	TAILQ_INIT(&sv->conns);
	cell_table_init(&sv->cells);
	backend_table_init(&sv->backends);
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();

	/* Before libuv, which may start threads: the fork server must be single-threaded. */
	if (forkserver_start(&sv->fs, config->image_path, err, sizeof(err)) != 0) {
		fprintf(stderr, "pgcell %s: %s\n", config->command, err);
		return 1;
	}
	rc = uv_loop_init(&sv->loop);
	if (rc != 0) {
		fprintf(stderr, "pgcell %s: cannot start the event loop: %s\n", config->command, uv_strerror(rc));
		forkserver_stop(&sv->fs, true);
		return 1;
	}
	if (init_loop(sv, err, sizeof(err)) != 0) {
		fprintf(stderr, "pgcell %s: %s\n", config->command, err);
		forkserver_stop(&sv->fs, true);
		return 1;
	}

	if (open_gates(sv, err, sizeof(err)) == 0) {
		if (hooks->on_ready != NULL)
			hooks->on_ready(sv, hooks->data);
		else
			supervisor_say_ready(sv);
	} else {
		fprintf(stderr, "pgcell %s: %s\n", config->command, err);
		finish_now(sv);
	}
	uv_run(&sv->loop, UV_RUN_DEFAULT);

	forkserver_stop(&sv->fs, sv->is_immediate);
	backend_table_release(&sv->backends);
	cell_table_release(&sv->cells);
	rc = uv_loop_close(&sv->loop);
	if (rc != 0)
		BUG("the event loop is not empty: %s", uv_strerror(rc));
	return sv->exit_status;
}

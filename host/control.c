#define _GNU_SOURCE
#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keeper.h"
#include "log.h"

#define CONNS_MAX 64
#define WORDS_MAX 3

struct control_conn {
	struct control *control;
	uv_poll_t poll;
	int fd; /* -1: closed; freed when no answer is awaited */
	bool is_busy;
	LIST_ENTRY(control_conn) link;
};

static const struct {
	const char *word;
	enum keeper_op op;
	int words_min, words_max;
	int name, source; /* which words; 0: none */
	bool has_file;
} requests[] = {
	{"create", KEEPER_CREATE, 2, 3, 1, 2, false},
	{"clone", KEEPER_CLONE, 3, 3, 2, 1, false},
	{"drop", KEEPER_DROP, 2, 3, 1, 0, false},
	{"snapshot", KEEPER_SNAPSHOT, 2, 2, 1, 0, true},
	{"restore", KEEPER_RESTORE, 2, 2, 1, 0, true},
};

static void on_conn_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void conn_close(struct control_conn *conn)
{
	if (conn->fd < 0)
		return;
	uv_poll_stop(&conn->poll);
	close(conn->fd);
	conn->fd = -1;
	conn->control->conn_count--;
	if (!conn->is_busy) {
		LIST_REMOVE(conn, link);
		uv_close((uv_handle_t *)&conn->poll, on_conn_closed);
	}
}

/* file_fd: goes along, -1: none; stays the caller's. */
static void send_answer(struct control_conn *conn, const char *text, int file_fd)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} ancillary;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (file_fd >= 0) {
		memset(&ancillary, 0, sizeof(ancillary));
		msg.msg_control = ancillary.bytes;
		msg.msg_controllen = sizeof(ancillary);
		CMSG_FIRSTHDR(&msg)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&msg)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&msg)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &file_fd, sizeof(int));
	}
	/* there is one answer at a time: if it does not fit, nobody reads */
	if (sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		conn_close(conn);
}

static void on_done(void *data, const char *sqlstate, const char *message)
{
	struct control_conn *conn = data;
	char text[CONTROL_ANSWER_MAX];

	conn->is_busy = false;
	if (conn->fd < 0) { /* hung up meanwhile */
		LIST_REMOVE(conn, link);
		uv_close((uv_handle_t *)&conn->poll, on_conn_closed);
		return;
	}
	if (sqlstate == NULL)
		snprintf(text, sizeof(text), "ok %s", message);
	else
		snprintf(text, sizeof(text), "error %s %s", sqlstate, message);
	send_answer(conn, text, -1);
}

static void list(struct control_conn *conn)
{
	int fd = memfd_create("pgcell-list", MFD_CLOEXEC);
	int rc = fd < 0 ? -errno : keeper_list(conn->control->sv, fd);

	if (rc == 0)
		send_answer(conn, "ok", fd);
	else
		on_done(conn, "58000", strerror(-rc));
	if (fd >= 0)
		close(fd);
}

/* Takes file_fd. `text` is cut into words. */
static void obey(struct control_conn *conn, char *text, int file_fd)
{
	char *words[WORDS_MAX] = {NULL};
	char *rest = text, *word;
	int count = 0;

	while ((word = strsep(&rest, " ")) != NULL && count < WORDS_MAX)
		words[count++] = word;
	if (word == NULL && count == 1 && file_fd < 0 && strcmp(words[0], "list") == 0) {
		list(conn);
		return;
	}
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct keeper_request request = {.op = requests[i].op, .file_fd = file_fd, .done = on_done, .data = conn};

		if (strcmp(words[0], requests[i].word) != 0)
			continue;
		if (word != NULL || count < requests[i].words_min || count > requests[i].words_max || requests[i].has_file != (file_fd >= 0))
			break;
		request.name = words[requests[i].name];
		request.source = requests[i].source == 0 ? NULL : words[requests[i].source];
		request.is_forced = request.op == KEEPER_DROP && count == 3 && strcmp(words[2], "force") == 0;
		conn->is_busy = true;
		keeper_request(conn->control->sv, &request);
		return;
	}
	if (file_fd >= 0)
		close(file_fd);
	on_done(conn, "08P01", "not a request; see pgcell cell --help");
}

static void on_request(uv_poll_t *poll, int status, int events)
{
	struct control_conn *conn = poll->data;
	char text[CONTROL_REQUEST_MAX + 1];
	struct iovec iov = {.iov_base = text, .iov_len = CONTROL_REQUEST_MAX};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} ancillary;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof(ancillary)};
	struct cmsghdr *header;
	int file_fd = -1;
	ssize_t len;

	(void)events;
	len = status < 0 ? -1 : recvmsg(conn->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (len < 0 && status == 0 && (errno == EAGAIN || errno == EINTR))
		return;
	header = len < 0 ? NULL : CMSG_FIRSTHDR(&msg);
	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&file_fd, CMSG_DATA(header), sizeof(int));
	/* one request at a time */
	if (len <= 0 || conn->is_busy || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		if (file_fd >= 0)
			close(file_fd);
		conn_close(conn);
		return;
	}
	text[len] = '\0';
	obey(conn, text, file_fd);
}

static void on_knock(uv_poll_t *poll, int status, int events)
{
	struct control *control = poll->data;
	struct control_conn *conn;
	int fd;

	(void)events;
	fd = status < 0 ? -1 : accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	conn = control->conn_count < CONNS_MAX ? calloc(1, sizeof(*conn)) : NULL;
	if (conn == NULL || uv_poll_init(poll->loop, &conn->poll, fd) != 0) {
		log_warn(NULL, 0, "too many connections to the control socket");
		free(conn);
		close(fd);
		return;
	}
	conn->control = control;
	conn->fd = fd;
	conn->poll.data = conn;
	LIST_INSERT_HEAD(&control->conns, conn, link);
	control->conn_count++;
	uv_poll_start(&conn->poll, UV_READABLE, on_request);
}

void control_init(struct control *control)
{
	*control = (struct control){.listener = LISTENER_CLOSED};
	LIST_INIT(&control->conns);
}

int control_open(struct control *control, struct supervisor *sv, const char *socket_dir, int64_t port, char *err, size_t err_len)
{
	int rc;

	if (listener_open_unix(&control->listener, socket_dir, LISTENER_CONTROL, port, err, err_len) != 0)
		return -1;
	control->sv = sv;
	rc = uv_poll_init(supervisor_loop(sv), &control->poll, control->listener.fd);
	if (rc != 0) {
		snprintf(err, err_len, "cannot watch %s: %s", control->listener.name, uv_strerror(rc));
		return -1;
	}
	control->poll.data = control;
	control->is_watched = true;
	uv_poll_start(&control->poll, UV_READABLE, on_knock);
	return 0;
}

void control_close(struct control *control)
{
	struct control_conn *conn, *next;

	if (control->is_watched)
		uv_close((uv_handle_t *)&control->poll, NULL);
	control->is_watched = false;
	listener_close(&control->listener);
	for (conn = LIST_FIRST(&control->conns); conn != NULL; conn = next) {
		next = LIST_NEXT(conn, link);
		conn->is_busy = false; /* nobody answers any more */
		if (conn->fd >= 0) {
			conn_close(conn);
		} else {
			LIST_REMOVE(conn, link);
			uv_close((uv_handle_t *)&conn->poll, on_conn_closed);
		}
	}
}

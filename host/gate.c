#define _GNU_SOURCE
#include "gate.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "wire.h"

#define ACCEPTS_PER_TURN 64 /* then the rest of the loop gets its turn */

void gate_init(struct gate *gate, gate_accept_fn *on_accept, void *data)
{
	memset(gate, 0, sizeof(*gate));
	gate->listener.fd = -1;
	gate->on_accept = on_accept;
	gate->data = data;
	gate->spare_fd = -1;
}

void gate_turn_away(int fd)
{
	uint8_t packet[256];
	size_t len = wire_error_encode(packet, sizeof(packet), "FATAL", "53300", "sorry, too many clients already", NULL,
				       NULL);

	if (send(fd, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_info(NULL, 0, "turned away a client that had gone already");
	close(fd);
}

/* Drops a client, or the level-triggered event would keep us spinning. */
static void shed_client(struct gate *gate)
{
	int fd;

	if (!gate->has_run_out_of_fds)
		log_error(NULL, 0, "out of file descriptors: clients are turned away (see ulimit -n)");
	gate->has_run_out_of_fds = true;
	if (gate->spare_fd >= 0)
		close(gate->spare_fd);
	fd = accept4(gate->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		gate->shed_count++;
		gate_turn_away(fd);
	}
	gate->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void admit(struct gate *gate, int fd, const struct sockaddr_storage *peer)
{
	int one = 1;

	gate->has_run_out_of_fds = false;
	if (peer->ss_family != AF_UNIX) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	gate->on_accept(gate->data, fd, peer);
}

static void on_knock(uv_poll_t *poll, int status, int events)
{
	struct gate *gate = poll->data;

	(void)events;
	if (status < 0) {
		log_error(NULL, 0, "%s: %s", gate->listener.name, uv_strerror(status));
		return;
	}
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t peer_len = sizeof(peer);
		int fd = accept4(gate->listener.fd, (struct sockaddr *)&peer, &peer_len, SOCK_CLOEXEC);

		if (fd >= 0) {
			admit(gate, fd, &peer);
		} else if (errno == EMFILE || errno == ENFILE) {
			shed_client(gate);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			if (errno != EAGAIN)
				log_warn(NULL, 0, "accept on %s: %s", gate->listener.name, strerror(errno));
			break;
		}
	}
}

int gate_watch(struct gate *gate, uv_loop_t *loop)
{
	int rc = uv_poll_init(loop, &gate->poll, gate->listener.fd);

	if (rc != 0)
		return rc;
	gate->poll.data = gate;
	gate->is_watched = true;
	gate->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return uv_poll_start(&gate->poll, UV_READABLE, on_knock);
}

void gate_close(struct gate *gate)
{
	if (gate->is_watched)
		uv_close((uv_handle_t *)&gate->poll, NULL);
	gate->is_watched = false;
	if (gate->spare_fd >= 0)
		close(gate->spare_fd);
	gate->spare_fd = -1;
	listener_close(&gate->listener);
}

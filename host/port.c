#define _GNU_SOURCE
#include "port.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "gate.h"
#include "leash.h"
#include "log.h"
#include "relay.h"
#include "supervisor.h"

struct client {
	struct relay *relay;
	struct port *port;
	LIST_ENTRY(client) link;
};

struct port {
	struct supervisor *sv;
	const struct config *config;
	/* standard input and output */
	struct relay *relay;
	int flags_to_restore[2];
	/* --socket */
	struct gate gate;
	struct leash leash;
	LIST_HEAD(, client) clients;
};

static struct relay_config relay_config(const struct config *config)
{
	return (struct relay_config){
		.framing = (enum framing_kind)config->framing,
		.does_startup = config->does_startup,
		.user = config->user,
		.database = config->database,
	};
}

/* ---- standard input and output ---- */

static int status_of(enum relay_end end)
{
	switch (end) {
	case RELAY_PARENT_LEFT:
	case RELAY_TERMINATED:
		return 0;
	case RELAY_NOT_STARTED:
		return PORT_NOT_STARTED;
	case RELAY_SESSION_ENDED:
		return PORT_SESSION_ENDED;
	case RELAY_FAILED:
		return PORT_FAILED;
	}
	BUG("a relay ended with %d", (int)end);
}

static void on_relay_end(struct relay *relay, enum relay_end end, void *data)
{
	struct port *port = data;

	relay_free(relay);
	port->relay = NULL;
	if (!supervisor_is_stopping(port->sv)) /* else it was us who ended the session */
		supervisor_stop(port->sv, status_of(end));
}

static void open_stdio(struct port *port)
{
	struct relay_config config = relay_config(port->config);
	int fds[2];

	config.on_end = on_relay_end;
	config.data = port;
	for (int i = 0; i < 2; i++) {
		fds[i] = channel_open_stdio(i, &port->flags_to_restore[i]);
		if (fds[i] < 0) {
			log_error(NULL, 0, "standard %s: %s", i == 0 ? "input" : "output", strerror(-fds[i]));
			if (i == 1)
				close(fds[0]);
			supervisor_stop(port->sv, PORT_FAILED);
			return;
		}
	}
	port->relay = relay_new(port->sv, fds[0], fds[1], &config);
	if (port->relay == NULL)
		supervisor_stop(port->sv, PORT_FAILED);
}

/* ---- a socket ---- */

static void client_free(struct client *client)
{
	relay_free(client->relay);
	LIST_REMOVE(client, link);
	free(client);
}

static void on_client_end(struct relay *relay, enum relay_end end, void *data)
{
	(void)relay;
	(void)end;
	client_free(data);
}

static void on_client(void *data, int fd, const struct sockaddr_storage *peer)
{
	struct port *port = data;
	struct relay_config config = relay_config(port->config);
	struct client *client = calloc(1, sizeof(*client));

	(void)peer;
	if (client == NULL) {
		log_error(NULL, 0, "out of memory for a client");
		close(fd);
		return;
	}
	config.on_end = on_client_end;
	config.data = client;
	client->port = port;
	client->relay = relay_new(port->sv, fd, fd, &config);
	if (client->relay == NULL)
		free(client);
	else
		LIST_INSERT_HEAD(&port->clients, client, link);
}

static void on_leash_end(void *data)
{
	struct port *port = data;

	leash_close(&port->leash);
	supervisor_stop(port->sv, 0);
}

static void open_socket(struct port *port)
{
	char err[1024];
	int rc;

	if (listener_open_path(&port->gate.listener, port->config->socket_path, err, sizeof(err)) != 0) {
		fprintf(stderr, "pgcell port: %s\n", err);
		supervisor_stop(port->sv, PORT_FAILED);
		return;
	}
	rc = gate_watch(&port->gate, supervisor_loop(port->sv));
	if (rc == 0)
		rc = leash_hold(&port->leash, supervisor_loop(port->sv), on_leash_end, port);
	if (rc != 0) {
		log_error(NULL, 0, "%s: %s", port->config->socket_path, uv_strerror(rc));
		supervisor_stop(port->sv, PORT_FAILED);
		return;
	}
	fprintf(stderr, "pgcell: ready on %s\n", port->config->socket_path);
}

/* ---- both ---- */

static void on_port_ready(struct supervisor *sv, void *data)
{
	struct port *port = data;

	port->sv = sv;
	if (port->config->socket_path != NULL)
		open_socket(port);
	else
		open_stdio(port);
}

static void on_port_finish(struct supervisor *sv, void *data)
{
	struct port *port = data;
	struct client *client;

	(void)sv;
	gate_close(&port->gate);
	leash_close(&port->leash);
	while ((client = LIST_FIRST(&port->clients)) != NULL)
		client_free(client);
	if (port->relay != NULL)
		relay_free(port->relay);
	port->relay = NULL;
}

int port_main(const struct config *config)
{
	static struct port port;
	const struct supervisor_hooks hooks = {.on_ready = on_port_ready, .on_finish = on_port_finish, .data = &port};
	int status;

	port = (struct port){.config = config, .flags_to_restore = {-1, -1}};
	gate_init(&port.gate, on_client, &port);
	leash_init(&port.leash);
	LIST_INIT(&port.clients);
	status = supervisor_run(config, &hooks);
	for (int i = 0; i < 2; i++)
		channel_restore_stdio(i, port.flags_to_restore[i]);
	return status;
}

#define _GNU_SOURCE
#include "tls_gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "log.h"
#include "sandbox.h"

#define BUFFER_BYTES 16384 /* a TLS record's most */
#define FILE_MAX (1u << 20) /* bytes of a certificate chain or a key */
#define TURN_MAX 16 /* buffers moved for one connection before the others get their turn */
#define ORDERS_PER_TURN 64
#define LINGER_MS 30000 /* for a client to take the last words of a session that has ended */

/* as PostgreSQL's default settings (src/backend/utils/misc/guc_tables.c) */
#define CIPHERS "HIGH:MEDIUM:+3DES:!aNULL"
#define GROUPS "X25519:prime256v1"

static const unsigned char alpn_protocols[] = "\x0apostgresql";
#define ALPN_LEN (sizeof(alpn_protocols) - 1)

/* bytes[start..end) are still to be passed on */
struct buffer {
	uint32_t start, end;
	uint8_t bytes[BUFFER_BYTES];
};

enum { CLIENT, INNER, SIDE_COUNT };

struct link {
	SSL *ssl;
	bool is_direct;
	bool is_open; /* after the handshake */
	bool has_client_ended, has_inner_ended; /* nothing more comes from there */
	bool is_end_passed_on; /* the client's, to the session */
	bool is_inner_deaf; /* the session takes no more */
	int fds[SIDE_COUNT];
	uv_poll_t polls[SIDE_COUNT];
	int wanted[SIDE_COUNT]; /* uv_poll_event */
	uv_timer_t linger;
	unsigned open_handles;
	struct buffer to_inner, to_client;
	LIST_ENTRY(link) all;
};

static uv_loop_t loop;
static uv_poll_t order_poll;
static uv_timer_t grace_timer;
static int socket_fd;
static SSL_CTX *context;
static LIST_HEAD(, link) links = LIST_HEAD_INITIALIZER(links);
static bool is_stopping;

static const char *ssl_error(void)
{
	unsigned long code = ERR_get_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	ERR_clear_error();
	if (reason != NULL)
		return reason;
	return code != 0 ? "unknown error" : "no SSL error reported";
}

/* ---- certificates ---- */

/* The whole file as a BIO, or NULL. */
static BIO *read_file(int fd)
{
	BIO *bio = BIO_new(BIO_s_mem());
	uint8_t bytes[4096];
	size_t total = 0;
	ssize_t got;

	while (bio != NULL && (got = read(fd, bytes, sizeof(bytes))) != 0) {
		total += got > 0 ? (size_t)got : 0;
		if (got < 0 || total > FILE_MAX || BIO_write(bio, bytes, (int)got) != got) {
			BIO_free(bio);
			bio = NULL;
		}
	}
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return bio;
}

/* What SSL_CTX_use_certificate_chain_file() does. */
static bool use_certificates(SSL_CTX *ctx, BIO *bio)
{
	X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	bool is_good = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;

	X509_free(cert);
	while (is_good && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		is_good = SSL_CTX_add0_chain_cert(ctx, cert) == 1;
		if (!is_good)
			X509_free(cert);
	}
	/* the end of the file is an error too */
	if (is_good && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
		ERR_clear_error();
	return is_good && ERR_peek_error() == 0;
}

static int no_passphrase(char *buf, int size, int is_writing, void *data)
{
	(void)buf, (void)size, (void)is_writing, (void)data;
	return -1;
}

static bool use_key(SSL_CTX *ctx, BIO *bio)
{
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	bool is_good = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1;

	EVP_PKEY_free(key);
	return is_good;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
			   unsigned int in_len, void *data)
{
	unsigned char *chosen;

	(void)ssl, (void)data;
	if (SSL_select_next_proto(&chosen, out_len, alpn_protocols, ALPN_LEN, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* Returns NULL when it is out of memory. */
static SSL_CTX *new_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_dh_auto(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1 ||
	    SSL_CTX_set1_groups_list(ctx, GROUPS) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

/* Takes both descriptors. From now on new connections get these; the old context lives as long as its connections. */
static void load(int cert_fd, int key_fd)
{
	struct tls_report report = {.is_loaded = 0};
	SSL_CTX *ctx = new_context();
	BIO *cert = read_file(cert_fd);
	BIO *key = read_file(key_fd);
	const char *problem = NULL;

	close(cert_fd);
	close(key_fd);
	if (ctx == NULL || cert == NULL || key == NULL)
		problem = "the files cannot be read";
	else if (!use_certificates(ctx, cert))
		problem = "server certificate";
	else if (!use_key(ctx, key))
		problem = "private key (one with a passphrase cannot be used)";
	else if (SSL_CTX_check_private_key(ctx) != 1)
		problem = "the key is not the certificate's";
	if (problem != NULL) {
		snprintf(report.message, sizeof(report.message), "%s: %s", problem, ssl_error());
		SSL_CTX_free(ctx);
	} else {
		report.is_loaded = 1;
		SSL_CTX_free(context);
		context = ctx;
	}
	BIO_free(cert);
	BIO_free(key); /* BIO_s_mem() clears what it held */
	ERR_clear_error();
	(void)!send(socket_fd, &report, sizeof(report), MSG_NOSIGNAL);
}

/* ---- connections ---- */

static void on_link_handle_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;

	if (--link->open_handles == 0)
		free(link);
}

static void link_free(struct link *link)
{
	LIST_REMOVE(link, all);
	for (int i = 0; i < SIDE_COUNT; i++) {
		if (link->polls[i].data != NULL)
			uv_close((uv_handle_t *)&link->polls[i], on_link_handle_closed);
		close(link->fds[i]);
	}
	uv_close((uv_handle_t *)&link->linger, on_link_handle_closed);
	SSL_free(link->ssl);
	if (is_stopping && LIST_EMPTY(&links))
		_exit(0);
}

/* Closing with unread input would reset the connection, and the client might never see the session's last words. */
static void close_politely(struct link *link)
{
	uint8_t dropped[4096];

	(void)SSL_shutdown(link->ssl);
	ERR_clear_error();
	shutdown(link->fds[CLIENT], SHUT_WR);
	for (int i = 0; i < 16 && recv(link->fds[CLIENT], dropped, sizeof(dropped), MSG_DONTWAIT) > 0; i++)
		;
	link_free(link);
}

enum outcome { MOVED, STUCK, BROKEN };

/* After a call to OpenSSL that did not succeed. */
static enum outcome wait_for_client(struct link *link, int rc)
{
	switch (SSL_get_error(link->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		link->wanted[CLIENT] |= UV_READABLE;
		return STUCK;
	case SSL_ERROR_WANT_WRITE:
		link->wanted[CLIENT] |= UV_WRITABLE;
		return STUCK;
	default:
		return BROKEN;
	}
}

static enum outcome shake_hands(struct link *link)
{
	const unsigned char *protocol;
	unsigned int len;
	uint8_t byte;
	int rc;

	/* the supervisor has run out of patience, or is stopping */
	if (recv(link->fds[INNER], &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		return BROKEN;
	ERR_clear_error();
	rc = SSL_accept(link->ssl);
	if (rc != 1) {
		enum outcome outcome = wait_for_client(link, rc);

		if (outcome == BROKEN)
			log_info(NULL, 0, "could not accept SSL connection: %s", ssl_error());
		link->wanted[INNER] |= UV_READABLE;
		return outcome;
	}
	SSL_get0_alpn_selected(link->ssl, &protocol, &len);
	if (link->is_direct && len == 0) {
		log_info(NULL, 0, "received direct SSL connection request without ALPN protocol negotiation extension");
		return BROKEN;
	}
	link->is_open = true;
	return MOVED;
}

static enum outcome read_client(struct link *link)
{
	int got;

	ERR_clear_error();
	got = SSL_read(link->ssl, link->to_inner.bytes, BUFFER_BYTES);
	if (got > 0) {
		link->to_inner.start = 0;
		link->to_inner.end = (uint32_t)got;
		return MOVED;
	}
	if (wait_for_client(link, got) == STUCK)
		return STUCK;
	/* close_notify, the connection's end without one, or a reset: it shows when we write */
	ERR_clear_error();
	link->has_client_ended = true;
	return MOVED;
}

static enum outcome write_inner(struct link *link)
{
	struct buffer *buffer = &link->to_inner;
	ssize_t sent = send(link->fds[INNER], buffer->bytes + buffer->start, buffer->end - buffer->start,
			    MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
		link->wanted[INNER] |= UV_WRITABLE;
		return STUCK;
	}
	if (sent < 0) { /* it reads no more, but may have said something before it went */
		link->is_inner_deaf = true;
		buffer->start = buffer->end;
		return MOVED;
	}
	buffer->start += (uint32_t)sent;
	return MOVED;
}

static enum outcome move_to_inner(struct link *link)
{
	if (link->to_inner.start < link->to_inner.end)
		return write_inner(link);
	if (!link->has_client_ended)
		return link->is_inner_deaf ? STUCK : read_client(link);
	if (!link->is_end_passed_on) {
		link->is_end_passed_on = true;
		shutdown(link->fds[INNER], SHUT_WR);
	}
	return STUCK;
}

/* The session has ended, and its client does not take what it said last. */
static void on_linger_over(uv_timer_t *timer)
{
	link_free(timer->data);
}

static enum outcome move_to_client(struct link *link)
{
	struct buffer *buffer = &link->to_client;
	ssize_t got;
	int sent;

	if (buffer->start < buffer->end) {
		ERR_clear_error();
		sent = SSL_write(link->ssl, buffer->bytes + buffer->start, (int)(buffer->end - buffer->start));
		if (sent <= 0)
			return wait_for_client(link, sent);
		buffer->start += (uint32_t)sent;
		return MOVED;
	}
	if (link->has_inner_ended)
		return STUCK;
	got = recv(link->fds[INNER], buffer->bytes, BUFFER_BYTES, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
		link->wanted[INNER] |= UV_READABLE;
		return STUCK;
	}
	if (got <= 0) {
		link->has_inner_ended = true;
		uv_timer_start(&link->linger, on_linger_over, LINGER_MS, 0);
		return MOVED;
	}
	buffer->start = 0;
	buffer->end = (uint32_t)got;
	return MOVED;
}

static void on_link_event(uv_poll_t *poll, int status, int events);

static void watch(struct link *link)
{
	for (int i = 0; i < SIDE_COUNT; i++) {
		if (link->wanted[i] != 0)
			uv_poll_start(&link->polls[i], link->wanted[i], on_link_event);
		else
			uv_poll_stop(&link->polls[i]);
	}
}

/* Everything that can be done now; may free the link. */
static void link_advance(struct link *link)
{
	enum outcome in = MOVED, out = MOVED;
	int turns = 0;

	link->wanted[CLIENT] = link->wanted[INNER] = 0;
	if (!link->is_open) {
		in = shake_hands(link);
		if (in == BROKEN) {
			link_free(link);
			return;
		}
	}
	for (; link->is_open && (in == MOVED || out == MOVED) && turns < TURN_MAX; turns++) {
		link->wanted[CLIENT] = link->wanted[INNER] = 0; /* each turn asks anew */
		in = move_to_inner(link);
		out = move_to_client(link);
		if (in == BROKEN || out == BROKEN) {
			link_free(link);
			return;
		}
		if (link->has_inner_ended && link->to_client.start == link->to_client.end) {
			close_politely(link);
			return;
		}
	}
	/* Out of turn: each way waits for what it needs next. OpenSSL may hold decrypted bytes of which the client's socket knows nothing. */
	if (link->is_open && in == MOVED) {
		link->wanted[INNER] |= UV_WRITABLE;
		if (link->to_inner.start == link->to_inner.end && !link->has_client_ended)
			link->wanted[CLIENT] |= UV_READABLE;
	}
	if (link->is_open && out == MOVED && link->to_client.start < link->to_client.end)
		link->wanted[CLIENT] |= UV_WRITABLE;
	else if (link->is_open && out == MOVED)
		link->wanted[INNER] |= UV_READABLE;
	watch(link);
}

static void on_link_event(uv_poll_t *poll, int status, int events)
{
	(void)status, (void)events; /* errors show when they are met */
	link_advance(poll->data);
}

/* Takes both descriptors. */
static void link_new(int client_fd, int inner_fd, bool is_direct)
{
	struct link *link = calloc(1, sizeof(*link));
	int fds[SIDE_COUNT] = {[CLIENT] = client_fd, [INNER] = inner_fd};
	bool is_good = true;

	if (link == NULL) {
		close(client_fd);
		close(inner_fd);
		return;
	}
	LIST_INSERT_HEAD(&links, link, all);
	link->is_direct = is_direct;
	memcpy(link->fds, fds, sizeof(fds));
	for (int i = 0; i < SIDE_COUNT && is_good; i++) {
		is_good = uv_poll_init(&loop, &link->polls[i], fds[i]) == 0;
		link->polls[i].data = is_good ? link : NULL;
		link->open_handles += is_good;
	}
	uv_timer_init(&loop, &link->linger);
	link->linger.data = link;
	link->open_handles++;
	link->ssl = is_good ? SSL_new(context) : NULL;
	if (link->ssl == NULL || SSL_set_fd(link->ssl, client_fd) != 1) {
		log_error(NULL, 0, "out of memory for a TLS connection");
		link_free(link);
		return;
	}
	link_advance(link);
}

/* ---- orders ---- */

/* 1: obeyed; 0: nothing now; -1: there will be no more. */
static int obey(void)
{
	struct tls_order order;
	struct iovec iov = {.iov_base = &order, .iov_len = sizeof(order)};
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control)};
	ssize_t len = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *header;
	int fds[2] = {-1, -1};
	size_t count = 0;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (len != (ssize_t)sizeof(order))
		return -1;
	header = CMSG_FIRSTHDR(&msg);
	if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), count * sizeof(int));
	}
	if (count == 2 && order.type == TLS_ORDER_ACCEPT && context != NULL) {
		link_new(fds[0], fds[1], order.is_direct != 0);
		return 1;
	}
	if (count == 2 && order.type == TLS_ORDER_LOAD) {
		load(fds[0], fds[1]);
		return 1;
	}
	if (count != 2)
		log_error(NULL, 0, "out of file descriptors: TLS clients are turned away (see ulimit -n)");
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return 1;
}

static void on_grace_over(uv_timer_t *timer)
{
	(void)timer;
	_exit(0);
}

static void on_order(uv_poll_t *poll, int status, int events)
{
	int rc = 1;

	(void)status, (void)events;
	for (int i = 0; i < ORDERS_PER_TURN && rc == 1; i++)
		rc = obey();
	if (rc >= 0)
		return;
	is_stopping = true;
	if (LIST_EMPTY(&links))
		_exit(0);
	uv_poll_stop(poll);
	uv_timer_start(&grace_timer, on_grace_over, TLS_STOP_GRACE_MS, 0);
}

/* ---- */

static void detach_from_surroundings(int fd, pid_t supervisor)
{
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	sigset_t none;
	int null_fd;

	prctl(PR_SET_NAME, "pgcell-tls");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != supervisor)
		_exit(1);
	setsid();
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd >= 0) {
		dup2(null_fd, STDIN_FILENO);
		dup2(null_fd, STDOUT_FILENO);
	}
	sandbox_close_others(STDERR_FILENO + 1, &fd, 1);
}

_Noreturn void tls_gateway_main(int fd, pid_t supervisor)
{
	static const struct rlimit no_core;
	char err[256];

	socket_fd = fd;
	detach_from_surroundings(fd, supervisor);
	setrlimit(RLIMIT_CORE, &no_core); /* it holds a key */
	prctl(PR_SET_DUMPABLE, 0);
	/* whatever OpenSSL reads of the file system, it reads now */
	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL);
	SSL_CTX_free(new_context());
	ERR_clear_error();
	setenv("UV_USE_IO_URING", "0", 1); /* libuv from 1.45 on would use it, and the filter forbids it */
	if (uv_loop_init(&loop) != 0 || uv_poll_init(&loop, &order_poll, socket_fd) != 0 ||
	    uv_timer_init(&loop, &grace_timer) != 0)
		BUG("the TLS gateway has no event loop");
	if (sandbox_enter_gateway(err, sizeof(err)) != 0) {
		struct tls_report report = {.is_loaded = 0};

		snprintf(report.message, sizeof(report.message), "%s", err);
		(void)!send(socket_fd, &report, sizeof(report), MSG_NOSIGNAL);
		_exit(1);
	}
	uv_poll_start(&order_poll, UV_READABLE, on_order);
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(0);
}

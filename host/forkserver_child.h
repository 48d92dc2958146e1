/*
 * The fork server's own life, in the child of forkserver_start(): opens the image, then obeys orders from socket_fd
 * until it closes. See forkserver.h for the protocol and session.h for what a session finds. Never returns.
 */
#ifndef PGCELL_FORKSERVER_CHILD_H
#define PGCELL_FORKSERVER_CHILD_H

#include <sys/types.h>

/* Takes socket_fd; closes every other descriptor above standard error. `supervisor` is the parent. */
_Noreturn void forkserver_child_main(int socket_fd, pid_t supervisor, const char *image_path);

#endif

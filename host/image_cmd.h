/* image_cmd.h - the command "pgcell image": builds images and tells what is in one. Build tools, not needed by a server. */
#ifndef PGCELL_IMAGE_CMD_H
#define PGCELL_IMAGE_CMD_H

/*
 * pgcell image build OUTPUT TARGET=SOURCE...	each host directory SOURCE becomes TARGET inside, PostgreSQL starts on /data
 * pgcell image info FILE
 * pgcell image postgres ARGV0 ARG...		the program "postgres" on the host's own files, for initdb
 * Returns an exit status.
 */
int cmd_image(int argc, char **argv);

#endif

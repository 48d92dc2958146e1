#ifndef PGCELL_STDIO_H
#define PGCELL_STDIO_H
#include_next <stdio.h>
extern FILE *popen(const char *command, const char *mode);
extern int	pclose(FILE *stream);
extern FILE *tmpfile(void);
#endif

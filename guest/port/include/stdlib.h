#ifndef PGCELL_STDLIB_H
#define PGCELL_STDLIB_H
#include_next <stdlib.h>
extern int	system(const char *command);
extern int	mkstemp(char *template);
extern char *realpath(const char *path, char *resolved);
#endif

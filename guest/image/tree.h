/*
 * tree.h - the files that go into an image.
 */
#ifndef PGCELL_TREE_H
#define PGCELL_TREE_H

#include <stddef.h>
#include <stdint.h>

/* A file's contents, or a directory if data is NULL; mode is its permission bits. data is valid during the call. Returns 0, or -1
 * to stop, after it has told why itself. */
typedef int (*tree_fn)(void *arg, const char *target, const void *data, size_t len, uint32_t mode);

/*
 * Calls fn for everything in trees, a NULL-terminated array of "TARGET=SOURCE": the path in the image and the file or directory it
 * comes from. Directories come before what is in them, names in the order of strcmp(), so that equal trees give equal images.
 * Other things than files and directories are left out. 0, or -1 with err filled.
 */
int tree_walk(char *const *trees, tree_fn fn, void *arg, char *err, size_t err_len) __attribute__((warn_unused_result));

#endif

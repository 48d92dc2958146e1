/*
 * vfs_fd.c
 *	  Descriptors, devices and pipes.
 */
#include <stdlib.h>
#include <string.h>

#include "vfs_fd.h"

#define PIPE_BYTES	512			/* PostgreSQL's self-pipe wants one byte at a time */

struct vfs_pipe
{
	uint32_t	head;			/* bytes ever written */
	uint32_t	tail;			/* bytes ever read */
	bool		has_reader;
	bool		has_writer;
	unsigned char bytes[PIPE_BYTES];
};

/*
 * The standard descriptors and the preopen exist from the start: libc asks for
 * them before anybody can have called vfs_format.
 */
static struct vfs_file standard[] =
{
	{.refs = 1,.kind = VFS_FK_HOST,.acc = VFS_ACC_READ,.is_static = true,.host_keep = true,.host_fd = 0},
	{.refs = 1,.kind = VFS_FK_HOST,.acc = VFS_ACC_WRITE,.is_static = true,.host_keep = true,.host_fd = 1},
	{.refs = 1,.kind = VFS_FK_HOST,.acc = VFS_ACC_WRITE,.is_static = true,.host_keep = true,.host_fd = 2},
	{.refs = 1,.kind = VFS_FK_DIR,.acc = VFS_ACC_READ,.is_static = true},
};

static struct vfs_file *table[VFS_FD_MAX] =
{
	&standard[0], &standard[1], &standard[2], &standard[3]
};

/* No descriptor is free below this one, and none is in use from fd_end on. */
static int	fd_free = 4;
static int	fd_end = 4;

/* ---- the table ---- */

struct vfs_file *
vfs_fd_get(int fd)
{
	return (unsigned) fd < VFS_FD_MAX ? table[fd] : NULL;
}

static int
install(struct vfs_file *f)
{
	while (fd_free < VFS_FD_MAX && table[fd_free])
		fd_free++;
	if (fd_free == VFS_FD_MAX)
		return -VFS_EMFILE;
	table[fd_free] = f;
	if (fd_end <= fd_free)
		fd_end = fd_free + 1;
	return fd_free++;
}

int
vfs_fd_new(enum vfs_file_kind kind, struct vfs_file **file)
{
	struct vfs_file *f = calloc(1, sizeof(*f));
	int			fd;

	if (f == NULL)
		return -VFS_ENOMEM;
	f->refs = 1;
	f->kind = (uint8_t) kind;
	f->host_fd = -1;
	fd = install(f);
	if (fd < 0)
		free(f);
	else
		*file = f;
	return fd;
}

/* Does this open file count as an open of f->inode? */
static bool
holds_inode(const struct vfs_file *f)
{
	return f->inode != 0;
}

/* The last descriptor is gone. */
static void
release(struct vfs_file *f, int *host_fd)
{
	if (f->wrote && holds_inode(f))
		vfs_inode_at(f->inode)->mtime_ns = vfs_clock_ns();
	if (holds_inode(f))
		vfs_inode_close(f->inode);
	if (f->pipe)
	{
		if (f->kind == VFS_FK_PIPE_READ)
			f->pipe->has_reader = false;
		else
			f->pipe->has_writer = false;
		if (!f->pipe->has_reader && !f->pipe->has_writer)
			free(f->pipe);
	}
	if (f->kind == VFS_FK_HOST && !f->host_keep)
		*host_fd = f->host_fd;
	if (!f->is_static)
		free(f);
}

int
vfs_fd_close(int fd, int *host_fd)
{
	struct vfs_file *f = vfs_fd_get(fd);

	*host_fd = -1;
	if (f == NULL)
		return VFS_EBADF;
	table[fd] = NULL;
	if (fd < fd_free)
		fd_free = fd;
	if (--f->refs == 0)
		release(f, host_fd);
	return 0;
}

int
vfs_fd_renumber(int from, int to, int *host_fd)
{
	struct vfs_file *f = vfs_fd_get(from);

	*host_fd = -1;
	if (f == NULL || (unsigned) to >= VFS_FD_MAX)
		return VFS_EBADF;
	if (from == to)
		return 0;
	if (table[to])
		vfs_fd_close(to, host_fd);
	table[to] = f;
	table[from] = NULL;
	if (fd_end <= to)
		fd_end = to + 1;
	if (from < fd_free)
		fd_free = from;
	return 0;
}

int
vfs_dup(int fd)
{
	struct vfs_file *f = vfs_fd_get(fd);
	int			copy;

	if (f == NULL)
		return -VFS_EBADF;
	copy = install(f);
	if (copy >= 0)
		f->refs++;
	return copy;
}

/*
 * Count the inherited descriptors.  Each open file is met once per descriptor;
 * only the first one counts.
 */
void
vfs_after_fork(void)
{
	if (vfs_sb == NULL)
		return;
	for (int fd = 0; fd < fd_end; fd++)
	{
		struct vfs_file *f = table[fd];
		int			first = 0;

		if (f == NULL || !holds_inode(f))
			continue;
		if (f->refs > 1)
			while (table[first] != f)
				first++;
		if (f->refs == 1 || first == fd)
			vfs_inode_open(f->inode);
	}
}

/* ---- opening ---- */

int
vfs_fd_dir(int fd, vaddr *dir, struct vfs_file **file)
{
	struct vfs_file *f = vfs_fd_get(fd);

	if (f == NULL)
		return VFS_EBADF;
	*file = f;
	if (f->kind == VFS_FK_HOST)
		return VFS_EHOST;
	if (f->kind != VFS_FK_DIR)
		return VFS_ENOTDIR;
	*dir = f->inode;
	return 0;
}

int
vfs_fd_open(int dirfd, const char *path, uint32_t oflags, bool follow,
			uint32_t acc, uint32_t fdflags)
{
	struct vfs_file *f;
	vaddr		dir;
	vaddr		inode;
	int			err = vfs_fd_dir(dirfd, &dir, &f);
	int			fd;

	if (err)
		return -err;

	/* Descriptor first: a failure after creating the file could not be undone. */
	fd = vfs_fd_new(VFS_FK_FILE, &f);
	if (fd < 0)
		return fd;
	err = vfs_path_open(dir, path, oflags, follow, acc, 0600, &inode);
	if (err)
	{
		vfs_fd_close(fd, &(int) {0});
		return -err;
	}
	f->inode = inode;
	f->acc = (uint8_t) acc;
	f->fdflags = (uint8_t) fdflags;
	f->is_bulk = vfs_is_bulk(path);
	switch (vfs_inode_type(vfs_inode_at(inode)))
	{
		case VFS_T_DIR:
			f->kind = VFS_FK_DIR;
			break;
		case VFS_T_CHAR:
			f->kind = VFS_FK_DEVICE;
			f->device = vfs_inode_at(inode)->device;
			if (f->device >= VFS_DEV_STDIN)
			{
				f->kind = VFS_FK_HOST;
				f->host_fd = (int) (f->device - VFS_DEV_STDIN);
				f->host_keep = true;
			}
			break;
	}
	return fd;
}

/* ---- reading and writing ---- */

static int
device_read(const struct vfs_file *f, void *buf, uint32_t len, uint32_t *done)
{
	int			err = 0;

	*done = f->device == VFS_DEV_NULL ? 0 : len;
	if (f->device == VFS_DEV_ZERO)
		memset(buf, 0, len);
	else if (f->device == VFS_DEV_RANDOM)
		err = vfs_random(buf, len);
	return err;
}

static int
pipe_read(struct vfs_pipe *p, unsigned char *buf, uint32_t len, uint32_t *done)
{
	uint32_t	n = 0;

	for (; n < len && p->tail != p->head; n++)
		buf[n] = p->bytes[p->tail++ % PIPE_BYTES];
	*done = n;
	return n == 0 && len > 0 && p->has_writer ? VFS_EAGAIN : 0;
}

static int
pipe_write(struct vfs_pipe *p, const unsigned char *buf, uint32_t len, uint32_t *done)
{
	uint32_t	n = 0;

	*done = 0;
	if (!p->has_reader)
		return VFS_EPIPE;
	for (; n < len && p->head - p->tail < PIPE_BYTES; n++)
		p->bytes[p->head++ % PIPE_BYTES] = buf[n];
	*done = n;
	return n == 0 && len > 0 ? VFS_EAGAIN : 0;
}

/* A regular file's inode, or NULL. */
static struct vfs_inode *
file_inode(const struct vfs_file *f)
{
	return f->kind == VFS_FK_FILE ? vfs_inode_at(f->inode) : NULL;
}

int
vfs_fd_read(struct vfs_file *f, void *buf, uint32_t len, const uint64_t *offset,
			uint32_t *done)
{
	struct vfs_inode *ip = file_inode(f);

	*done = 0;
	if (!(f->acc & VFS_ACC_READ))
		return VFS_EBADF;
	if (ip)
	{
		*done = vfs_data_read(ip, buf, len, offset ? *offset : f->offset);
		if (offset == NULL)
			f->offset += *done;
		return 0;
	}
	if (f->kind == VFS_FK_DEVICE)
		return device_read(f, buf, len, done);
	if (f->kind == VFS_FK_DIR)
		return VFS_EISDIR;
	if (offset)
		return VFS_ESPIPE;
	if (f->kind == VFS_FK_PIPE_READ)
		return pipe_read(f->pipe, buf, len, done);
	return VFS_EINVAL;
}

int
vfs_fd_write(struct vfs_file *f, const void *buf, uint32_t len,
			 const uint64_t *offset, uint32_t *done)
{
	struct vfs_inode *ip = file_inode(f);

	*done = 0;
	if (!(f->acc & VFS_ACC_WRITE))
		return VFS_EBADF;
	if (ip)
	{
		uint64_t	pos = offset ? *offset : f->offset;
		bool		append = (f->fdflags & VFS_FD_APPEND) && offset == NULL;
		int			err;

		vfs_writes_bulk = f->is_bulk;
		err = vfs_data_write(ip, buf, len, &pos, append, done);
		vfs_writes_bulk = false;
		if (offset == NULL)
			f->offset = pos + *done;
		if (!f->wrote && *done)
		{
			f->wrote = true;
			ip->mtime_ns = vfs_clock_ns();
		}
		return err;
	}
	if (f->kind == VFS_FK_DEVICE)
	{
		*done = len;
		return 0;
	}
	if (f->kind == VFS_FK_DIR)
		return VFS_EISDIR;
	if (offset)
		return VFS_ESPIPE;
	if (f->kind == VFS_FK_PIPE_WRITE)
		return pipe_write(f->pipe, buf, len, done);
	return VFS_EINVAL;
}

int
vfs_fd_seek(struct vfs_file *f, int64_t delta, enum vfs_whence whence,
			uint64_t *offset)
{
	uint64_t	from;
	uint64_t	to;

	if (f->kind == VFS_FK_PIPE_READ || f->kind == VFS_FK_PIPE_WRITE)
		return VFS_ESPIPE;
	if (f->kind == VFS_FK_DEVICE)
	{
		*offset = 0;
		return 0;
	}
	if (whence == VFS_SEEK_SET)
		from = 0;
	else if (whence == VFS_SEEK_CUR)
		from = f->offset;
	else if (whence == VFS_SEEK_END && f->kind == VFS_FK_FILE)
		from = vfs_inode_at(f->inode)->size;
	else
		return VFS_EINVAL;
	to = from + (uint64_t) delta;
	if ((int64_t) to < 0 || (delta > 0 && to < from))
		return VFS_EINVAL;
	*offset = f->offset = to;
	return 0;
}

int
vfs_fd_resize(struct vfs_file *f, uint64_t size)
{
	struct vfs_inode *ip;
	int			err;

	if (f->kind == VFS_FK_DIR)
		return VFS_EISDIR;
	if (f->kind != VFS_FK_FILE || !(f->acc & VFS_ACC_WRITE))
		return VFS_EINVAL;
	ip = vfs_inode_at(f->inode);
	err = vfs_data_resize(ip, size);
	if (err == 0)
		ip->mtime_ns = vfs_clock_ns();
	return err;
}

int
vfs_fd_allocate(struct vfs_file *f, uint64_t offset, uint64_t len)
{
	if (f->kind != VFS_FK_FILE || !(f->acc & VFS_ACC_WRITE))
		return VFS_EBADF;
	if (offset + len < offset)
		return VFS_EFBIG;
	if (offset + len <= vfs_inode_at(f->inode)->size)
		return 0;
	return vfs_fd_resize(f, offset + len);
}

int
vfs_fd_stat(struct vfs_file *f, struct vfs_stat *st)
{
	if (f->kind == VFS_FK_PIPE_READ || f->kind == VFS_FK_PIPE_WRITE)
	{
		memset(st, 0, sizeof(*st));
		st->type = VFS_T_STREAM;
		st->mode = 0600;
		st->nlink = 1;
		return 0;
	}
	if (f->inode == 0 && (f->kind != VFS_FK_DIR || vfs_sb == NULL))
		return VFS_ENOSYS;
	vfs_inode_stat(f->inode ? f->inode : vfs_sb->root, st);
	return 0;
}

int
vfs_fd_set_mtime(struct vfs_file *f, uint64_t mtime_ns)
{
	if (f->inode == 0)
		return VFS_EINVAL;
	vfs_inode_at(f->inode)->mtime_ns = mtime_ns;
	f->wrote = false;			/* or closing would undo it */
	return 0;
}

int
vfs_fchmod(int fd, uint32_t mode)
{
	struct vfs_file *f = vfs_fd_get(fd);
	struct vfs_inode *ip;

	if (f == NULL)
		return VFS_EBADF;
	if (f->inode == 0)
		return VFS_ENOTSUP;
	ip = vfs_inode_at(f->inode);
	VFS_SET(ip->mode, (uint16_t) ((ip->mode & ~07777) | (mode & 07777)));
	return 0;
}

int
vfs_fstat_mode(int fd)
{
	struct vfs_file *f = vfs_fd_get(fd);
	struct vfs_stat st;

	if (f == NULL)
		return -VFS_EBADF;
	return f->kind == VFS_FK_HOST || vfs_fd_stat(f, &st) ? -VFS_ENOTSUP : st.mode;
}

/* ---- pipes ---- */

int
vfs_pipe(int fd[2])
{
	struct vfs_pipe *p = calloc(1, sizeof(*p));
	struct vfs_file *reader;
	struct vfs_file *writer;

	if (p == NULL)
		return VFS_ENOMEM;
	fd[0] = vfs_fd_new(VFS_FK_PIPE_READ, &reader);
	if (fd[0] < 0)
	{
		free(p);
		return -fd[0];
	}
	fd[1] = vfs_fd_new(VFS_FK_PIPE_WRITE, &writer);
	if (fd[1] < 0)
	{
		vfs_fd_close(fd[0], &(int) {0});
		free(p);
		return -fd[1];
	}
	p->has_reader = p->has_writer = true;
	reader->pipe = writer->pipe = p;
	reader->acc = VFS_ACC_READ;
	writer->acc = VFS_ACC_WRITE;
	reader->fdflags = writer->fdflags = VFS_FD_NONBLOCK;
	return 0;
}

bool
vfs_fd_readable(int fd)
{
	const struct vfs_file *f = vfs_fd_get(fd);

	if (f == NULL || f->kind == VFS_FK_PIPE_WRITE)
		return false;
	if (f->kind == VFS_FK_PIPE_READ)
		return f->pipe->head != f->pipe->tail || !f->pipe->has_writer;
	return true;
}

/* ---- copying between files ---- */

/* Copy through a buffer what cannot be shared. */
static int
copy_bytes(struct vfs_inode *in, uint64_t *from, struct vfs_inode *out,
		   uint64_t *to, uint64_t len, uint64_t *done)
{
	static unsigned char buf[VFS_BLOCK_SIZE];

	while (len > 0)
	{
		uint32_t	n = len < sizeof(buf) ? (uint32_t) len : (uint32_t) sizeof(buf);
		uint32_t	written;
		int			err;

		n = vfs_data_read(in, buf, n, *from);
		if (n == 0)
			break;
		err = vfs_data_write(out, buf, n, to, false, &written);
		if (err)
			return err;
		*from += written;
		*to += written;
		*done += written;
		len -= written;
		if (written < n)
			break;
	}
	return 0;
}

int
vfs_copy_file_range(int fd_in, uint64_t *off_in, int fd_out, uint64_t *off_out,
					uint64_t len, uint64_t *done)
{
	struct vfs_file *fi = vfs_fd_get(fd_in);
	struct vfs_file *fo = vfs_fd_get(fd_out);
	struct vfs_inode *in;
	struct vfs_inode *out;
	uint64_t	from;
	uint64_t	to;
	int			err = 0;

	*done = 0;
	if (fi == NULL || fo == NULL)
		return VFS_EBADF;
	if (fi->kind == VFS_FK_HOST || fo->kind == VFS_FK_HOST)
		return VFS_EXDEV;
	in = file_inode(fi);
	out = file_inode(fo);
	if (in == NULL || out == NULL)
		return VFS_EINVAL;
	if (!(fi->acc & VFS_ACC_READ) || !(fo->acc & VFS_ACC_WRITE))
		return VFS_EBADF;
	from = off_in ? *off_in : fi->offset;
	to = off_out ? *off_out : fo->offset;
	if (from >= in->size)
		return 0;
	if (len > in->size - from)
		len = in->size - from;
	if (in == out && from < to + len && to < from + len)
		return VFS_EINVAL;

	if ((from ^ to) % VFS_BLOCK_SIZE == 0)
	{
		uint32_t	lead = (uint32_t) (-from % VFS_BLOCK_SIZE);
		uint32_t	n;
		uint32_t	shared;

		if (lead > 0)
			err = copy_bytes(in, &from, out, &to, lead < len ? lead : len, done);

		/*
		 * The source's last block may be shared though it is not full: its
		 * bytes past the end count only if the target ends there as well.
		 */
		n = (uint32_t) ((len - *done) / VFS_BLOCK_SIZE);
		if (err == 0 && *done < len && to + (len - *done) >= out->size &&
			from + (len - *done) == in->size)
			n = (uint32_t) ((len - *done + VFS_BLOCK_SIZE - 1) / VFS_BLOCK_SIZE);
		if (err == 0 && n > 0)
		{
			uint64_t	bytes;

			err = vfs_data_share(in, (uint32_t) (from >> VFS_BLOCK_SHIFT), out,
								 (uint32_t) (to >> VFS_BLOCK_SHIFT), n,
								 to + (len - *done < (uint64_t) n << VFS_BLOCK_SHIFT ?
									   len - *done : (uint64_t) n << VFS_BLOCK_SHIFT),
								 &shared);
			bytes = (uint64_t) shared << VFS_BLOCK_SHIFT;
			if (bytes > len - *done)
				bytes = len - *done;
			from += bytes;
			to += bytes;
			*done += bytes;
			if (shared < n && err == 0)
				err = VFS_ENOSPC;
		}
	}
	if (err == 0)
		err = copy_bytes(in, &from, out, &to, len - *done, done);
	if (*done)
		out->mtime_ns = vfs_clock_ns();
	if (off_in)
		*off_in = from;
	else
		fi->offset = from;
	if (off_out)
		*off_out = to;
	else
		fo->offset = to;
	return *done ? 0 : err;
}

/* ---- leaving ---- */

/*
 * The process is about to go, so host descriptors are the host's to close; a
 * port that lives on closes them through libc first.
 */
void
vfs_close_all(void)
{
	for (int fd = VFS_FD_ROOT + 1; fd < fd_end; fd++)
		if (table[fd])
			vfs_fd_close(fd, &(int) {0});
}

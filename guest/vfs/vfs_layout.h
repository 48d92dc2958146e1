/*
 * vfs_layout.h
 *	  The file system's structures as they lie in FILES.
 *
 * All of it is shared by the processes of a cell and saved with an image, so
 * sizes are fixed and pointers are guest addresses.  vfs.h has the picture.
 */
#ifndef VFS_LAYOUT_H
#define VFS_LAYOUT_H

#include "vfs.h"
#ifdef VFS_TRACK_CHANGES
#include "vfs_changes.h"
#endif

#define VFS_MAGIC			0x53465650u /* "PVFS" */
#define VFS_VERSION			2u

#define VFS_ZONE_SHIFT		13		/* blocks per counter page: 64 MiB of FILES */
#define VFS_ZONES			64		/* zones in the 32-bit address space */
#define VFS_HASH_PER_BLOCK	2048	/* chain heads in a block */
#define VFS_HASH_BLOCKS		64
#define VFS_NCLASSES		8
#define VFS_DISCARD_MIN		64		/* blocks; shorter runs wait for a trim */
#define VFS_TRIM_BLOCKS		2048	/* so many freed in short runs cause one */
#ifndef VFS_RESERVE_BLOCKS
#define VFS_RESERVE_BLOCKS	8192	/* 64 MiB that bulk files can't have */
#endif

/*
 * A block's counter.  1 .. VFS_CNT_MAX count the files' references; a block
 * with more is copied instead of shared.
 */
#define VFS_CNT_NONE		0x00	/* not ours: never granted */
#define VFS_CNT_MAX			0xFC
#define VFS_CNT_RESERVED	0xFD	/* super block, counter page, hash block */
#define VFS_CNT_SLAB		0xFE
#define VFS_CNT_FREE		0xFF

struct vfs_super
{
	uint32_t	magic;			/* stored last by vfs_format */
	uint32_t	version;
	struct vfs_region region;
	vaddr		base_next;		/* first unused byte of BASE */
	vaddr		bump;			/* first never granted byte of FILES */
	vaddr		root;			/* inode of "/" */
	vaddr		dev_root;		/* inode of "/dev" */

	/*
	 * Rename in progress: two entries; valid while rename_from is set, done
	 * once both name one inode.  See vfs_path_rename.
	 */
	vaddr		rename_from;
	vaddr		rename_to;

	uint32_t	granted;		/* blocks */
	uint32_t	nfree;			/* of which VFS_CNT_FREE */
	uint32_t	scan_hint;		/* block to look for a free one from */
	uint32_t	ninodes;
	uint32_t	nentries;
	uint32_t	nslabs;
	uint32_t	object_bytes;	/* in use in slabs */
	uint32_t	nbuckets;		/* of the name hash, a power of two */
	vaddr		partial[VFS_NCLASSES];	/* slabs with room */
	vaddr		counters[VFS_ZONES];
	vaddr		hash[VFS_HASH_BLOCKS];
	uint32_t	untrimmed;		/* blocks freed in short runs since the last trim */
	uint32_t	is_chunked;		/* not all of files_start .. bump is ours */
	uint32_t	pad[18];

	/* One cache line each.  Order: names before alloc. */
	volatile uint32_t lock_names;	/* names, open counts, attributes */
	uint32_t	pad1[15];
	volatile uint32_t lock_alloc;	/* blocks, slabs, block lists, sizes */
	uint32_t	pad2[15];
};

/*
 * List entries 0-3 are in the inode, 4-15, 16-63 and 64-255 in pieces of their
 * own, then come leaves of 2048 entries: the first from the inode, the others
 * from a root block.  Pieces never move, so that lookups need no lock.
 */
#define VFS_NDIRECT			4
#define VFS_NPIECES			3
#define VFS_LEAF_FIRST		256
#define VFS_LEAF_SHIFT		11
#define VFS_LEAF_ENTRIES	(1u << VFS_LEAF_SHIFT)
#define VFS_LIST_MAX		(VFS_LEAF_FIRST + (VFS_LEAF_ENTRIES << VFS_LEAF_SHIFT))

struct vfs_inode
{
	uint64_t	size;			/* bytes; files only */
	uint64_t	mtime_ns;
	uint16_t	mode;			/* type << 12 | permissions */
	uint16_t	nlink;			/* names; 1 for a directory that has its name */
	uint32_t	opens;			/* descriptions, all processes */
	union
	{
		struct					/* files, symbolic links */
		{
			uint32_t	direct[VFS_NDIRECT];
			vaddr		piece[VFS_NPIECES];
			uint32_t	leaf0;	/* block numbers */
			uint32_t	leaf_root;
		}			list;
		struct					/* directories */
		{
			vaddr		first;	/* entries in the order of their cookies */
			vaddr		last;
			vaddr		parent;
			vaddr		self;	/* own entry; only valid in tree walks */
			uint32_t	nentries;
			uint32_t	next_cookie;
			uint32_t	changes;	/* counts removals, for cached positions */
		}			dir;
		uint32_t	device;		/* enum vfs_device */
		uint32_t	words[10];
	};
};

enum vfs_device
{
	VFS_DEV_NULL,
	VFS_DEV_ZERO,
	VFS_DEV_RANDOM,
	VFS_DEV_STDIN,
	VFS_DEV_STDOUT,
	VFS_DEV_STDERR
};

struct vfs_dirent
{
	vaddr		hash_next;
	vaddr		dir;			/* inode of the directory it is in */
	vaddr		inode;			/* 0: not there (yet) */
	vaddr		next;			/* the truth; prev and hash_next are derived */
	vaddr		prev;
	uint32_t	cookie;			/* ascending along next, 2 and up */
	uint8_t		len;
	char		name[];			/* not terminated */
};

#define VFS_DIRENT_BYTES(len)	((uint32_t) offsetof(struct vfs_dirent, name) + (len))

/* At the start of a block; objects follow at offset 64. */
#define VFS_SLAB_HEADER		64

struct vfs_slab
{
	vaddr		next;			/* in super.partial[class] */
	uint16_t	size_class;
	uint16_t	nused;
	uint32_t	is_partial;
	uint32_t	used[8];		/* bit set = object in use */
	uint32_t	pad[5];
};

_Static_assert(sizeof(struct vfs_super) <= VFS_BLOCK_SIZE, "super block");
_Static_assert(offsetof(struct vfs_super, lock_names) % 64 == 0, "lock line");
_Static_assert(sizeof(struct vfs_inode) == 64, "inode");
_Static_assert(offsetof(struct vfs_dirent, name) == 25, "directory entry");
_Static_assert(sizeof(struct vfs_slab) == VFS_SLAB_HEADER, "slab header");

/*
 * The super block of this process's file system, NULL before vfs_format or
 * vfs_attach.
 */
extern struct vfs_super *vfs_sb;

/*
 * Blocks that a store fell into are noted, for a port that keeps FILES somewhere else as well (vfs_changes.h).  It is enough to do
 * that where contents are written and in the two macros below: vfs_recover makes the rest anew.
 */
static inline void
vfs_note_block(uint32_t block)
{
#ifdef VFS_TRACK_CHANGES
	vfs_changes->bits[block >> 3] |= (uint8_t) (1u << (block & 7));
#else
	(void) block;
#endif
}

static inline void
vfs_note_address(const volatile void *at)
{
#ifdef VFS_TRACK_CHANGES
	size_t		offset = (size_t) at - (size_t) vfs_ptr(0);

	/* some macro's stores are to variables of the process */
	if (offset >= vfs_sb->region.files_start && offset < VFS_CHANGES_END)
		vfs_note_block((uint32_t) (offset >> VFS_BLOCK_SHIFT));
#else
	(void) at;
#endif
}

/*
 * Stores that a kill may fall between.  Tests count them with a hook to kill
 * at each; otherwise it is a plain store.
 */
#ifdef VFS_TEST_STEPS
extern void vfs_test_step(void);
#define VFS_STEP()			vfs_test_step()
#else
#define VFS_STEP()			((void) 0)
#endif
#define VFS_SET(lvalue, value) \
	do { VFS_STEP(); (lvalue) = (value); vfs_note_address(&(lvalue)); } while (0)

/* A store that makes earlier ones visible, or that later ones depend on. */
#define VFS_PUBLISH(lvalue, value) \
	do { \
		vfs_barrier(); \
		VFS_STEP(); \
		*(volatile __typeof__(lvalue) *) &(lvalue) = (value); \
		vfs_note_address(&(lvalue)); \
		vfs_barrier(); \
	} while (0)

static inline struct vfs_inode *
vfs_inode_at(vaddr a)
{
	return vfs_ptr(a);
}

static inline struct vfs_dirent *
vfs_dirent_at(vaddr a)
{
	return vfs_ptr(a);
}

static inline unsigned
vfs_inode_type(const struct vfs_inode *ip)
{
	return ip->mode >> 12;
}

#endif							/* VFS_LAYOUT_H */

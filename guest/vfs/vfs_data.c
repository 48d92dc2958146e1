/*
 * vfs_data.c
 *	  Block lists and file contents (declared in vfs_block.h).
 *
 * A list entry is one word, stored only when the block behind it is complete,
 * and the size is stored after the entries it covers; so a reader without lock
 * finds a hole, the old block or the new one.  Bytes of the last block past
 * the size are undefined and are zeroed when the file grows over them.
 */
#include <string.h>

#include "vfs_block.h"

#define IN_BLOCK(offset)	((uint32_t) (offset) & (VFS_BLOCK_SIZE - 1))
#define INDEX_OF(offset)	((uint32_t) ((offset) >> VFS_BLOCK_SHIFT))
#define SIZE_MAX_BYTES		((uint64_t) VFS_LIST_MAX << VFS_BLOCK_SHIFT)

static uint32_t
blocks_for(uint64_t size)
{
	return (uint32_t) ((size + VFS_BLOCK_SIZE - 1) >> VFS_BLOCK_SHIFT);
}

/* ---- block lists ---- */

/* Of entry 4..255: the piece it is in, 0..2, which begins at entry 4 << 2n. */
static inline uint32_t
piece_of(uint32_t index)
{
	return (31 - (uint32_t) __builtin_clz(index)) / 2 - 1;
}

static inline uint32_t
piece_first(uint32_t piece)
{
	return 4u << 2 * piece;
}

static inline uint32_t
piece_bytes(uint32_t piece)
{
	return 3 * piece_first(piece) * (uint32_t) sizeof(uint32_t);
}

uint32_t *
vfs_list_slot(struct vfs_inode *ip, uint32_t index)
{
	uint32_t	leaf;

	if (index < VFS_NDIRECT)
		return &ip->list.direct[index];
	if (index < VFS_LEAF_FIRST)
	{
		uint32_t	p = piece_of(index);
		vaddr		piece = ip->list.piece[p];

		return piece ? (uint32_t *) vfs_ptr(piece) + (index - piece_first(p)) : NULL;
	}
	index -= VFS_LEAF_FIRST;
	if (index < VFS_LEAF_ENTRIES)
		leaf = ip->list.leaf0;
	else if (ip->list.leaf_root == 0 ||
			 index >= VFS_LEAF_ENTRIES << VFS_LEAF_SHIFT)
		return NULL;
	else
		leaf = ((uint32_t *) vfs_block_ptr(ip->list.leaf_root))[index >> VFS_LEAF_SHIFT];
	if (leaf == 0)
		return NULL;
	return (uint32_t *) vfs_block_ptr(leaf) + (index & (VFS_LEAF_ENTRIES - 1));
}

/* Hang a zeroed block on *where unless there is one. */
static bool
ensure_leaf(uint32_t *where)
{
	bool		zeroed;
	uint32_t	block;

	if (*where)
		return true;
	block = vfs_block_alloc(&zeroed);
	if (block == 0)
		return false;
	if (!zeroed)
		memset(vfs_block_ptr(block), 0, VFS_BLOCK_SIZE);
	vfs_note_block(block);
	VFS_PUBLISH(*where, block);
	return true;
}

uint32_t *
vfs_list_slot_create(struct vfs_inode *ip, uint32_t index)
{
	uint32_t   *slot = vfs_list_slot(ip, index);

	if (slot)
		return slot;
	if (index < VFS_LEAF_FIRST)
	{
		uint32_t	p = piece_of(index);
		vaddr		piece = vfs_object_alloc(piece_bytes(p));

		if (piece == 0)
			return NULL;
		VFS_PUBLISH(ip->list.piece[p], piece);
	}
	else if (index - VFS_LEAF_FIRST < VFS_LEAF_ENTRIES)
	{
		if (!ensure_leaf(&ip->list.leaf0))
			return NULL;
	}
	else
	{
		uint32_t	n = (index - VFS_LEAF_FIRST) >> VFS_LEAF_SHIFT;

		if (n >= VFS_LEAF_ENTRIES || !ensure_leaf(&ip->list.leaf_root) ||
			!ensure_leaf((uint32_t *) vfs_block_ptr(ip->list.leaf_root) + n))
			return NULL;
	}
	return vfs_list_slot(ip, index);
}

uint32_t *
vfs_list_array(struct vfs_inode *ip, uint32_t n, uint32_t *first, uint32_t *count)
{
	if (n == 0)
	{
		*first = 0;
		*count = VFS_NDIRECT;
	}
	else if (n <= VFS_NPIECES)
	{
		*first = piece_first(n - 1);
		*count = 3 * *first;
	}
	else
	{
		n -= VFS_NPIECES + 1;
		*first = VFS_LEAF_FIRST + (n << VFS_LEAF_SHIFT);

		/* Without a root block there is only the first leaf. */
		*count = n == 0 || (n < VFS_LEAF_ENTRIES && ip->list.leaf_root) ?
			VFS_LEAF_ENTRIES : 0;
		if (*count == 0)
			return NULL;
	}
	return vfs_list_slot(ip, *first);
}

void
vfs_list_trim(struct vfs_inode *ip, uint32_t nblocks)
{
	uint32_t	first;
	uint32_t	count;
	uint32_t   *slots;
	bool		keep_root = nblocks > VFS_LEAF_FIRST + VFS_LEAF_ENTRIES;

	for (uint32_t n = 0; slots = vfs_list_array(ip, n, &first, &count), count; n++)
	{
		if (slots == NULL || first + count <= nblocks)
			continue;
		for (uint32_t i = first < nblocks ? nblocks - first : 0; i < count; i++)
		{
			uint32_t	block = slots[i];

			if (block == 0)
				continue;
			VFS_PUBLISH(slots[i], 0);
			vfs_block_unref(block);
		}
		if (first < nblocks || n == 0)
			continue;
		if (n <= VFS_NPIECES)
		{
			vaddr		piece = ip->list.piece[n - 1];

			VFS_PUBLISH(ip->list.piece[n - 1], 0);
			vfs_object_free(piece, piece_bytes(n - 1));
		}
		else
		{
			uint32_t	leaf_no = n - VFS_NPIECES - 1;
			uint32_t   *where = leaf_no == 0 ? &ip->list.leaf0 :
				(uint32_t *) vfs_block_ptr(ip->list.leaf_root) + leaf_no;
			uint32_t	leaf = *where;

			VFS_PUBLISH(*where, 0);
			vfs_block_unref(leaf);
		}
	}
	if (ip->list.leaf_root && !keep_root)
	{
		uint32_t	root = ip->list.leaf_root;

		VFS_PUBLISH(ip->list.leaf_root, 0);
		vfs_block_unref(root);
	}
	vfs_free_flush();
}

/* ---- contents ---- */

/* May this block be written in place? */
static inline bool
is_private(uint32_t block)
{
	return block != 0 && !vfs_is_base(block) && *vfs_counter(block) == 1;
}

uint32_t
vfs_data_read(struct vfs_inode *ip, void *buf, uint32_t len, uint64_t offset)
{
	uint64_t	size = *(volatile uint64_t *) &ip->size;
	unsigned char *to = buf;
	uint32_t	left;

	if (offset >= size)
		return 0;
	if (len > size - offset)
		len = (uint32_t) (size - offset);
	for (left = len; left > 0;)
	{
		uint32_t	in = IN_BLOCK(offset);
		uint32_t	n = VFS_BLOCK_SIZE - in;
		uint32_t   *slot = vfs_list_slot(ip, INDEX_OF(offset));
		uint32_t	block = slot ? *slot : 0;

		if (n > left)
			n = left;
		if (block)
			vfs_block_copy(to, block, in, n);
		else
			memset(to, 0, n);
		to += n;
		offset += n;
		left -= n;
	}
	return len;
}

/*
 * Write within one block that may have to be allocated or copied first, or
 * with from == NULL write zeros.
 */
static int
write_block(struct vfs_inode *ip, uint32_t index, uint32_t in, const void *from,
			uint32_t n)
{
	uint32_t   *slot = vfs_list_slot_create(ip, index);
	uint32_t	old;
	uint32_t	block;
	unsigned char *p;
	bool		zeroed;

	if (slot == NULL)
		return VFS_ENOSPC;
	old = *slot;
	if (is_private(old))
	{
		p = vfs_block_ptr(old) + in;
		if (from)
			memcpy(p, from, n);
		else
			memset(p, 0, n);
		vfs_note_block(old);
		return 0;
	}
	if (vfs_writes_bulk && !vfs_bulk_has_room())
		return VFS_ENOSPC;
	block = vfs_block_alloc(&zeroed);
	if (block == 0)
		return VFS_ENOSPC;
	p = vfs_block_ptr(block);
	if (n < VFS_BLOCK_SIZE)
	{
		if (old)
			vfs_block_copy(p, old, 0, VFS_BLOCK_SIZE);
		else if (!zeroed)
			memset(p, 0, VFS_BLOCK_SIZE);
	}
	if (from)
		memcpy(p + in, from, n);
	else if (old || !zeroed)
		memset(p + in, 0, n);
	vfs_note_block(block);
	VFS_PUBLISH(*slot, block);
	vfs_block_unref(old);
	vfs_free_flush();
	return 0;
}

/* The file is about to grow: what it grows over must read as zeros. */
static int
clear_tail(struct vfs_inode *ip)
{
	uint32_t	in = IN_BLOCK(ip->size);
	uint32_t   *slot;

	if (in == 0)
		return 0;
	slot = vfs_list_slot(ip, INDEX_OF(ip->size));
	if (slot == NULL || *slot == 0)
		return 0;
	return write_block(ip, INDEX_OF(ip->size), in, NULL, VFS_BLOCK_SIZE - in);
}

/* The part of vfs_data_write that lies in one block, with the lock held. */
static int
write_locked(struct vfs_inode *ip, const unsigned char *from, uint32_t n,
			 uint64_t offset)
{
	int			err = 0;

	if (offset + n > SIZE_MAX_BYTES)
		return VFS_EFBIG;
	if (offset > ip->size)
		err = clear_tail(ip);
	if (err == 0)
		err = write_block(ip, INDEX_OF(offset), IN_BLOCK(offset), from, n);
	if (err == 0 && offset + n > ip->size)
		VFS_PUBLISH(ip->size, offset + n);
	return err;
}

int
vfs_data_write(struct vfs_inode *ip, const void *buf, uint32_t len,
			   uint64_t *offset, bool append, uint32_t *done)
{
	const unsigned char *from = buf;
	uint64_t	pos;
	uint32_t	left = len;
	int			err = 0;

	if (append)
	{
		vfs_lock_alloc();
		*offset = ip->size;
	}
	pos = *offset;
	if (pos > SIZE_MAX_BYTES)
		err = VFS_EFBIG;
	while (left > 0 && err == 0)
	{
		uint32_t	in = IN_BLOCK(pos);
		uint32_t	n = VFS_BLOCK_SIZE - in;
		uint32_t   *slot;

		if (n > left)
			n = left;
		if (pos + n <= ip->size &&
			(slot = vfs_list_slot(ip, INDEX_OF(pos))) != NULL &&
			is_private(*slot))
		{
			memcpy(vfs_block_ptr(*slot) + in, from, n);
			vfs_note_block(*slot);
		}
		else if (append)
			err = write_locked(ip, from, n, pos);
		else
		{
			vfs_lock_alloc();
			err = write_locked(ip, from, n, pos);
			vfs_unlock_alloc();
		}
		if (err)
			break;
		from += n;
		pos += n;
		left -= n;
	}
	if (append)
		vfs_unlock_alloc();
	*done = len - left;
	return *done ? 0 : err;
}

int
vfs_data_resize(struct vfs_inode *ip, uint64_t size)
{
	int			err = 0;

	if (size > SIZE_MAX_BYTES)
		return VFS_EFBIG;
	vfs_lock_alloc();
	if (size > ip->size)
	{
		err = clear_tail(ip);
		if (err == 0)
			VFS_PUBLISH(ip->size, size);
	}
	else if (size < ip->size)
	{
		/* Size first: entries past it are known to be garbage after a kill. */
		VFS_PUBLISH(ip->size, size);
		vfs_list_trim(ip, blocks_for(size));
	}
	vfs_unlock_alloc();
	return err;
}

int
vfs_data_share(struct vfs_inode *from, uint32_t src, struct vfs_inode *to,
			   uint32_t dst, uint32_t n, uint64_t end, uint32_t *done)
{
	int			err = 0;

	*done = 0;
	if ((uint64_t) dst + n > VFS_LIST_MAX)
		return VFS_EFBIG;
	vfs_lock_alloc();
	if (((uint64_t) dst << VFS_BLOCK_SHIFT) > to->size)
		err = clear_tail(to);
	for (; *done < n && err == 0; ++*done)
	{
		uint32_t   *in = vfs_list_slot(from, src + *done);
		uint32_t	block = in ? *in : 0;
		uint32_t   *out = vfs_list_slot(to, dst + *done);
		uint32_t	old = out ? *out : 0;

		if (block == old)
			continue;
		if (out == NULL && (out = vfs_list_slot_create(to, dst + *done)) == NULL)
		{
			err = VFS_ENOSPC;
			break;
		}
		if (block && !vfs_is_base(block))
		{
			uint8_t    *counter = vfs_counter(block);

			if (*counter >= VFS_CNT_MAX)
			{
				err = write_block(to, dst + *done, 0, vfs_block_ptr(block),
								  VFS_BLOCK_SIZE);
				if (err)
					break;
				continue;
			}
			VFS_SET(*counter, *counter + 1);
		}
		VFS_PUBLISH(*out, block);
		vfs_block_unref(old);
	}
	vfs_free_flush();
	if (*done < n)
		end = (uint64_t) (dst + *done) << VFS_BLOCK_SHIFT;
	if (*done && end > to->size)
		VFS_PUBLISH(to->size, end);
	vfs_unlock_alloc();
	return *done ? 0 : err;
}

/**
 * Reads the files in blocks that an instance of another image has stored: the guest's file system, from outside (guest/vfs/vfs_layout.h).
 * An instance of the same image takes the blocks as they are.
 */
import { StorageError } from './errors.ts';
import { BLOCK_BYTES } from './storage.ts';
import type { TarEntry } from './tar.ts';

/** Where the file system begins (PGCELL_FILES_START in guest/port/layout.h). */
const SUPER_BLOCK = 0x02000000;
const MAGIC = 0x53465650;
const VERSION = 2;
const AT_ROOT = 32;

/** In an inode. */
const AT_SIZE = 0;
const AT_MTIME_NS = 8;
const AT_MODE = 16;
const AT_DIRECT = 24;
const AT_PIECES = 40;
const AT_FIRST_LEAF = 52;
const AT_LEAF_ROOT = 56;
const AT_FIRST_ENTRY = 24;
const DIRECTORY = 3;
const FILE = 4;

/** In a directory entry. */
const AT_INODE = 8;
const AT_NEXT = 12;
const AT_NAME_LENGTH = 24;
const AT_NAME = 25;

/** Where the parts of a list of blocks begin, and how many entries a leaf has. */
const PIECES = [4, 16, 64, 256] as const;
const LEAF_ENTRIES = 2048;
/** Against damage that makes a circle. */
const MAX_ENTRIES = 1_000_000;
const MAX_FILE_BYTES = 0x7fffffff;

const decoder = new TextDecoder();

/**
 * What is in a directory of the guest, without what is neither file nor directory.
 *
 * @param blocks all that is stored, by number
 * @param path of a directory, such as `/data`
 * @throws StorageError when the blocks are damaged, or of a version that this one can't read
 */
export function* readStoredFiles(blocks: ReadonlyMap<number, Uint8Array>, path: string): Generator<TarEntry> {
  const reader = new Reader(blocks);
  let inode = reader.root();
  for (const name of path.split('/').filter(Boolean)) {
    const found = [...reader.entries(inode)].find((entry) => entry.name === name);
    if (found === undefined) {
      throw new StorageError(`the stored files have no ${path}`);
    }
    inode = found.inode;
  }
  yield* walk(reader, inode, '');
}

function* walk(reader: Reader, directory: number, prefix: string): Generator<TarEntry> {
  for (const { name, inode } of reader.entries(directory)) {
    const mode = reader.u16(inode + AT_MODE);
    const entry = { name: prefix + name, mode: mode & 0o7777, mtimeMs: Number(reader.u64(inode + AT_MTIME_NS) / 1_000_000n) };
    if (mode >> 12 === DIRECTORY) {
      yield entry;
      yield* walk(reader, inode, `${entry.name}/`);
    } else if (mode >> 12 === FILE) {
      yield { ...entry, bytes: reader.contents(inode) };
    }
  }
}

class Reader {
  readonly #blocks: ReadonlyMap<number, Uint8Array>;
  #entriesLeft = MAX_ENTRIES;

  constructor(blocks: ReadonlyMap<number, Uint8Array>) {
    this.#blocks = blocks;
  }

  /** The inode of the root directory. */
  root(): number {
    const [magic, version] = [this.u32(SUPER_BLOCK), this.u32(SUPER_BLOCK + 4)];
    if (magic !== MAGIC || version !== VERSION) {
      throw new StorageError(`the stored files are in a form that this pgcell can't read: ${magic === MAGIC ? `version ${version}` : 'unknown'}`);
    }
    return this.u32(SUPER_BLOCK + AT_ROOT);
  }

  *entries(directory: number): Generator<{ name: string; inode: number }> {
    for (let at = this.u32(directory + AT_FIRST_ENTRY); at !== 0; at = this.u32(at + AT_NEXT)) {
      if (this.#entriesLeft-- === 0) {
        throw damaged('directories');
      }
      const inode = this.u32(at + AT_INODE);
      if (inode !== 0) {
        const length = this.#view(at + AT_NAME_LENGTH, 1).getUint8(0);
        const { buffer, byteOffset } = this.#view(at + AT_NAME, length);
        yield { name: decoder.decode(new Uint8Array(buffer, byteOffset, length)), inode };
      }
    }
  }

  contents(file: number): Uint8Array {
    const size = Number(this.u64(file + AT_SIZE));
    if (size > MAX_FILE_BYTES) {
      throw damaged('sizes');
    }
    const bytes = new Uint8Array(size);
    for (let at = 0, index = 0; at < size; at += BLOCK_BYTES, index++) {
      const number = this.#blockOf(file, index);
      if (number !== 0) {
        bytes.set(this.#block(number).subarray(0, size - at), at);
      }
    }
    return bytes;
  }

  u16(address: number): number {
    return this.#view(address, 2).getUint16(0, true);
  }

  u32(address: number): number {
    return this.#view(address, 4).getUint32(0, true);
  }

  u64(address: number): bigint {
    return this.#view(address, 8).getBigUint64(0, true);
  }

  /** The number of a file's block; 0 for one of zeros. */
  #blockOf(file: number, index: number): number {
    if (index < PIECES[0]) {
      return this.u32(file + AT_DIRECT + 4 * index);
    }
    const piece = PIECES.findLastIndex((first) => index >= first);
    if (piece < PIECES.length - 1) {
      const address = this.u32(file + AT_PIECES + 4 * piece);
      return address === 0 ? 0 : this.u32(address + 4 * (index - PIECES[piece]!));
    }
    const inLeaves = index - PIECES[3];
    const leaf = Math.floor(inLeaves / LEAF_ENTRIES);
    return this.#entry(leaf === 0 ? this.u32(file + AT_FIRST_LEAF) : this.#entry(this.u32(file + AT_LEAF_ROOT), leaf), inLeaves % LEAF_ENTRIES);
  }

  /** Of a block that is a list of numbers. */
  #entry(number: number, index: number): number {
    return number === 0 ? 0 : this.u32(number * BLOCK_BYTES + 4 * index);
  }

  #block(number: number): Uint8Array {
    const block = this.#blocks.get(number);
    if (block === undefined) {
      throw damaged(`block ${number}`);
    }
    return block;
  }

  /** Objects don't cross the borders of blocks. */
  #view(address: number, length: number): DataView {
    const block = this.#block(Math.floor(address / BLOCK_BYTES));
    const at = address % BLOCK_BYTES;
    if (at + length > BLOCK_BYTES) {
      throw damaged(`address ${address}`);
    }
    return new DataView(block.buffer, block.byteOffset + at, length);
  }
}

function damaged(what: string): StorageError {
  return new StorageError(`the stored files are damaged: ${what}`);
}

/** The guest's files, between two commands. Paths begin with `/`. */
import type { Cell, FileExports } from './cell.ts';
import { Errno, GuestError } from './contract.ts';

const CHUNK_BYTES = 65536;
const STAT_BYTES = 24;
const ENOENT = 44;
const EEXIST = 20;
const TYPE_DIRECTORY = 3;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface FileStat {
  readonly isDirectory: boolean;
  /** Permission bits. */
  readonly mode: number;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly mtimeMs: number;
}

/** All throw GuestError when the guest refuses; its `errno` is WASI's. */
export class GuestFiles {
  readonly #exports: FileExports;

  /** @throws Error when the module has no such functions */
  constructor(cell: Cell) {
    const exports = cell.files;
    if (exports === undefined) {
      throw new Error('this module gives its host no files: it has no export pgcell_file_open');
    }
    this.#exports = exports;
  }

  /** undefined when there is nothing of that name. */
  stat(path: string): FileStat | undefined {
    return this.#withPath(path, (name) =>
      this.#withBytes(STAT_BYTES, (ptr) => {
        if (this.#check(path, this.#exports.pgcell_file_stat(name, ptr), ENOENT) < 0) {
          return undefined;
        }
        const view = new DataView(this.#exports.memory.buffer, ptr, STAT_BYTES);
        return {
          isDirectory: view.getUint32(0, true) === TYPE_DIRECTORY,
          mode: view.getUint32(4, true),
          size: Number(view.getBigUint64(8, true)),
          mtimeMs: Number(view.getBigUint64(16, true)),
        };
      }),
    );
  }

  /** The names in a directory. */
  list(path: string): string[] {
    return this.#withPath(path, (name) => {
      const size = this.#check(path, this.#exports.pgcell_file_list(name, 0, 0));
      return this.#withBytes(size, (ptr) => {
        this.#check(path, this.#exports.pgcell_file_list(name, ptr, size));
        return decoder.decode(this.#view(ptr, size).slice()).split('\0').slice(0, -1);
      });
    });
  }

  /** A file's bytes, which the caller owns. */
  read(path: string): Uint8Array<ArrayBuffer> {
    const size = this.stat(path)?.size ?? 0;
    let bytes = new Uint8Array(size);
    let length = 0;
    this.#withFile(path, 0, (fd, ptr) => {
      for (;;) {
        const n = this.#check(path, this.#exports.pgcell_file_read(fd, ptr, CHUNK_BYTES));
        if (n === 0) {
          return;
        }
        if (length + n > bytes.length) {
          const more = new Uint8Array((length + n) * 2);
          more.set(bytes.subarray(0, length));
          bytes = more;
        }
        bytes.set(this.#view(ptr, n), length);
        length += n;
      }
    });
    return length === bytes.length ? bytes : bytes.slice(0, length);
  }

  /** Makes a file, or replaces it. */
  write(path: string, bytes: Uint8Array): void {
    this.#withFile(path, 1, (fd, ptr) => {
      for (let at = 0; at < bytes.length; ) {
        const piece = bytes.subarray(at, at + CHUNK_BYTES);
        this.#view(ptr, piece.length).set(piece);
        const n = this.#check(path, this.#exports.pgcell_file_write(fd, ptr, piece.length));
        if (n === 0) {
          throw new GuestError(Errno.EIO, path);
        }
        at += n;
      }
    });
  }

  /** Makes a directory, if it is not there. */
  mkdir(path: string): void {
    this.#withPath(path, (name) => this.#check(path, this.#exports.pgcell_file_mkdir(name), EEXIST));
  }

  /** Removes a file or an empty directory. */
  remove(path: string): void {
    this.#withPath(path, (name) => this.#check(path, this.#exports.pgcell_file_remove(name)));
  }

  /** Removes what is in a directory. */
  empty(path: string): void {
    for (const name of this.list(path)) {
      const inner = `${path}/${name}`;
      if (this.stat(inner)?.isDirectory) {
        this.empty(inner);
      }
      this.remove(inner);
    }
  }

  #withFile(path: string, forWriting: 0 | 1, work: (fd: number, ptr: number) => void): void {
    this.#withPath(path, (name) =>
      this.#withBytes(CHUNK_BYTES, (ptr) => {
        const fd = this.#check(path, this.#exports.pgcell_file_open(name, forWriting));
        try {
          work(fd, ptr);
        } finally {
          this.#exports.pgcell_file_close(fd);
        }
      }),
    );
  }

  #withPath<T>(path: string, work: (ptr: number) => T): T {
    const bytes = encoder.encode(`${path}\0`);
    return this.#withBytes(bytes.length, (ptr) => {
      this.#view(ptr, bytes.length).set(bytes);
      return work(ptr);
    });
  }

  #withBytes<T>(size: number, work: (ptr: number) => T): T {
    const ptr = this.#exports.pgcell_alloc(Math.max(size, 1)) >>> 0;
    if (ptr === 0) {
      throw new GuestError(Errno.ENOMEM, 'a buffer for files');
    }
    try {
      return work(ptr);
    } finally {
      this.#exports.pgcell_free(ptr);
    }
  }

  /** Of the memory as it is now: it may have grown. */
  #view(ptr: number, size: number): Uint8Array {
    return new Uint8Array(this.#exports.memory.buffer, ptr, size);
  }

  #check(path: string, result: number, allowed = 0): number {
    if (result < 0 && result !== -allowed) {
      throw new GuestError(-result, path);
    }
    return result;
  }
}

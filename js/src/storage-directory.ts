/** A storage in a directory of the machine, for Node and Bun. */
import { closeSync, fdatasync, fstatSync, fsyncSync, ftruncateSync, mkdirSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { BlockFile } from './block-file.ts';
import { StorageError } from './errors.ts';
import { LockFile } from './lock-file.ts';
import { JournalStorage } from './storage-journal.ts';
import type { BlockChanges, Storage, StorageContents } from './storage.ts';

declare const process: { readonly platform: string };

const BLOCKS = 'pgcell.blocks';
const JOURNAL = 'pgcell.journal';
const LOCK = 'pgcell.lock';
/** Names in an otherwise empty directory that mean nothing: ours, as creating it may have been interrupted, and a file system's. */
const IGNORED = /^pgcell\.|^lost\+found$/;

export class DirectoryStorage implements Storage {
  readonly #path: string;
  #lock: LockFile | undefined;
  #journal: JournalStorage | undefined;

  /** @param path made when it is missing, with the directories above it, for this user only */
  constructor(path: string) {
    this.#path = resolve(path);
  }

  /** @throws StorageError; also when there is something else in the directory, to which nothing is added then */
  async open(): Promise<StorageContents> {
    const files: BlockFile[] = [];
    try {
      makeDirectory(this.#path);
      const names = readdirSync(this.#path);
      const others = names.filter((name) => !IGNORED.test(name));
      if (others.length > 0 && !names.includes(BLOCKS)) {
        const list = others.sort().slice(0, 5).join(', ') + (others.length > 5 ? ', …' : '');
        throw new StorageError(`${this.#path} is not a database of pgcell: it has no ${BLOCKS}, but ${list}`);
      }
      this.#lock = LockFile.take(`${this.#path}/${LOCK}`, this.#path);
      for (const name of [BLOCKS, JOURNAL]) {
        files.push(new DirectoryFile(`${this.#path}/${name}`));
      }
      syncDirectory(this.#path);
      this.#journal = new JournalStorage(files[0]!, files[1]!);
      return await this.#journal.open();
    } catch (error) {
      files.forEach((file) => file.close());
      this.#lock?.release();
      throw error instanceof StorageError ? error : new StorageError(`${this.#path}: ${(error as Error).message}`, { cause: error });
    }
  }

  commit(changes: BlockChanges): Promise<void> {
    return this.#journal!.commit(changes);
  }

  async close(): Promise<void> {
    try {
      await this.#journal!.close();
    } finally {
      this.#lock!.release();
    }
  }
}

/** Writes at once, to the machine's memory, and waits for the disk without holding up the process. */
class DirectoryFile implements BlockFile {
  readonly name: string;
  readonly #fd: number;

  constructor(path: string) {
    this.name = path;
    this.#fd = openFile(path);
  }

  size(): number {
    return fstatSync(this.#fd).size;
  }

  read(into: Uint8Array, at: number): number {
    let done = 0;
    for (let bytes = -1; bytes !== 0 && done < into.length; done += bytes) {
      bytes = readSync(this.#fd, into, done, into.length - done, at + done);
    }
    return done;
  }

  write(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
    }
  }

  truncate(size: number): void {
    ftruncateSync(this.#fd, size);
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => fdatasync(this.#fd, (error) => (error ? reject(error) : resolve())));
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') {
      return openSync(path, 'wx+', 0o600);
    }
    throw error;
  }
}

/** Durably: also the entries of new directories in those above them. */
function makeDirectory(path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (first !== undefined) {
    const top = dirname(resolve(first));
    for (let at = path; at !== top && at !== dirname(at); ) {
      at = dirname(at);
      syncDirectory(at);
    }
  }
}

function syncDirectory(path: string): void {
  if (process.platform === 'win32') {
    return; // where directories can't be opened
  }
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } catch (error) {
    // some file systems have nothing to sync there; PostgreSQL's fsync_fname accepts the same
    if (!['EBADF', 'EINVAL'].includes((error as { code?: string }).code ?? '')) {
      throw error;
    }
  } finally {
    closeSync(fd);
  }
}

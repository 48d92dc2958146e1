/** A storage in the origin private file system of a browser, whose files can be written in place in Workers only. */
import type { BlockFile } from './block-file.ts';
import { StorageError } from './errors.ts';
import { JournalStorage } from './storage-journal.ts';
import type { BlockChanges, Storage, StorageContents } from './storage.ts';

export class OPFSStorage implements Storage {
  readonly #name: string;
  #journal: JournalStorage | undefined;

  /** @param name of a directory of the origin's; slashes make directories in directories */
  constructor(name: string) {
    this.#name = name;
  }

  /** @throws StorageError; also when another page or Worker of the origin has it */
  async open(): Promise<StorageContents> {
    const files: BlockFile[] = [];
    try {
      if (typeof FileSystemFileHandle === 'undefined' || !('createSyncAccessHandle' in FileSystemFileHandle.prototype)) {
        throw new StorageError('the origin private file system can be used in dedicated Workers of secure pages only: use IndexedDBStorage here');
      }
      let directory = await navigator.storage.getDirectory();
      for (const name of this.#name.split('/').filter((part) => part !== '')) {
        directory = await directory.getDirectoryHandle(name, { create: true });
      }
      for (const name of ['pgcell.blocks', 'pgcell.journal']) {
        const file = await directory.getFileHandle(name, { create: true });
        files.push(new OPFSFile(`${this.#name}/${name}`, await file.createSyncAccessHandle()));
      }
      this.#journal = new JournalStorage(files[0]!, files[1]!);
      return await this.#journal.open();
    } catch (error) {
      files.forEach((file) => file.close());
      if (error instanceof StorageError) {
        throw error;
      }
      const isInUse = error instanceof DOMException && error.name === 'NoModificationAllowedError';
      throw new StorageError(isInUse ? `${this.#name} is in use by another page, Worker or instance` : `${this.#name}: ${error}`, { cause: error });
    }
  }

  commit(changes: BlockChanges): Promise<void> {
    return this.#journal!.commit(changes);
  }

  close(): Promise<void> {
    return this.#journal!.close();
  }
}

class OPFSFile implements BlockFile {
  readonly name: string;
  /** Nobody else gets one of this file. */
  readonly #handle: FileSystemSyncAccessHandle;

  constructor(name: string, handle: FileSystemSyncAccessHandle) {
    this.name = name;
    this.#handle = handle;
  }

  size(): number {
    return this.#handle.getSize();
  }

  read(into: Uint8Array<ArrayBuffer>, at: number): number {
    return this.#handle.read(into, { at });
  }

  write(bytes: Uint8Array<ArrayBuffer>, at: number): void {
    const done = this.#handle.write(bytes, { at });
    if (done !== bytes.length) {
      throw new StorageError(`${this.name}: ${done} of ${bytes.length} bytes written`);
    }
  }

  truncate(size: number): void {
    this.#handle.truncate(size);
  }

  sync(): void {
    this.#handle.flush();
  }

  close(): void {
    this.#handle.close();
  }
}

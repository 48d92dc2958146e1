/** A storage in a database of the browser's, IndexedDB: for pages and Workers. */
import { StorageError } from './errors.ts';
import { BLOCK_BYTES } from './storage.ts';
import type { BlockChanges, Storage, StorageContents, StoredBlock } from './storage.ts';
import { CommitQueue } from './storage-queue.ts';

/** The keys are the blocks' numbers. */
const STORE = 'blocks';
/** How many blocks are read at once: a MiB. */
const READ_BLOCKS = 128;

export class IndexedDBStorage implements Storage {
  readonly #name: string;
  readonly #queue = new CommitQueue<BlockChanges>((commits) => this.#store(commits));
  #database!: IDBDatabase;
  #unlock = () => {};

  /** @param name that of the IndexedDB database is `pgcell/` and this, and so is that of the lock */
  constructor(name: string) {
    this.#name = `pgcell/${name}`;
  }

  /** @throws StorageError; also when another page or Worker of the origin has it, if the browser knows locks */
  async open(): Promise<StorageContents> {
    if (typeof indexedDB === 'undefined') {
      throw new StorageError('there is no IndexedDB here');
    }
    this.#unlock = await takeLock(this.#name);
    try {
      this.#database = await openDatabase(this.#name);
      const keys = await resultOf(this.#database.transaction(STORE).objectStore(STORE).getAllKeys());
      return this.#contents(keys);
    } catch (error) {
      this.#unlock();
      throw error instanceof StorageError ? error : new StorageError(`IndexedDB database ${this.#name}: ${error}`, { cause: error });
    }
  }

  commit(changes: BlockChanges): Promise<void> {
    // the bytes of each alone: of a view all of the buffer below it would be stored
    const copy = new Map([...changes].map(([number, contents]) => [number, contents?.slice()]));
    return copy.size === 0 ? this.#queue.last : this.#queue.add(copy);
  }

  close(): void {
    this.#database.close();
    this.#unlock();
  }

  async *#contents(keys: readonly IDBValidKey[]): AsyncGenerator<StoredBlock> {
    for (let first = 0; first < keys.length; first += READ_BLOCKS) {
      const some = keys.slice(first, first + READ_BLOCKS);
      const range = IDBKeyRange.bound(some[0], some.at(-1));
      const values = await resultOf(this.#database.transaction(STORE).objectStore(STORE).getAll(range));
      for (const [i, number] of some.entries()) {
        const contents: unknown = values[i];
        if (typeof number !== 'number' || !(contents instanceof Uint8Array) || contents.length !== BLOCK_BYTES) {
          throw new StorageError(`IndexedDB database ${this.#name} has something else than a block as number ${String(number)}`);
        }
        yield [number, contents];
      }
    }
  }

  #store(commits: readonly BlockChanges[]): Promise<void> {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(STORE, 'readwrite', { durability: 'strict' });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error('the transaction was aborted'));
      const store = transaction.objectStore(STORE);
      for (const [number, contents] of new Map(commits.flatMap((changes) => [...changes]))) {
        if (contents === undefined) {
          store.delete(number);
        } else {
          store.put(contents, number);
        }
      }
    });
  }
}

/** @returns what gives it up */
function takeLock(name: string): Promise<() => void> {
  if (typeof navigator === 'undefined' || navigator.locks === undefined) {
    return Promise.resolve(() => {});
  }
  return new Promise((resolve, reject) => {
    const work = (lock: Lock | null) =>
      new Promise<void>((unlock) => {
        if (lock === null) {
          reject(new StorageError(`IndexedDB database ${name} is in use by another page, Worker or instance`));
          unlock();
        } else {
          resolve(unlock);
        }
      });
    navigator.locks.request(name, { ifAvailable: true }, work).catch(reject);
  });
}

async function openDatabase(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  const database = await resultOf(request);
  if (!database.objectStoreNames.contains(STORE)) {
    database.close();
    throw new StorageError(`IndexedDB database ${name} is not one of pgcell`);
  }
  return database;
}

function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** A storage in the SQLite database of a Durable Object. */
import { StorageError } from './errors.ts';
import { BLOCK_BYTES } from './storage.ts';
import type { BlockChanges, Storage, StorageContents, StoredBlock } from './storage.ts';

/** What is used of `ctx.storage` of a Durable Object whose class is among `new_sqlite_classes`. */
export interface DurableObjectSqlStorage {
  readonly sql: { exec(query: string, ...parameters: unknown[]): Iterable<Record<string, unknown>> };
  /** What `work` has done is undone if it throws. */
  transactionSync<T>(work: () => T): T;
}

/** Cloudflare's limit for one statement. */
const MAX_PARAMETERS = 100;
/** How many blocks are read at once: a MiB. */
const READ_BLOCKS = 128;

const inUse = new WeakSet<DurableObjectSqlStorage>();

export class DurableObjectStorage implements Storage {
  readonly #storage: DurableObjectSqlStorage;
  #hasFailed = false;

  /** @param storage in which the table `pgcell_block` is used */
  constructor(storage: DurableObjectSqlStorage) {
    this.#storage = storage;
  }

  /** @throws StorageError; also when another instance of this object has it. No other object can have it */
  open(): StorageContents {
    if (inUse.has(this.#storage)) {
      throw new StorageError('the storage of this Durable Object is in use by another instance');
    }
    try {
      this.#exec('CREATE TABLE IF NOT EXISTS pgcell_block (number INTEGER PRIMARY KEY, contents BLOB NOT NULL)');
      this.#exec('SELECT number, contents FROM pgcell_block LIMIT 0');
    } catch (error) {
      throw new StorageError(`pgcell_block is not a table of pgcell: ${error}`, { cause: error });
    }
    inUse.add(this.#storage);
    return this.#contents();
  }

  /** Durable before anything that the object sends afterwards leaves it: the platform sees to that, and restarts the object if it can't. */
  commit(changes: BlockChanges): void {
    if (this.#hasFailed) {
      throw new StorageError('changes could not be stored before');
    }
    const puts: unknown[] = [];
    const deletes: unknown[] = [];
    for (const [number, contents] of changes) {
      if (contents === undefined) {
        deletes.push(number);
      } else {
        puts.push(number, contents);
      }
    }
    try {
      this.#storage.transactionSync(() => {
        this.#execForEach('INSERT OR REPLACE INTO pgcell_block (number, contents) VALUES ', '(?, ?)', '', puts);
        this.#execForEach('DELETE FROM pgcell_block WHERE number IN (', '?', ')', deletes);
      });
    } catch (error) {
      this.#hasFailed = true;
      throw new StorageError(`changes could not be stored: ${error}`, { cause: error });
    }
  }

  close(): void {
    inUse.delete(this.#storage);
  }

  *#contents(): Generator<StoredBlock> {
    for (let last = -1; ; ) {
      const rows = this.#exec(`SELECT number, contents FROM pgcell_block WHERE number > ? ORDER BY number LIMIT ${READ_BLOCKS}`, last);
      for (const { number, contents } of rows) {
        const bytes = contents instanceof ArrayBuffer ? new Uint8Array(contents) : contents;
        if (typeof number !== 'number' || !(bytes instanceof Uint8Array) || bytes.length !== BLOCK_BYTES) {
          throw new StorageError(`the table pgcell_block has something else than a block as number ${number}`);
        }
        yield [number, bytes];
        last = number;
      }
      if (rows.length < READ_BLOCKS) {
        return;
      }
    }
  }

  /** The rows at once: what comes in between does no harm to them. */
  #exec(query: string, ...parameters: unknown[]): Record<string, unknown>[] {
    return [...this.#storage.sql.exec(query, ...parameters)];
  }

  /** As many statements as it takes, with as many times `group` as there are parameters for. */
  #execForEach(begin: string, group: string, end: string, parameters: readonly unknown[]): void {
    for (let first = 0; first < parameters.length; first += MAX_PARAMETERS) {
      const some = parameters.slice(first, first + MAX_PARAMETERS);
      const groups = some.length / (group.split('?').length - 1);
      this.#exec(begin + Array(groups).fill(group).join(', ') + end, ...some);
    }
  }
}

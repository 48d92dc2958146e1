/**
 * A cell's files in a storage: what is in the blocks, which of them have changed, and how they come back.
 *
 * | block | |
 * |---|---|
 * | 0 | JSON, padded with zeros: `{"pgcell": 1, "image": "…"}` |
 * | 4096 … | addresses of the guest's memory, divided by 8192: its file system, with all metadata |
 * | 458752 … | the image's own blocks, which files refer to. They are in the module as well, and are stored once, so that a module with another image can still read the files |
 */
import { GuestError } from './contract.ts';
import { StorageError } from './errors.ts';
import { BLOCK_BYTES } from './storage.ts';
import type { Storage, StorageContents } from './storage.ts';
import { readStoredFiles } from './stored-files.ts';
import type { TarEntry } from './tar.ts';

const HEADER = 0;
const VERSION = 1;
/** The first of the image's blocks (PGCELL_BASE_START in guest/port/layout.h). */
const BASE = 0xe0000000 / BLOCK_BYTES;
/** Set in what `pgcell_changes_take` tells of a block that is free (guest/vfs/vfs_changes.h). */
const FREED = 0x80000000;
const PAGE_BYTES = 65536;
/** The memory grows by at least as much while blocks are put back. */
const GROWTH_BYTES = 1 << 20;

/** What the guest exports for this; docs/contract.md. */
export interface StoreExports {
  readonly memory: WebAssembly.Memory;
  readonly pgcell_changes_wanted: () => number;
  readonly pgcell_changes_take: () => number;
  readonly pgcell_changes_all: () => void;
  readonly pgcell_image_id: () => bigint;
  readonly pgcell_base_blocks: () => number;
  readonly pgcell_base_block: (n: number) => number;
  readonly pgcell_restore: (imageBytes: number) => number;
}

export class Store {
  readonly #guest: StoreExports;
  readonly #storage: Storage;
  #failure: StorageError | undefined;
  #kept: Promise<void> | undefined;
  /** Blocks of another image's. */
  #stale: readonly number[] = [];

  constructor(guest: StoreExports, storage: Storage) {
    this.#guest = guest;
    this.#storage = storage;
  }

  /**
   * Takes what is stored. An instance of the same image, which has done nothing yet, gets the blocks into its memory, and PostgreSQL starts
   * on them. Of another image's blocks the files are returned; they are to be loaded, and `create` is to follow.
   *
   * @returns 'new' when nothing is stored
   * @throws StorageError for what is no database of this version; GuestError when PostgreSQL does not start
   */
  async load(contents: StorageContents): Promise<'new' | 'restored' | TarEntry[]> {
    const imageBytes = this.#guest.memory.buffer.byteLength;
    /** Blocks before the header is known, and of another image. */
    const blocks = new Map<number, Uint8Array>();
    let image: string | undefined;
    for await (const [number, block] of contents) {
      if (block.length !== BLOCK_BYTES) {
        throw new StorageError(`block ${number} of the storage has ${block.length} bytes instead of ${BLOCK_BYTES}`);
      }
      if (number === HEADER) {
        image = imageIn(block);
        if (image === this.#image()) {
          blocks.forEach((bytes, n) => this.#put(n, bytes));
          blocks.clear();
        }
      } else if (image === this.#image()) {
        this.#put(number, block);
      } else {
        blocks.set(number, block.slice());
      }
    }
    if (image === undefined) {
      if (blocks.size > 0) {
        throw new StorageError('the storage has blocks, but none that says what they are');
      }
      return 'new';
    }
    if (image !== this.#image()) {
      this.#stale = [...blocks.keys()];
      return [...readStoredFiles(blocks, '/data')];
    }
    const errno = this.#guest.pgcell_restore(imageBytes);
    if (errno !== 0) {
      throw new GuestError(-errno, 'PostgreSQL does not start on the files that are stored');
    }
    this.keep();
    return 'restored';
  }

  /** Stores everything, for the first time, instead of what another image had there. */
  create(): void {
    const { memory } = this.#guest;
    this.#guest.pgcell_changes_all();
    const changes = new Map([...this.#stale.map((number) => [number, undefined] as const), ...this.#take()]);
    const header = new Uint8Array(BLOCK_BYTES);
    header.set(new TextEncoder().encode(JSON.stringify({ pgcell: VERSION, image: this.#image() })));
    changes.set(HEADER, header);
    for (let n = this.#guest.pgcell_base_blocks() - 1; n >= 0; n--) {
      const at = this.#guest.pgcell_base_block(n) >>> 0;
      changes.set(BASE + n, new Uint8Array(memory.buffer, at, BLOCK_BYTES).slice());
    }
    this.#commit(changes);
  }

  /** Stores what has changed, if PostgreSQL has asked for that. @throws StorageError */
  keep(): void {
    if (this.#guest.pgcell_changes_wanted() !== 0) {
      this.#commit(this.#take());
    }
  }

  /** Settled when what was given to the storage is stored; undefined when it is already. Rejected with a StorageError. */
  get kept(): Promise<void> | undefined {
    return this.#kept;
  }

  /** Why the instance is dead: its memory knows of commits that the storage does not. */
  get failure(): StorageError | undefined {
    return this.#failure;
  }

  async close(): Promise<void> {
    await this.#kept?.catch(() => {});
    await this.#storage.close();
  }

  #image(): string {
    return BigInt.asUintN(64, this.#guest.pgcell_image_id()).toString(16);
  }

  #put(number: number, block: Uint8Array): void {
    const { memory } = this.#guest;
    if (number >= BASE) {
      return; // the module has it
    }
    const end = (number + 1) * BLOCK_BYTES;
    const missing = end - memory.buffer.byteLength;
    if (missing > 0) {
      memory.grow(Math.ceil(Math.max(missing, GROWTH_BYTES) / PAGE_BYTES));
    }
    new Uint8Array(memory.buffer).set(block, number * BLOCK_BYTES);
  }

  #take(): Map<number, Uint8Array | undefined> {
    const { memory } = this.#guest;
    const changes = new Map<number, Uint8Array | undefined>();
    for (;;) {
      const at = this.#guest.pgcell_changes_take() >>> 0;
      const [count = 0] = new Uint32Array(memory.buffer, at, 1);
      if (count === 0) {
        return changes;
      }
      for (const word of new Uint32Array(memory.buffer, at + 4, count)) {
        const number = word & ~FREED;
        changes.set(number, word >= FREED ? undefined : new Uint8Array(memory.buffer, number * BLOCK_BYTES, BLOCK_BYTES));
      }
    }
  }

  #commit(changes: Map<number, Uint8Array | undefined>): void {
    let stored: void | Promise<void>;
    try {
      stored = this.#storage.commit(changes);
    } catch (error) {
      throw this.#fail(error);
    }
    if (stored === undefined) {
      return;
    }
    const kept = stored.then(
      () => {
        if (this.#kept === kept) {
          this.#kept = undefined;
        }
      },
      (error: unknown) => {
        throw this.#fail(error);
      },
    );
    kept.catch(() => {}); // told by whoever waits, and by every call from then on
    this.#kept = kept;
  }

  #fail(cause: unknown): StorageError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#failure ??= new StorageError(`what the last command changed could not be stored, and the instance is of no use any more: ${reason}`, { cause });
    return this.#failure;
  }
}

/** Which image the blocks belong to. @throws StorageError */
function imageIn(header: Uint8Array): string {
  const end = header.indexOf(0);
  let fields: { pgcell?: unknown; image?: unknown } | null;
  try {
    fields = JSON.parse(new TextDecoder().decode(header.subarray(0, end < 0 ? undefined : end)));
  } catch {
    throw new StorageError('the storage has no database of pgcell: its first block is something else');
  }
  if (fields?.pgcell !== VERSION || typeof fields.image !== 'string') {
    throw new StorageError(`the storage has version ${String(fields?.pgcell)} of its form, this pgcell knows version ${VERSION}`);
  }
  return fields.image;
}

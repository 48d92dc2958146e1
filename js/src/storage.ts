/**
 * Where a database is kept: numbered blocks, changed all at once or not at all.
 *
 * An instance's files are in blocks of its memory. When PostgreSQL asks for its files to be on disk, as it does before it reports a commit,
 * the instance gives the blocks that have changed since to its storage, and tells the client when that has them. A storage needs to know
 * nothing of what is in a block. After a restart the blocks are put back, and PostgreSQL recovers as after a power cut.
 */

/** Bytes of every block. */
export const BLOCK_BYTES = 8192;

/**
 * Block numbers, from 0 to 2^19 - 1, and what is in the blocks now; undefined for one that is not needed any more, which there need not
 * have been. Contents are views of the guest's memory: whoever wants them later, after a wait, copies them.
 */
export type BlockChanges = ReadonlyMap<number, Uint8Array | undefined>;

/** A block's number and its contents, which the receiver only reads, and not any more when it takes the next. */
export type StoredBlock = readonly [number: number, contents: Uint8Array];

export interface Storage {
  /**
   * Takes possession. Called first, and once.
   *
   * @returns every block that was stored, in any order; none when this is new
   * @throws StorageError when another instance has it, or it is not a storage of this kind
   */
  open(): StorageContents | Promise<StorageContents>;
  /**
   * Stores all of the changes, or none. They are durable when this returns, or else when its promise is resolved. It may be called again
   * before that; what was given later is then never durable without what was given earlier.
   *
   * @throws anything: the instance is dead then, and the storage still has what it had
   */
  commit(changes: BlockChanges): void | Promise<void>;
  /** Gives it up, once all commits have ended. Not called if `open` failed. */
  close(): void | Promise<void>;
}

export type StorageContents = Iterable<StoredBlock> | AsyncIterable<StoredBlock>;

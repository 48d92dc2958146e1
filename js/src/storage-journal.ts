/**
 * A storage in two files. Changes are appended to the journal, which is synced at each commit; from time to time it is applied to the file
 * of blocks, which is synced, and emptied.
 *
 *     blocks:   header | slot 0 | slot 1 | …    a record in each slot, of some block's contents or of none
 *     journal:  header | record | record | …    the next contents of slots; the last record of a commit is marked
 *
 *     header:   magic (16 bytes), version, bytes of a block, identity, 0, checksum
 *     record:   checksum, sequence (8 bytes), slot, number of the block and mark, contents; without contents when the slot gets free
 *
 * All are words of 32 bits, least significant byte first. The identity is a random number, the same in both files, and the seed of the
 * records' checksums. The sequence is that of the commit; it never goes back.
 *
 * Why a crash at any time does no harm:
 * - While the journal is written: a commit counts when all of its records are whole up to the marked one, and so do all before it. What is
 *   behind that was reported to nobody, and it is cut off, durably, before anything is appended.
 * - While the journal is applied: a slot that is half written is in the journal, which is emptied only when the slots are durable. It tells
 *   where each block goes, so that no table of the slots is needed but the slots themselves.
 * - While the journal is emptied: if some of its begin is still there, it is older than what is in the slots, and the sequence tells.
 */
import { HEADER_BYTES, readHeader, writeHeader } from './block-file.ts';
import type { BlockFile } from './block-file.ts';
import { checksum } from './checksum.ts';
import { StorageError } from './errors.ts';
import { BLOCK_BYTES } from './storage.ts';
import type { BlockChanges, Storage, StorageContents, StoredBlock } from './storage.ts';
import { CommitQueue } from './storage-queue.ts';

const BLOCKS_MAGIC = 'pgcell blocks';
const JOURNAL_MAGIC = 'pgcell journal';
/** Of a record, without contents. */
const HEAD_BYTES = 20;
const RECORD_BYTES = HEAD_BYTES + BLOCK_BYTES;
/** Of a record, in words. */
const AT_SEQUENCE = 1;
const AT_SLOT = 3;
const AT_NUMBER = 4;
/** The mark, beside the number. */
const LAST = 0x80000000;
/** Instead of a number: no block. */
const FREE = 0x7fffffff;
const MAX_BLOCKS = 2 ** 19;
const MAX_SEQUENCE_HIGH = 2 ** 21;
/** A journal that has grown beyond this is applied before the next commit. */
const MAX_JOURNAL_BYTES = 16 * 1024 * 1024;

const slotAt = (slot: number) => HEADER_BYTES + slot * RECORD_BYTES;
const numberIn = (words: Uint32Array, at = 0) => words[at + AT_NUMBER]! & FREE;
const bytesOf = (number: number) => (number === FREE ? HEAD_BYTES : RECORD_BYTES);
const sequenceIn = (words: Uint32Array) => words[AT_SEQUENCE]! + words[AT_SEQUENCE + 1]! * 2 ** 32;

export class JournalStorage implements Storage {
  readonly #blocks: BlockFile;
  readonly #journal: BlockFile;
  readonly #maxJournalBytes: number;
  readonly #queue = new CommitQueue<Uint8Array<ArrayBuffer>>((batches) => this.#store(batches));
  /** Of one record. */
  readonly #bytes = new Uint8Array(RECORD_BYTES);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  #identity = 0;
  /** Of the next commit. */
  #sequence = 1;
  /** Of the blocks, by their numbers. */
  readonly #slots = new Map<number, number>();
  readonly #freeSlots: number[] = [];
  #slotCount = 0;
  /** Where in the journal the newest records of slots are. */
  readonly #newest = new Map<number, number>();
  #journalEnd = HEADER_BYTES;

  /** @param blocks and `journal`: both empty when this is new. They are closed by `close`; the caller closes them when `open` has failed */
  constructor(blocks: BlockFile, journal: BlockFile, maxJournalBytes = MAX_JOURNAL_BYTES) {
    this.#blocks = blocks;
    this.#journal = journal;
    this.#maxJournalBytes = maxJournalBytes;
  }

  /** The contents are to be read before the first commit. */
  async open(): Promise<StorageContents> {
    const identity = readHeader(this.#blocks, BLOCKS_MAGIC);
    const other = readHeader(this.#journal, JOURNAL_MAGIC);
    if (identity === undefined) {
      if (this.#journal.size() > HEADER_BYTES) {
        throw new StorageError(`${this.#journal.name} has changes, but ${this.#blocks.name}, which they are for, is empty`);
      }
      await this.#create();
    } else if (identity !== other) {
      throw new StorageError(`${this.#journal.name} is missing, or not the one of ${this.#blocks.name}`);
    } else {
      this.#identity = identity;
    }
    this.#replay();
    await this.#apply(); // also with nothing to apply: what somebody else has written and not synced is durable from here on
    this.#findSlots();
    return this.#contents();
  }

  commit(changes: BlockChanges): Promise<void> {
    const batch = this.#encode(changes);
    return batch.length === 0 ? this.#queue.last : this.#queue.add(batch);
  }

  /** Applies the journal. @throws when that fails, which loses nothing; the files are closed anyway */
  async close(): Promise<void> {
    const isSound = await this.#queue.last.then(() => true, () => false);
    try {
      if (isSound && this.#newest.size > 0) {
        await this.#apply();
      }
    } finally {
      this.#blocks.close();
      this.#journal.close();
    }
  }

  /** The header of the blocks comes last: with it the storage exists. */
  async #create(): Promise<void> {
    this.#identity = Math.floor(Math.random() * 2 ** 32);
    writeHeader(this.#journal, JOURNAL_MAGIC, this.#identity);
    await this.#journal.sync();
    writeHeader(this.#blocks, BLOCKS_MAGIC, this.#identity);
    await this.#blocks.sync();
  }

  /** Reads a record to `#bytes`. @returns its length; 0 when there is none, or not a whole one */
  #read(file: BlockFile, at: number): number {
    const words = this.#words;
    const length = file.read(this.#bytes, at);
    const number = numberIn(words);
    const bytes = bytesOf(number);
    const isNumber = number < MAX_BLOCKS || number === FREE;
    const isSane = isNumber && words[AT_SLOT]! < MAX_BLOCKS && words[AT_SEQUENCE + 1]! < MAX_SEQUENCE_HIGH;
    return length >= bytes && isSane && words[0] === checksum(words, 1, bytes / 4, this.#identity) ? bytes : 0;
  }

  /** Finds the newest records of whole commits in the journal that are not older than what is in their slots. */
  #replay(): void {
    type Found = { slot: number; at: number; sequence: number };
    const found = new Map<number, Found>();
    let batch: Found[] = [];
    let expected: number | undefined;
    let at = HEADER_BYTES;
    for (let bytes; (bytes = this.#read(this.#journal, at)) > 0; at += bytes) {
      const sequence = sequenceIn(this.#words);
      if (expected !== undefined && sequence !== expected) {
        break;
      }
      batch.push({ slot: this.#words[AT_SLOT]!, at, sequence });
      expected = sequence;
      if (this.#words[AT_NUMBER]! >= LAST) {
        batch.forEach((record) => found.set(record.slot, record));
        batch = [];
        expected = this.#sequence = sequence + 1;
      }
    }
    for (const { slot, at, sequence } of found.values()) {
      // the same is written again: after a sync that failed, a slot may read as if it were durable and not be so
      if (this.#read(this.#blocks, slotAt(slot)) === 0 || sequenceIn(this.#words) <= sequence) {
        this.#newest.set(slot, at);
      }
    }
  }

  /** Brings the slots up to date, and empties the journal. */
  async #apply(): Promise<void> {
    for (const [slot, at] of [...this.#newest].sort(([a], [b]) => a - b)) {
      const length = this.#journal.read(this.#bytes, at);
      const bytes = bytesOf(numberIn(this.#words));
      if (length < bytes) {
        throw new StorageError(`${this.#journal.name} is shorter than it was`);
      }
      this.#blocks.write(this.#bytes.subarray(0, bytes), slotAt(slot));
    }
    await this.#blocks.sync();
    this.#journal.truncate(HEADER_BYTES);
    await this.#journal.sync();
    this.#newest.clear();
    this.#journalEnd = HEADER_BYTES;
  }

  #findSlots(): void {
    this.#slotCount = Math.ceil((this.#blocks.size() - HEADER_BYTES) / RECORD_BYTES);
    for (let slot = 0; slot < this.#slotCount; slot++) {
      const isSane = slot < MAX_BLOCKS && this.#read(this.#blocks, slotAt(slot)) > 0 && this.#words[AT_SLOT] === slot;
      const number = numberIn(this.#words);
      if (!isSane || this.#slots.has(number)) {
        throw new StorageError(`${this.#blocks.name} is damaged at byte ${slotAt(slot)}`);
      }
      if (number === FREE) {
        this.#freeSlots.push(slot);
      } else {
        this.#slots.set(number, slot);
      }
      this.#sequence = Math.max(this.#sequence, sequenceIn(this.#words) + 1);
    }
  }

  *#contents(): Generator<StoredBlock> {
    const contents = new Uint8Array(BLOCK_BYTES);
    for (const [number, slot] of this.#slots) {
      if (this.#blocks.read(contents, slotAt(slot) + HEAD_BYTES) < BLOCK_BYTES) {
        throw new StorageError(`${this.#blocks.name} is shorter than it was`);
      }
      yield [number, contents];
    }
  }

  /** The records of a commit; no bytes when it changes nothing. */
  #encode(changes: BlockChanges): Uint8Array<ArrayBuffer> {
    let bytes = 0;
    for (const [number, contents] of changes) {
      const isBlock = Number.isInteger(number) && number >= 0 && number < MAX_BLOCKS;
      if (!isBlock || (contents !== undefined && contents.length !== BLOCK_BYTES)) {
        throw new RangeError(`not a block: number ${number}, ${contents?.length} bytes`);
      }
      bytes += contents !== undefined ? RECORD_BYTES : this.#slots.has(number) ? HEAD_BYTES : 0;
    }
    const batch = new Uint8Array(bytes);
    const words = new Uint32Array(batch.buffer);
    let at = 0;
    for (const [number, contents] of changes) {
      let slot = this.#slots.get(number);
      if (contents !== undefined) {
        slot ??= this.#freeSlots.pop() ?? this.#slotCount++;
        this.#slots.set(number, slot);
        batch.set(contents, at + HEAD_BYTES);
      } else if (slot !== undefined) {
        this.#slots.delete(number);
        this.#freeSlots.push(slot);
      } else {
        continue;
      }
      const stored = contents === undefined ? FREE : number;
      const start = at / 4;
      at += bytesOf(stored);
      words[start + AT_SEQUENCE] = this.#sequence;
      words[start + AT_SEQUENCE + 1] = this.#sequence / 2 ** 32;
      words[start + AT_SLOT] = slot;
      words[start + AT_NUMBER] = at === bytes ? stored | LAST : stored;
      words[start] = checksum(words, start + 1, at / 4, this.#identity);
    }
    this.#sequence += bytes > 0 ? 1 : 0;
    return batch;
  }

  async #store(batches: readonly Uint8Array<ArrayBuffer>[]): Promise<void> {
    if (this.#journalEnd > this.#maxJournalBytes) {
      await this.#apply();
    }
    for (const batch of batches) {
      const words = new Uint32Array(batch.buffer);
      this.#journal.write(batch, this.#journalEnd);
      for (let at = 0; at < batch.length; at += bytesOf(numberIn(words, at / 4))) {
        this.#newest.set(words[at / 4 + AT_SLOT]!, this.#journalEnd + at);
      }
      this.#journalEnd += batch.length;
    }
    await this.#journal.sync();
  }
}

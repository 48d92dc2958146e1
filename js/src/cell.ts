/**
 * One instance of the module and the session in it: bytes in, bytes out, without promises.
 *
 * Output is collected in one buffer, which is used again by the next call: what `run` returns is valid until then.
 */
import { Errno, GuestError, Status } from './contract.ts';
import { DatabaseError, DataDirError } from './errors.ts';
import { createPGliteImportHandler } from './handler-import.ts';
import type { PGliteImportHandler } from './handler-import.ts';
import { instantiate } from './instantiate.ts';
import { BackendParser } from './protocol-backend.ts';
import { serialize } from './protocol-frontend.ts';
import type { Storage } from './storage.ts';
import { Store } from './store.ts';
import type { StoreExports } from './store.ts';
import type { TarEntry } from './tar.ts';

const PAGE_BYTES = 65536;
/** Of the machine, in words of 32 bits. */
const PAGE_WORDS = 1024;
const BUFFER_BYTES = 16384;
/** A buffer that a big answer has grown beyond this is not kept. */
const MAX_KEPT_BYTES = 1 << 20;
const KEPT_LOG_LINES = 20;
const READY_BYTES = 6;

/** Exports that hosts other than this one need not have. */
export interface FileExports {
  readonly pgcell_alloc: (length: number) => number;
  readonly pgcell_free: (ptr: number) => void;
  readonly pgcell_file_open: (path: number, forWriting: number) => number;
  readonly pgcell_file_read: (fd: number, ptr: number, length: number) => number;
  readonly pgcell_file_write: (fd: number, ptr: number, length: number) => number;
  readonly pgcell_file_close: (fd: number) => number;
  readonly pgcell_file_stat: (path: number, ptr: number) => number;
  readonly pgcell_file_list: (path: number, ptr: number, length: number) => number;
  readonly pgcell_file_mkdir: (path: number) => number;
  readonly pgcell_file_remove: (path: number) => number;
  readonly pgcell_reload: () => number;
  readonly memory: WebAssembly.Memory;
}

export interface CellOptions {
  /** Of the start-up packet. */
  readonly session: Readonly<Record<string, string>>;
  readonly log?: ((line: string) => void) | undefined;
  readonly initialMemoryBytes?: number | undefined;
  readonly maximumMemoryBytes?: number | undefined;
}

/** PostgreSQL's letters: idle, in a transaction, in one that failed. */
export type TransactionStatus = 'I' | 'T' | 'E';

export class Cell {
  readonly #module: WebAssembly.Module;
  readonly #options: CellOptions;
  readonly #handler: PGliteImportHandler;
  #memory!: WebAssembly.Memory;
  #exports!: FileExports;
  #buffer = new Uint8Array(BUFFER_BYTES);
  #length = 0;
  #isLent = false;
  #store: Store | undefined;
  #sink: ((data: Uint8Array) => void) | undefined;
  #status: TransactionStatus = 'I';
  #hasSession = false;
  #sessions = 0;
  readonly #log: string[] = [];

  private constructor(module: WebAssembly.Module, options: CellOptions) {
    this.#module = module;
    this.#options = options;
    this.#handler = createPGliteImportHandler({ onOutput: (chunk) => this.#collect(chunk) });
  }

  /** A fresh instance in which no session has begun. @throws as `instantiate` */
  static async open(module: WebAssembly.Module, options: CellOptions): Promise<Cell> {
    const cell = new Cell(module, options);
    const { maximumMemoryBytes, initialMemoryBytes } = options;
    const { exports } = await instantiate(module, cell.#handler, {
      log: (line) => cell.#addLog(line),
      ...(maximumMemoryBytes !== undefined && { memoryLimitBytes: maximumMemoryBytes }),
    });
    cell.#memory = exports.memory;
    cell.#exports = exports as unknown as FileExports;
    if (initialMemoryBytes !== undefined) {
      cell.#grow(Math.min(initialMemoryBytes, maximumMemoryBytes ?? Infinity));
    }
    return cell;
  }

  /**
   * Another instance in the same state, its session included. Everything that the guest knows is in its memory, so that a copy of that is
   * all there is to it. To be called between two commands.
   */
  async clone(log: CellOptions['log']): Promise<Cell> {
    const cell = await Cell.open(this.#module, { ...this.#options, log, initialMemoryBytes: undefined, maximumMemoryBytes: undefined });
    cell.#grow(this.#memory.buffer.byteLength);
    copyChangedPages(this.#memory.buffer, cell.#memory.buffer);
    cell.#status = this.#status;
    cell.#hasSession = this.#hasSession;
    cell.#sessions = this.#sessions;
    return cell;
  }

  /**
   * What is in the storage becomes this instance's, and what changes from now on is stored. To be called before a first session.
   *
   * @param fill brings files into the instance: those that another build of the module has stored, or, without an argument, those of a new database
   * @returns whether the database is new
   * @throws StorageError; DataDirError for a database that can't be used; what `fill` throws
   */
  async keepIn(storage: Storage, fill: (stored?: readonly TarEntry[]) => void): Promise<boolean> {
    const store = new Store(this.#exports as unknown as StoreExports, storage);
    const contents = await storage.open();
    try {
      const found = await store.load(contents);
      if (found !== 'restored') {
        fill(found === 'new' ? undefined : found);
        store.create();
      }
      await store.kept;
      this.#store = store;
      return found === 'new';
    } catch (error) {
      await store.close();
      throw error instanceof GuestError ? new DataDirError(`${error.message}: ${this.#log.at(-1) ?? 'the log is empty'}`, { cause: error }) : error;
    }
  }

  /** Settled when what the commands before have changed is stored, undefined when it is already. Rejected with a StorageError, as every command is then. */
  get kept(): Promise<void> | undefined {
    return this.#store?.kept;
  }

  /** Gives up the storage, which has everything then, and after which PostgreSQL has nothing to recover. @throws StorageError; the storage is given up all the same */
  async close(): Promise<void> {
    const store = this.#store;
    if (store === undefined) {
      return;
    }
    try {
      if (store.failure === undefined) {
        try {
          this.shutdown();
        } catch {
          // without a checkpoint there is something to recover, and nothing is lost
        }
        store.keep();
        await store.kept;
      }
    } finally {
      this.#store = undefined;
      await store.close();
    }
  }

  /**
   * Begins a session; one that is there is ended.
   *
   * @param parameters of the start-up packet, instead of those of the options
   * @throws DatabaseError when PostgreSQL refuses
   */
  start(parameters = this.#options.session): void {
    this.#checkStore();
    this.#prepare();
    this.#hasSession = false;
    this.#handler.start(serialize.startup(parameters));
    this.#afterwards();
    this.#store?.keep();
    const answer = this.#buffer.subarray(0, this.#length);
    for (const message of new BackendParser().parse(answer)) {
      if (message.type === 'errorResponse') {
        throw new DatabaseError(message.fields.message ?? '', 0, message.fields);
      }
    }
    this.#hasSession = true;
    this.#sessions++;
  }

  /**
   * Runs messages of the client's.
   *
   * @returns the answer; valid until the next call. Call `done` when it is not needed any more
   * @throws GuestError; if it is not ENOTRECOVERABLE, the session is ready for the next command
   */
  run(input: Uint8Array): Uint8Array {
    this.#checkStore();
    if (!this.#hasSession) {
      this.start();
    }
    this.#prepare();
    try {
      this.#handler.run(input);
    } catch (error) {
      this.#resync(error);
      this.#store?.keep();
      throw error;
    }
    this.#afterwards();
    this.#store?.keep();
    this.#isLent = true;
    return this.#buffer.subarray(0, this.#length);
  }

  /** The answer of `run` is not needed any more: its buffer may be used again. */
  done(): void {
    this.#isLent = false;
    if (this.#buffer.length > MAX_KEPT_BYTES) {
      this.#buffer = new Uint8Array(BUFFER_BYTES);
    }
  }

  /** As `run`, but the answer goes to `sink` in chunks of its own as PostgreSQL gives it. @throws also what `sink` threw */
  stream(input: Uint8Array, sink: (data: Uint8Array) => void): void {
    this.#sink = sink;
    try {
      this.run(input);
    } finally {
      this.#sink = undefined;
      this.done();
    }
  }

  /** Ends the session with a checkpoint. Nothing can be run afterwards. */
  shutdown(): void {
    this.#hasSession = false;
    this.#handler.shutdown();
  }

  /** After the files were replaced: PostgreSQL starts on what is there. @throws GuestError; the log says why */
  reload(): void {
    this.#hasSession = false;
    this.#status = 'I';
    const errno = this.#exports.pgcell_reload();
    if (errno !== 0) {
      throw new GuestError(-errno, 'PostgreSQL does not start on these files');
    }
  }

  /** What the guest has for files; undefined in a module that has nothing. Use it between two commands. */
  get files(): FileExports | undefined {
    return typeof this.#exports.pgcell_file_open === 'function' ? this.#exports : undefined;
  }

  get transactionStatus(): TransactionStatus {
    return this.#status;
  }

  /** False when the session was ended by PostgreSQL; the next command begins another. */
  get hasSession(): boolean {
    return this.#hasSession;
  }

  /** How many sessions there were: another number means that settings, temporary tables and the transaction are gone. */
  get sessions(): number {
    return this.#sessions;
  }

  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** The last lines of PostgreSQL's log. */
  get log(): readonly string[] {
    return this.#log;
  }

  #checkStore(): void {
    if (this.#store?.failure !== undefined) {
      throw this.#store.failure;
    }
  }

  #grow(bytes: number): void {
    const missing = Math.ceil((bytes - this.#memory.buffer.byteLength) / PAGE_BYTES);
    if (missing > 0) {
      this.#memory.grow(missing);
    }
  }

  #prepare(): void {
    if (this.#isLent) {
      this.#buffer = new Uint8Array(BUFFER_BYTES); // somebody still reads the last answer
      this.#isLent = false;
    }
    this.#length = 0;
  }

  #collect(chunk: Uint8Array): void {
    if (this.#sink !== undefined) {
      const own = chunk.slice();
      this.#noteStatus(own, own.length);
      this.#sink(own);
      return;
    }
    const needed = this.#length + chunk.length;
    if (needed > this.#buffer.length) {
      const buffer = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
      buffer.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = buffer;
    }
    this.#buffer.set(chunk, this.#length);
    this.#length = needed;
  }

  #afterwards(): void {
    if ((this.#handler.status & Status.ENDED) !== 0) {
      this.#hasSession = false;
      this.#status = 'I';
    } else {
      this.#noteStatus(this.#buffer, this.#length);
    }
  }

  /** ReadyForQuery, where it is always: at the end. */
  #noteStatus(bytes: Uint8Array, length: number): void {
    const at = length - READY_BYTES;
    if (at >= 0 && bytes[at] === 0x5a && bytes[at + 1] === 0 && bytes[at + 2] === 0 && bytes[at + 3] === 0 && bytes[at + 4] === 5) {
      this.#status = String.fromCharCode(bytes[at + 5]!) as TransactionStatus;
    }
  }

  /** After a refusal: what was given is dropped, and PostgreSQL waits for a command. */
  #resync(error: unknown): void {
    if (error instanceof GuestError && error.errno === Errno.ENOTRECOVERABLE) {
      return;
    }
    try {
      this.#handler.reset();
      this.#length = 0;
      this.#sink = undefined;
      this.#handler.run(serialize.sync());
      this.#afterwards();
    } catch {
      // the first error is the one to tell
    }
    this.#length = 0;
  }

  #addLog(line: string): void {
    if (this.#log.push(line) > KEPT_LOG_LINES) {
      this.#log.shift();
    }
    this.#options.log?.(line);
  }
}

/** Pages that are the same already, of the image or empty, are only read: those that nobody wrote to take no memory of the machine's. */
function copyChangedPages(from: ArrayBuffer, to: ArrayBuffer): void {
  const source = new Int32Array(from);
  const target = new Int32Array(to);
  for (let start = 0; start < source.length; start += PAGE_WORDS) {
    const end = start + PAGE_WORDS;
    let at = start;
    while (at < end && source[at] === target[at]) {
      at++;
    }
    if (at < end) {
      target.set(source.subarray(at, end), at);
    }
  }
}

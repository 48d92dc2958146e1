/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The database class: PGlite's API over a cell.
 *
 *     const db = await PGlite.create();
 *     const { rows } = await db.query('select $1::int + 1 as n', [41]);
 *     await db.transaction(async (tx) => { await tx.exec('…'); });
 *     await db.close();
 *
 * Two locks give everything its turn: a transaction holds the outer one as long as its callback runs, a command the inner one. PostgreSQL
 * itself is called without promises: a command is over before anything else can run, so that one which finds both locks free is run at
 * once, within the call.
 */
import { Cell } from './cell.ts';
import { dumpDataDir, loadDataDir, readDataDir } from './datadir.ts';
import { ClosedError, DataDirError, TransactionAbortedError } from './errors.ts';
import { GuestFiles } from './files.ts';
import type {
  DebugLevel,
  DescribeQueryResult,
  DumpTarCompressionOptions,
  ExecProtocolOptions,
  ExecProtocolOptionsStream,
  ExecProtocolResult,
  Extensions,
  ExtensionSetupResult,
  PGliteInterfaceExtensions,
  PGliteOptions,
  QueryOptions,
  Results,
  StreamOptions,
  Transaction,
} from './interface.ts';
import { Lock } from './lock.ts';
import { DatabaseError, parseMessages } from './messages.ts';
import type { Message, NoticeMessage } from './messages.ts';
import { MessageWriter } from './protocol-frontend.ts';
import type { BindValue } from './protocol-frontend.ts';
import { newAnswer, readAnswer } from './results.ts';
import type { Answer, ReadOptions } from './results.ts';
import type { Storage } from './storage.ts';
import type { TarEntry } from './tar.ts';
import { query as template, quoteIdentifier } from './template.ts';
import { ARRAY_TYPES, arrayParser, arraySerializer, BYTEA, bytesOf, parsers, serializers, types } from './types.ts';
import type { Parser, Serializer } from './types.ts';

const BLOB_PATH = '/dev/blob';
const BLOB_FOLDER = '/dev';
/** OIDs of what initdb makes; they differ from build to build. Below are fixed ones, above those of users. */
const FIRST_UNPINNED_OID = 10000;
const FIRST_USER_OID = 16384;

/** A cell for a clone, instead of a fresh one. */
const CELL = Symbol('cell');
type InnerOptions = PGliteOptions & { [CELL]?: Cell; [ARRAYS]?: ReadonlyMap<number, number> };
const ARRAYS = Symbol('arrays');

type Channel = Set<(payload: string) => void>;

/** A stand-in for PGlite's file system of that name: the only place where a database can be. */
export class MemoryFS {}

/** A PostgreSQL of its own, with one session. Every method that runs something waits until the instance is ready. */
export class PGlite {
  /** Resolved when the instance can be used; rejected when it can't, with the reason, as everything is then. */
  readonly waitReady: Promise<void>;
  readonly debug: DebugLevel;
  /** As given. */
  readonly dataDir: string | undefined;
  /** By the OID of a type; changes count from the next command on. */
  readonly parsers: Record<number | string, Parser>;
  /** By the OID of a type; changes count from the next command on. */
  readonly serializers: Record<number | string, Serializer>;
  readonly #options: InnerOptions;
  readonly #transactions = new Lock();
  readonly #commands = new Lock();
  readonly #writer = new MessageWriter();
  /** Types of elements and the types of their arrays. */
  readonly #arrays = new Map<number, number>();
  #knowsAllArrays = false;
  readonly #channels = new Map<string, Channel>();
  readonly #listeners = new Set<(channel: string, payload: string) => void>();
  #extensions: ExtensionSetupResult[] = [];
  #cell: Cell | undefined;
  #isReady = false;
  #isClosed = false;
  #closing: Promise<void> | undefined;

  /**
   * Begins to make an instance; `create` waits for it.
   *
   * @param dataDir absent or `memory://NAME`: in memory; what else it can be depends on the entry
   */
  constructor(dataDir?: string, options?: PGliteOptions);
  constructor(options?: PGliteOptions);
  constructor(first?: string | PGliteOptions, second?: PGliteOptions) {
    const options: InnerOptions = typeof first === 'string' ? { ...second, dataDir: first } : (first ?? second ?? {});
    this.#options = options;
    this.dataDir = options.dataDir;
    this.debug = options.debug ?? 0;
    this.parsers = { ...parsers };
    this.serializers = { ...serializers };
    for (const [element, array] of options[ARRAYS] ?? ARRAY_TYPES) {
      this.#addArrayType(element, array);
    }
    Object.assign(this.parsers, options.parsers);
    Object.assign(this.serializers, options.serializers);
    this.waitReady = this.#init();
    this.waitReady.catch(() => {}); // told by every call
  }

  /**
   * Makes an instance and waits until it is ready.
   *
   * @param dataDir absent or `memory://NAME`: in memory; what else it can be depends on the entry
   * @returns the instance, with a property for each extension
   * @throws DataDirError for a `loadDataDir` that can't be used; DatabaseError when PostgreSQL refuses user or database; ContractError for
   *   a module that is none of this version; TypeError without a module; StorageError for a storage that can't be used
   */
  static create<T extends PGlite, O extends PGliteOptions>(
    this: new (dataDir?: string, options?: O) => T,
    options?: O,
  ): Promise<T & PGliteInterfaceExtensions<O['extensions']>>;
  static create<T extends PGlite, O extends PGliteOptions>(
    this: new (dataDir?: string, options?: O) => T,
    dataDir?: string,
    options?: O,
  ): Promise<T & PGliteInterfaceExtensions<O['extensions']>>;
  static async create(first?: string | PGliteOptions, second?: PGliteOptions): Promise<any> {
    const pg: PGlite = typeof first === 'string' ? new this(first, second) : new this(first ?? second);
    await pg.waitReady;
    return pg;
  }

  /** The storage that a `dataDir` means; the entries for Node and browsers know some. @throws TypeError for one that means nothing here */
  protected openStorage(dataDir: string): Storage {
    throw new TypeError(`dataDir can be memory:// here, not ${dataDir}; the option storage takes any storage`);
  }

  /** Gets `pgcell.wasm` when it is not among the options; the entries for Node, browsers and Workers know how. */
  protected loadModule(): Promise<WebAssembly.Module> {
    throw new TypeError('the option wasmModule is missing: pgcell.wasm as a WebAssembly.Module');
  }

  get ready(): boolean {
    return this.#isReady && !this.#isClosed;
  }

  get closed(): boolean {
    return this.#isClosed;
  }

  /** Bytes that the guest's memory has now; it never shrinks. 0 when the instance is not ready or closed. */
  get memoryBytes(): number {
    return this.#cell?.memoryBytes ?? 0;
  }

  /**
   * Runs one statement.
   *
   * @param params for $1, $2, …: converted by the types that PostgreSQL finds for them; null and undefined are NULL
   * @throws DatabaseError; Error for a parameter that can't be one of its type; ClosedError
   */
  query<T = { [key: string]: any }>(query: string, params?: any[] | null, options?: QueryOptions): Promise<Results<T>> {
    return this.#inTurn(true, () => this.#blob(query, options, () => this.#extended(query, params, options)), options) as Promise<Results<T>>;
  }

  /**
   * Runs one statement and gives its rows as they are asked for: PostgreSQL goes on when those it has made are taken, so that a result of
   * any size takes little memory. Everything else waits until the last row was taken, or the loop was left.
   *
   *     for await (const { id } of db.queryStream('select id from big')) …
   *
   * @throws as `query`, when a row is asked for; RangeError for a number of rows that can't be
   */
  queryStream<T = { [key: string]: any }>(query: string, params?: any[] | null, options?: StreamOptions): AsyncGenerator<T, void, undefined> {
    return this.#stream<T>(true, query, params, options);
  }

  /** Runs one statement, the template's values being its parameters. See `pgcell/template` for identifiers and raw SQL. @throws as `query` */
  sql<T = { [key: string]: any }>(strings: TemplateStringsArray, ...params: any[]): Promise<Results<T>> {
    const { query, params: values } = template(strings, ...params);
    return this.query(query, values);
  }

  /**
   * Runs any number of statements, which have no parameters. Those that are not in a transaction block are one transaction.
   *
   * @returns a result for each
   * @throws DatabaseError of the first that fails; those behind it are not run. ClosedError
   */
  exec(query: string, options?: QueryOptions): Promise<Results[]> {
    return this.#inTurn(true, () => this.#blob(query, options, () => this.#simple(query, options)), options);
  }

  /**
   * Finds out what types a statement's parameters and results have; it is not run. Waits for transactions, so don't use it in one.
   *
   * @throws DatabaseError when it can't be parsed; ClosedError
   */
  describeQuery(query: string, options?: QueryOptions): Promise<DescribeQueryResult> {
    return this.#inTurn(true, () => {
      const answer = this.#ask(
        this.#writer.parse('', checkText(query), options?.paramTypes).describe('statement').sync(),
        this.#readOptions(options),
        newAnswer(),
      );
      this.#settle(answer, query, undefined, options);
      return {
        queryParams: (answer.parameterTypes ?? []).map((dataTypeID) => ({
          dataTypeID,
          serializer: options?.serializers?.[dataTypeID] ?? this.serializers[dataTypeID],
        })),
        resultFields: (answer.fields ?? []).map(({ name, typeOid }) => ({
          name,
          dataTypeID: typeOid,
          parser: this.#parserOf(typeOid, options),
        })),
      };
    });
  }

  /**
   * Runs `callback` in a transaction, which is committed when its promise is resolved and rolled back when it is rejected. Everything else
   * waits meanwhile: use `tx` in it, not the instance.
   *
   * @returns what the callback returns
   * @throws what the callback throws; TransactionAbortedError when a statement had failed and the callback returned all the same;
   *   DatabaseError when COMMIT fails; ClosedError
   */
  async transaction<T>(callback: (tx: Transaction) => Promise<T>): Promise<T> {
    if (typeof callback !== 'function') {
      throw new TypeError('transaction() needs a function');
    }
    if (!this.ready) {
      await this._checkReady();
    }
    // without a wait before: what is called after this has its turn after it
    return this.#transactions.run(async () => {
      await this.#inTurn(false, () => this.#simple('BEGIN'));
      const session = this.#live().sessions;
      let isClosed = false;
      const check = () => {
        if (isClosed || this.#isClosed || session !== this.#live().sessions || !this.#live().hasSession) {
          throw this.#isClosed ? new ClosedError() : new ClosedError('Transaction is closed');
        }
      };
      const end = async (command: string) => {
        isClosed = true;
        return (await this.#inTurn(false, () => this.#simple(command)))[0];
      };
      const inTurn = async <R>(work: () => R | Promise<R>, options?: QueryOptions): Promise<R> => {
        check();
        return this.#inTurn(false, () => (check(), work()), options);
      };
      const tx: Transaction = {
        query: (query, params, options) =>
          inTurn(() => this.#blob(query, options, () => this.#extended(query, params, options)), options) as Promise<any>,
        sql: (strings, ...params) => {
          const { query, params: values } = template(strings, ...params);
          return tx.query(query, values);
        },
        exec: (query, options) => inTurn(() => this.#blob(query, options, () => this.#simple(query, options)), options),
        queryStream: <R>(query: string, params?: any[] | null, options?: StreamOptions) => {
          check();
          return this.#stream<R>(false, query, params, options);
        },
        rollback: async () => {
          check();
          await end('ROLLBACK');
        },
        listen: async (channel, listener) => {
          check();
          return this.listen(channel, listener, tx);
        },
        get closed() {
          return isClosed;
        },
      };
      let result: T;
      try {
        result = await callback(tx);
        if (!isClosed) {
          check();
        }
      } catch (error) {
        if (!isClosed && !this.#isClosed && session === this.#live().sessions && this.#live().hasSession) {
          await end('ROLLBACK').catch(() => {}); // the callback's error is the one to tell
        }
        isClosed = true;
        throw error;
      }
      if (!isClosed && (await end('COMMIT'))?.command === 'ROLLBACK') {
        throw new TransactionAbortedError();
      }
      return result;
    });
  }

  /**
   * Runs `callback` while no query and no transaction of others is begun: for `execProtocol` and its kin, which don't wait for any.
   * A `query` in it would wait for ever.
   */
  async runExclusive<T>(callback: () => Promise<T>): Promise<T> {
    if (!this.ready) {
      await this._checkReady();
    }
    return this.#commands.run(callback);
  }

  /**
   * Gives bytes of the protocol to PostgreSQL and returns its answer as bytes, which the caller owns. Errors, notices and notifications are
   * in them and nowhere else. Waits for nobody, see `runExclusive`.
   *
   * @throws GuestError when the bytes are refused; ClosedError
   */
  async execProtocolRaw(message: Uint8Array, _options?: ExecProtocolOptions): Promise<Uint8Array> {
    await this._checkReady();
    return this.#whenRun(async () => this.execProtocolRawSync(message));
  }

  /** As `execProtocolRaw`, without a promise; the instance must be ready. A storage that takes its time may not have stored what was committed: `syncToFs` tells. */
  execProtocolRawSync(message: Uint8Array): Uint8Array {
    const cell = this.#live();
    const answer = cell.run(message).slice();
    cell.done();
    return answer;
  }

  /** As `execProtocolRaw`; gives the answer in pieces, as PostgreSQL sends it, so that all of it is never in memory. What was committed is stored when the promise is resolved, not before. @throws also what `onRawData` throws */
  async execProtocolRawStream(message: Uint8Array, { onRawData }: ExecProtocolOptionsStream): Promise<void> {
    await this._checkReady();
    await this.#whenRun(async () => this.#live().stream(message, onRawData));
  }

  /**
   * Gives bytes of the protocol to PostgreSQL. Waits for nobody, see `runExclusive`.
   *
   * @returns the answer as bytes and as messages
   * @throws DatabaseError for the first ErrorResponse, unless `throwOnError` is false; GuestError when the bytes are refused; ClosedError
   */
  async execProtocol(message: Uint8Array, options: ExecProtocolOptions = {}): Promise<ExecProtocolResult> {
    await this._checkReady();
    const data = await this.execProtocolRaw(message);
    return { messages: this.#readMessages(data, options), data };
  }

  /** As `execProtocol`, without the bytes. */
  async execProtocolStream(message: Uint8Array, options: ExecProtocolOptions = {}): Promise<Message[]> {
    await this._checkReady();
    return this.#readMessages(await this.execProtocolRaw(message), options);
  }

  /** Whether the session is in a transaction block, also in one that has failed. */
  isInTransaction(): boolean {
    return this.#live().transactionStatus !== 'I';
  }

  /** Resolved when the storage has everything that was committed, which matters with `relaxedDurability` only. @throws StorageError */
  async syncToFs(): Promise<void> {
    await this._checkReady();
    await this.#live().kept;
  }

  /**
   * Calls `callback` for each notification of a channel. Notifications come with the answer to a command, as PostgreSQL gives them to a
   * session that is idle.
   *
   * @param channel a name as in SQL: lower case unless between double quotes
   * @param tx the transaction, when called within one
   * @returns ends it, for this callback
   */
  async listen(channel: string, callback: (payload: string) => void, tx?: Transaction): Promise<(tx?: Transaction) => Promise<void>> {
    const name = toPostgresName(channel);
    let callbacks = this.#channels.get(name);
    if (callbacks === undefined) {
      callbacks = new Set();
      this.#channels.set(name, callbacks);
    }
    callbacks.add(callback);
    try {
      await (tx ?? this).exec(`LISTEN ${quoteIdentifier(name)}`);
    } catch (error) {
      this.#forget(name, callback);
      throw error;
    }
    return (inner) => this.unlisten(channel, callback, inner);
  }

  /**
   * Ends `listen`.
   *
   * @param callback undefined: all of the channel
   * @param tx the transaction, when called within one
   */
  async unlisten(channel: string, callback?: (payload: string) => void, tx?: Transaction): Promise<void> {
    const name = toPostgresName(channel);
    if (this.#channels.has(name) && this.#forget(name, callback) && !this.#isClosed) {
      await (tx ?? this).exec(`UNLISTEN ${quoteIdentifier(name)}`);
    }
  }

  /** Calls `callback` for every notification, of all channels that the session listens to. @returns ends it */
  onNotification(callback: (channel: string, payload: string) => void): () => void {
    this.#listeners.add(callback);
    return () => this.offNotification(callback);
  }

  /** Ends `onNotification`. */
  offNotification(callback: (channel: string, payload: string) => void): void {
    this.#listeners.delete(callback);
  }

  /** Looks up the array types that were made since: before, their values are text. */
  async refreshArrayTypes(): Promise<void> {
    await this.#inTurn(true, () => this.#loadArrayTypes());
  }

  /**
   * The data directory as a tar archive, after a checkpoint; `loadDataDir` takes it. What a running transaction did is not in it.
   *
   * @param compression 'auto': gzip where the engine has it
   * @returns a File (`pgdata.tar.gz`, `pgdata.tar`), a Blob where there are no Files
   */
  async dumpDataDir(compression: DumpTarCompressionOptions = 'auto'): Promise<File | Blob> {
    return this.#inTurn(false, () => {
      if (this.#live().transactionStatus !== 'E') {
        this.#simple('CHECKPOINT');
      }
      return dumpDataDir(this.#live(), compression);
    });
  }

  /**
   * Another instance with the same database and options, made by copying memory. Settings, temporary tables and prepared statements of the
   * session come along; a transaction that runs does not, nor do `listen`ers.
   */
  async clone(): Promise<PGlite> {
    return this.#inTurn(false, async () => {
      const cell = await this.#live().clone(this.#log());
      const options: InnerOptions = { ...this.#options, [CELL]: cell, [ARRAYS]: this.#arrays };
      delete options.loadDataDir;
      const Class = this.constructor as new (options: PGliteOptions) => PGlite;
      const pg = new Class(options);
      pg.#knowsAllArrays = this.#knowsAllArrays;
      await pg.waitReady;
      return pg;
    });
  }

  /**
   * Ends the instance; its memory can be collected. Commands that wait are rejected. A storage gets a checkpoint, so that what opens it
   * next has nothing to recover, and is given up.
   *
   * @throws ClosedError when it was closed before; StorageError when the checkpoint could not be stored, which loses nothing that was committed
   */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#isClosed ? Promise.reject(new ClosedError()) : this.#closing;
  }

  /** `await using`: as `close`, if it is not closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) {
      await this.close();
    }
  }

  /** Waits until the instance is ready. @throws ClosedError; what kept it from getting ready */
  async _checkReady(): Promise<void> {
    if (this.#isClosed) {
      throw new ClosedError();
    }
    if (!this.#isReady) {
      await this.waitReady;
    }
  }

  /** As `runExclusive`. */
  _runExclusiveQuery<T>(callback: () => Promise<T>): Promise<T> {
    return this.#commands.run(callback);
  }

  /** Runs `callback` while no transaction is begun and no query of the instance's. */
  _runExclusiveTransaction<T>(callback: () => Promise<T>): Promise<T> {
    return this.#transactions.run(callback);
  }

  async #init(): Promise<void> {
    const options = this.#options;
    const { dataDir = '', loadDataDir: archive, fs, extensions = {} as Extensions } = options;
    if (fs !== undefined && !(fs instanceof MemoryFS)) {
      throw new TypeError('the option fs can be a MemoryFS only; the option storage says where the database is kept');
    }
    const isInMemory = dataDir === '' || dataDir.startsWith('memory://');
    if (!isInMemory && options.storage !== undefined) {
      throw new TypeError('the options dataDir and storage both say where the database is kept: give one of them');
    }
    const storage = options[CELL] !== undefined ? undefined : (options.storage ?? (isInMemory ? undefined : this.openStorage(dataDir)));
    for (const [name, extension] of Object.entries(extensions)) {
      if (typeof (extension as { setup?: unknown })?.setup === 'function') {
        const result = await (extension as Exclude<typeof extension, URL>).setup(this, {});
        this.#extensions.push(result ?? {});
        if (result?.namespaceObj !== undefined) {
          (this as Record<string, unknown>)[name] = result.namespaceObj;
        }
      }
    }
    let cell = options[CELL];
    if (cell === undefined) {
      const entries = archive === undefined ? undefined : await readDataDir(archive);
      const module = options.wasmModule ?? options.pgliteWasmModule ?? (await this.loadModule());
      cell = await Cell.open(module, {
        session: {
          user: options.username ?? 'postgres',
          database: options.database ?? 'postgres',
          client_encoding: 'UTF8',
        },
        log: this.#log(),
        initialMemoryBytes: options.initialMemory,
        maximumMemoryBytes: options.maximumMemory,
      });
      const fill = (files: readonly TarEntry[] | undefined = entries) => {
        if (files !== undefined) {
          cell!.start(LOADER); // the file functions' memory is a session's
          loadDataDir(cell!, files);
        }
      };
      if (storage === undefined) {
        fill();
      } else if (!(await cell.keepIn(storage, fill)) && entries !== undefined) {
        await cell.close();
        throw new DataDirError('there is a database already: loadDataDir is for a new one');
      }
      try {
        cell.start();
        cell.done();
      } catch (error) {
        await cell.close();
        throw error;
      }
      this.#cell = cell;
      if (entries !== undefined) {
        this.#loadArrayTypes();
      }
    } else {
      this.#cell = cell;
      if (cell.transactionStatus !== 'I') {
        this.#simple('ROLLBACK');
      }
      // random() of the copy is not to give what that of the original gives
      this.#simple(`UNLISTEN *; SELECT setseed(${Math.random() * 2 - 1})`);
    }
    this.#isReady = true;
    for (const { init } of this.#extensions) {
      await init?.();
    }
  }

  async #close(): Promise<void> {
    await this.waitReady.catch(() => {}); // one that never got ready can be closed as well
    for (const { close } of this.#extensions) {
      await close?.();
    }
    await this.#commands.run(async () => {
      const cell = this.#cell;
      this.#isClosed = true;
      this.#cell = undefined;
      this.#channels.clear();
      this.#listeners.clear();
      await cell?.close();
    });
  }

  #log(): ((line: string) => void) | undefined {
    const { onStderr } = this.#options;
    return onStderr ?? (this.debug > 0 ? (line) => console.log(line) : undefined);
  }

  #live(): Cell {
    if (this.#isClosed) {
      throw new ClosedError();
    }
    if (this.#cell === undefined) {
      throw new Error('the instance is not ready: wait for waitReady');
    }
    return this.#cell;
  }

  /**
   * Runs `work` when it is its turn, holding the lock of the commands.
   *
   * @param waitsForTransactions false for what is part of one
   */
  #inTurn<T>(waitsForTransactions: boolean, work: () => T | Promise<T>, options?: QueryOptions): Promise<T> {
    if (
      this.#isReady &&
      !this.#isClosed &&
      !this.#commands.isHeld &&
      !(waitsForTransactions && this.#transactions.isHeld) &&
      options?.blob === undefined
    ) {
      return this.#now(work);
    }
    return this.#later(waitsForTransactions, work);
  }

  #now<T>(work: () => T | Promise<T>): Promise<T> {
    let result: T | Promise<T>;
    try {
      result = this.#commands.runSync(work);
    } catch (error) {
      return this.#whenKept(Promise.reject(error));
    }
    return this.#whenKept(Promise.resolve(result));
  }

  /** What a command gives is told when what it changed is stored, an error included: statements before the one that failed may have been committed. */
  #whenKept<T>(result: Promise<T>): Promise<T> {
    const kept = this.#cell?.kept;
    if (kept === undefined || this.#options.relaxedDurability) {
      return result;
    }
    result.catch(() => {}); // not unhandled: it is told later
    return kept.then(() => result);
  }

  #later<T>(waitsForTransactions: boolean, work: () => T | Promise<T>): Promise<T> {
    if (!this.ready) {
      return this._checkReady().then(() => this.#later(waitsForTransactions, work));
    }
    const exclusive = () => this.#whenRun(() => this.#commands.run(() => (this.#live(), work())));
    return waitsForTransactions ? this.#transactions.run(exclusive) : exclusive();
  }

  async #whenRun<T>(run: () => Promise<T>): Promise<T> {
    try {
      const result = await run();
      return await this.#whenKept(Promise.resolve(result));
    } catch (error) {
      return this.#whenKept(Promise.reject(error));
    }
  }

  /** One statement through the extended protocol. */
  #extended(query: string, given: any[] | null | undefined, options?: QueryOptions): Results {
    const params = given ?? [];
    checkParams(query, params);
    const answer = this.#untilAnswered(() => this.#askExtended(query, params, options));
    this.#settle(answer, query, params, options);
    return answer.results[0] ?? { rows: [], fields: [], affectedRows: 0 };
  }

  #askExtended(query: string, params: readonly unknown[], options: QueryOptions | undefined): Answer {
    const typesGiven = options?.paramTypes ?? [];
    const readOptions = this.#readOptions(options);
    const answer = newAnswer();
    if (params.every((_, i) => typesGiven[i])) {
      // nothing to be asked: all in one
      this.#write((writer) => {
        writer.parse('', query, typesGiven).bind('', '', this.#bindValues(params, typesGiven, options)).describe('portal').execute().sync();
      });
      return this.#ask(this.#writer, readOptions, answer);
    }
    this.#askPart(this.#writer.parse('', query, typesGiven).describe('statement').flush(), DESCRIBE, answer);
    let failure: { readonly error: unknown } | undefined;
    if (answer.error === undefined) {
      try {
        this.#write((writer) => writer.bind('', '', this.#bindValues(params, answer.parameterTypes ?? [], options)).execute());
      } catch (error) {
        failure = { error };
      }
    }
    this.#ask(this.#writer.sync(), readOptions, answer);
    if (failure !== undefined) {
      throw failure.error;
    }
    return answer;
  }

  async *#stream<T>(waitsForTransactions: boolean, query: string, params: any[] | null | undefined, options: StreamOptions = {}): AsyncGenerator<T, void, undefined> {
    const { batchRows = 100 } = options;
    if (!Number.isInteger(batchRows) || batchRows < 1 || batchRows > 0x7fffffff) {
      throw new RangeError(`batchRows is a number of rows from 1, not ${batchRows}`);
    }
    checkParams(query, params);
    const release = await this.#hold(waitsForTransactions);
    const readOptions = this.#readOptions(options);
    const answer = newAnswer();
    let isEnded = false;
    try {
      this.#askPart(this.#writer.parse('', query, options.paramTypes).describe('statement').flush(), DESCRIBE, answer);
      if (answer.error === undefined) {
        this.#write((writer) => writer.bind('', '', this.#bindValues(params ?? [], answer.parameterTypes ?? [], options)));
      }
      while (!isEnded) {
        answer.results.length = 0;
        answer.isSuspended = false;
        if (answer.error === undefined) {
          this.#askPart(this.#writer.execute('', batchRows).flush(), readOptions, answer);
        }
        const [result] = answer.results;
        if (!answer.isSuspended) {
          isEnded = true;
          this.#ask(this.#writer.sync(), readOptions, answer);
          await this.#whenKept(Promise.resolve());
        }
        this.#settle(answer, query, params ?? undefined, options);
        answer.notifications.length = 0;
        yield* (result?.rows ?? []) as T[];
      }
    } finally {
      if (!isEnded && this.ready) {
        this.#ask(this.#writer.close('portal').sync(), DESCRIBE, newAnswer());
      }
      release();
    }
  }

  /** Takes the locks as `#inTurn` does, until what is returned is called. */
  async #hold(waitsForTransactions: boolean): Promise<() => void> {
    await this._checkReady();
    return new Promise((resolve, reject) => {
      const hold = () =>
        this.#commands.run(() => {
          this.#live();
          return new Promise<void>(resolve);
        });
      (waitsForTransactions ? this.#transactions.run(hold) : hold()).catch(reject);
    });
  }

  /** Any number of statements through the simple protocol. */
  #simple(query: string, options?: QueryOptions): Results[] {
    checkText(query);
    const answer = this.#untilAnswered(() => this.#ask(this.#writer.query(query), this.#readOptions(options), newAnswer()));
    this.#settle(answer, query, undefined, options);
    return answer.results;
  }

  /**
   * Every statement has a result or an error, unless PostgreSQL passed over it: that it does after an error, up to a Sync, which whoever
   * uses `execProtocolRaw` may have left to the next one.
   */
  #untilAnswered(ask: () => Answer): Answer {
    const answer = ask();
    return answer.results.length === 0 && answer.error === undefined && this.#live().hasSession ? ask() : answer;
  }

  /** Writes messages; nothing of them is left if that fails. */
  #write(write: (writer: MessageWriter) => void): void {
    try {
      write(this.#writer);
    } catch (error) {
      this.#writer.take();
      throw error;
    }
  }

  /** Sends what the writer has, the end of a command, and reads the answer. */
  #ask(writer: MessageWriter, readOptions: ReadOptions, answer: Answer): Answer {
    this.#askPart(writer, readOptions, answer);
    if (!answer.isReady && this.#live().hasSession) {
      this.#askPart(writer.sync(), readOptions, answer); // COPY … FROM STDIN takes the Sync for its own
    }
    return answer;
  }

  #askPart(writer: MessageWriter, readOptions: ReadOptions, answer: Answer): void {
    const input = writer.take();
    const cell = this.#live();
    if (!cell.hasSession) {
      this.#resume(cell);
    }
    const output = cell.run(input);
    try {
      readAnswer(output, readOptions, answer);
    } finally {
      cell.done();
    }
  }

  /** PostgreSQL has ended the session (pg_terminate_backend, a FATAL error): a new one, which listens to what the old one did. */
  #resume(cell: Cell): void {
    cell.start();
    for (const channel of this.#channels.keys()) {
      cell.run(new MessageWriter().query(`LISTEN ${quoteIdentifier(channel)}`).take());
    }
    cell.done();
  }

  /** Passes on notifications, then throws the error, if there is one. */
  #settle(answer: Answer, query: string, params: unknown[] | undefined, options: QueryOptions | undefined): void {
    for (const { channel, payload } of answer.notifications) {
      this.#notify(channel, payload);
    }
    if (answer.error !== undefined) {
      throw answer.error.from(query, params, options);
    }
  }

  #notify(channel: string, payload: string): void {
    for (const callback of this.#channels.get(channel) ?? []) {
      queueMicrotask(() => callback(payload));
    }
    for (const callback of this.#listeners) {
      queueMicrotask(() => callback(channel, payload));
    }
  }

  /** Takes a callback, or all of them, from a channel. Whether none is left. */
  #forget(name: string, callback: ((payload: string) => void) | undefined): boolean {
    const callbacks = this.#channels.get(name);
    if (callback !== undefined) {
      callbacks?.delete(callback);
    }
    if (callback === undefined || !callbacks?.size) {
      this.#channels.delete(name);
      return true;
    }
    return false;
  }

  #readOptions(options: QueryOptions | undefined): ReadOptions {
    return {
      rowMode: options?.rowMode,
      onNotice: options?.onNotice,
      parserOf: (typeId) => this.#parserOf(typeId, options),
    };
  }

  #parserOf(typeId: number, options: QueryOptions | undefined): Parser | undefined {
    const parser = options?.parsers?.[typeId] ?? this.parsers[typeId];
    if (parser === undefined && typeId >= FIRST_UNPINNED_OID && typeId < FIRST_USER_OID && !this.#knowsAllArrays) {
      if (this.#live().transactionStatus !== 'E') {
        this.#loadArrayTypes();
        return this.parsers[typeId];
      }
    }
    return parser;
  }

  #bindValues(params: readonly unknown[], typeIds: readonly number[], options: QueryOptions | undefined): BindValue[] {
    return params.map((value, i) => {
      if (value === null || value === undefined) {
        return null;
      }
      const typeId = typeIds[i];
      const serializer = typeId === undefined ? undefined : (options?.serializers?.[typeId] ?? this.serializers[typeId]);
      if (serializer === undefined) {
        return String(value);
      }
      if (typeId === BYTEA && serializer === types.bytea.serialize) {
        return bytesOf(value) ?? serializer(value); // which says what is wrong
      }
      const text: unknown = serializer(value);
      return typeof text === 'string' || text === null || text instanceof Uint8Array ? text : String(text);
    });
  }

  #addArrayType(element: number, array: number): void {
    this.#arrays.set(element, array);
    this.parsers[array] = (x) => {
      const parser = this.parsers[element];
      return arrayParser(x, parser && ((text) => parser(text, element)), array);
    };
    this.serializers[array] = (x) => arraySerializer(x, this.serializers[element], array);
  }

  #loadArrayTypes(): void {
    const query = 'SELECT oid, typarray FROM pg_catalog.pg_type WHERE typarray <> 0';
    const [result] = this.#simple(query, { rowMode: 'array', parsers: { 26: Number } });
    this.#knowsAllArrays = true;
    for (const [element, array] of (result?.rows ?? []) as unknown as [number, number][]) {
      if (this.#arrays.get(element) !== array) {
        this.#addArrayType(element, array);
      }
    }
  }

  #readMessages(data: Uint8Array, { throwOnError = true, onNotice }: ExecProtocolOptions): Message[] {
    const messages = parseMessages(data);
    let failure: DatabaseError | undefined;
    for (const message of messages) {
      if (message instanceof DatabaseError) {
        failure ??= message;
      } else if (message.name === 'notice') {
        onNotice?.(message as NoticeMessage);
      } else if (message.name === 'notification') {
        this.#notify(message.channel, message.payload);
      }
    }
    if (failure !== undefined && throwOnError) {
      throw failure;
    }
    return messages;
  }

  /** Runs `work` with `/dev/blob`, if the query can mean that: the given one for COPY FROM, and what COPY TO wrote as a result's. */
  #blob<T extends Results | Results[]>(query: string, options: QueryOptions | undefined, work: () => T): T | Promise<T> {
    const blob = options?.blob;
    if (blob === undefined && (typeof query !== 'string' || !query.includes(BLOB_PATH))) {
      return work();
    }
    const cell = this.#live();
    if (!cell.hasSession) {
      this.#resume(cell);
    }
    const files = new GuestFiles(cell);
    files.mkdir(BLOB_FOLDER);
    if (blob === undefined) {
      return this.#takeBlob(files, work);
    }
    return blob.arrayBuffer().then((bytes) => {
      files.write(BLOB_PATH, new Uint8Array(bytes));
      try {
        return work();
      } finally {
        removeBlob(files);
      }
    });
  }

  #takeBlob<T extends Results | Results[]>(files: GuestFiles, work: () => T): T {
    try {
      const results = work();
      if (files.stat(BLOB_PATH) !== undefined) {
        const blob = new Blob([files.read(BLOB_PATH)]);
        for (const result of Array.isArray(results) ? results : [results]) {
          (result as Results).blob = blob;
        }
      }
      return results;
    } finally {
      removeBlob(files);
    }
  }
}

/** Whom the fresh cluster knows, whoever is in the one that replaces it. */
const LOADER = { user: 'postgres', database: 'postgres' };
/** For an answer in which there are no rows. */
const DESCRIBE: ReadOptions = { parserOf: () => undefined };

function removeBlob(files: GuestFiles): void {
  try {
    if (files.stat(BLOB_PATH) !== undefined) {
      files.remove(BLOB_PATH);
    }
  } catch {
    // the session is gone, and what the query said is what counts
  }
}

function checkParams(query: unknown, params: unknown): void {
  checkText(query);
  if (params !== null && params !== undefined && !Array.isArray(params)) {
    throw new TypeError('the parameters of a query are an array');
  }
}

function checkText(query: unknown): string {
  if (typeof query !== 'string') {
    throw new TypeError(`a query is a string, not ${query === null ? 'null' : typeof query}`);
  }
  return query;
}

/** A name as PostgreSQL reads it in SQL: what is between double quotes, or else lower case. */
function toPostgresName(name: string): string {
  return name.length > 1 && name.startsWith('"') && name.endsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
}

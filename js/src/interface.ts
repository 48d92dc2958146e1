/** The types of the database class; names and shapes are PGlite's. */
import type { PGlite } from './database.ts';
import type { Message, NoticeMessage } from './messages.ts';
import type { Parser, Serializer } from './types.ts';
import type { Storage } from './storage.ts';

export type RowMode = 'array' | 'object';
/** 0: nothing; 1 and more: PostgreSQL's log goes to the console, unless `onStderr` is given. */
export type DebugLevel = 0 | 1 | 2 | 3 | 4 | 5;
export type DumpTarCompressionOptions = 'none' | 'gzip' | 'auto';

/** By the OID of a type: makes a value of PostgreSQL's text for it. NULL is not given to parsers. */
export interface ParserOptions {
  // any: whoever writes a parser knows what it makes
  [pgType: number]: (value: string, typeId?: number) => any;
}

/** By the OID of a type: makes PostgreSQL's text of a value. null and undefined are NULL and not given to serializers. */
export interface SerializerOptions {
  [pgType: number]: (value: any) => string;
}

export interface QueryOptions {
  /** 'array': rows are arrays of values, for columns of the same name. Default: 'object'. */
  rowMode?: RowMode;
  /** Before the instance's own. */
  parsers?: ParserOptions;
  /** Before the instance's own. */
  serializers?: SerializerOptions;
  /** What COPY … FROM '/dev/blob' reads. */
  blob?: Blob | File;
  /** Called for each notice and warning, before the promise is settled. */
  onNotice?: (notice: NoticeMessage) => void;
  /** OIDs of the parameters' types; 0 or missing: PostgreSQL finds out. */
  paramTypes?: number[];
}

export interface ExecProtocolOptions {
  /** Accepted for PGlite's sake. */
  syncToFs?: boolean;
  /** Whether an ErrorResponse rejects the promise. Default: true. */
  throwOnError?: boolean;
  onNotice?: (notice: NoticeMessage) => void;
}

export interface ExecProtocolOptionsStream {
  /** Accepted for PGlite's sake. */
  syncToFs?: boolean;
  /** Takes output as it comes, while the query runs. It owns `data`. */
  onRawData: (data: Uint8Array) => void;
}

export interface ExecProtocolResult {
  messages: Message[];
  /** The same as bytes, which the caller owns. */
  data: Uint8Array;
}

export interface ExtensionSetupResult<TNamespace = any> {
  /** What PGlite would pass to Emscripten; ignored. */
  emscriptenOpts?: any;
  /** Becomes a property of the instance, by the name that the extension has in `extensions`. */
  namespaceObj?: TNamespace;
  /** PGlite's bundle of a PostgreSQL extension; ignored: extensions of PostgreSQL are in the module. */
  bundlePath?: URL;
  sharedPreloadLibraries?: string[];
  /** Called when the instance can run queries, before it is ready for others. */
  init?: () => Promise<void>;
  /** Called by `close`, while queries can still be run. */
  close?: () => Promise<void>;
}

export type ExtensionSetup<TNamespace = any> = (
  pg: any,
  emscriptenOpts: any,
  clientOnly?: boolean,
) => Promise<ExtensionSetupResult<TNamespace>>;

export interface Extension<TNamespace = any> {
  name: string;
  setup: ExtensionSetup<TNamespace>;
}

export type Extensions = { [namespace: string]: Extension | URL };
export type ExtensionNamespace<T> = T extends Extension<infer TNamespace> ? TNamespace : any;
export type InitializedExtensions<TExtensions extends Extensions = Extensions> = {
  [K in keyof TExtensions]: ExtensionNamespace<TExtensions[K]>;
};
/** The properties that extensions add to an instance; nothing when it is not known which there are. */
export type PGliteInterfaceExtensions<E> = E extends Extensions
  ? string extends keyof E
    ? unknown
    : {
        [K in keyof E]: E[K] extends Extension
          ? Awaited<ReturnType<E[K]['setup']>>['namespaceObj'] extends infer N
            ? N extends undefined | null | void
              ? never
              : N
            : never
          : never;
      }
  : unknown;

export interface PGliteOptions<TExtensions extends Extensions = Extensions> {
  /**
   * Where the database is kept. Absent or `memory://NAME`: in memory, gone with the instance. In Node a directory, as a path or
   * `file://PATH`; in browsers `idb://NAME` (IndexedDB) or `opfs://NAME` (in Web Workers only). It is made if there is none.
   */
  dataDir?: string;
  /** Instead of `dataDir`: where the database is kept. One that is new gets a fresh cluster, or `loadDataDir`. */
  storage?: Storage;
  /** A role that exists. Default: postgres. */
  username?: string;
  /** A database that exists. Default: postgres. */
  database?: string;
  debug?: DebugLevel;
  /** Commands don't wait until the storage has what they committed: a crash may lose the last ones, in order. Default: false. */
  relaxedDurability?: boolean;
  extensions?: TExtensions;
  /** A data directory to begin with, as `dumpDataDir` gives it: tar, gzipped or not. Default: a fresh cluster. */
  loadDataDir?: Blob | File;
  /** `pgcell.wasm`, compiled; can be shared by many instances. Default: what the entry for this environment finds. */
  wasmModule?: WebAssembly.Module;
  /** Another name for `wasmModule`. */
  pgliteWasmModule?: WebAssembly.Module;
  /** Bytes that the guest's memory has at least at the start. */
  initialMemory?: number;
  /** Bytes that the guest's memory has at most; PostgreSQL reports that it is out of memory. Default: 3.5 GiB. */
  maximumMemory?: number;
  parsers?: ParserOptions;
  serializers?: SerializerOptions;
  /** Takes PostgreSQL's log, line by line. */
  onStderr?: (text: string) => unknown;
  /** PostgreSQL does not write to its standard output. */
  onStdout?: (text: string) => unknown;
  /** PGlite's file systems; only `MemoryFS` is one here. */
  fs?: unknown;
}

export interface StreamOptions extends QueryOptions {
  /** How many rows PostgreSQL makes at a time, from 1. Default: 100. */
  batchRows?: number;
}

export type Row<T = { [key: string]: any }> = T;

export type Results<T = { [key: string]: any }> = {
  rows: Row<T>[];
  /** Rows inserted, updated, deleted, merged or copied; in `exec`, by this statement and those before it. */
  affectedRows?: number;
  /** The first word of what PostgreSQL says it did: SELECT, INSERT, CREATE. Missing when there was no statement. */
  command?: string;
  /** The number in it: rows returned or changed by this statement. Missing when it has none. */
  rowCount?: number;
  fields: { name: string; dataTypeID: number }[];
  /** What COPY … TO '/dev/blob' wrote. */
  blob?: Blob;
};

export type DescribeQueryResult = {
  queryParams: { dataTypeID: number; serializer: Serializer | undefined }[];
  resultFields: { name: string; dataTypeID: number; parser: Parser | undefined }[];
};

/** What the callback of `transaction` works with. Of no use when that has ended: everything rejects then. */
export interface Transaction {
  /** As the instance's. */
  query<T>(query: string, params?: any[], options?: QueryOptions): Promise<Results<T>>;
  /** As the instance's. */
  sql<T>(sqlStrings: TemplateStringsArray, ...params: any[]): Promise<Results<T>>;
  /** As the instance's. */
  exec(query: string, options?: QueryOptions): Promise<Array<Results>>;
  /** As the instance's; the other methods wait until it has ended. */
  queryStream<T>(query: string, params?: any[] | null, options?: StreamOptions): AsyncGenerator<T, void, undefined>;
  /** Ends the transaction without its changes; `transaction` then resolves with what the callback returns. */
  rollback(): Promise<void>;
  /** As the instance's; PostgreSQL begins to listen when the transaction is committed. */
  listen(channel: string, callback: (payload: string) => void): Promise<(tx?: Transaction) => Promise<void>>;
  get closed(): boolean;
}

/** What extensions and libraries may expect of an instance. */
export type PGliteInterface<T extends Extensions = Extensions> = InitializedExtensions<T> &
  Pick<
    PGlite,
    | 'waitReady'
    | 'debug'
    | 'ready'
    | 'closed'
    | 'close'
    | 'query'
    | 'sql'
    | 'exec'
    | 'describeQuery'
    | 'transaction'
    | 'execProtocolRaw'
    | 'execProtocolRawStream'
    | 'execProtocol'
    | 'runExclusive'
    | 'listen'
    | 'unlisten'
    | 'onNotification'
    | 'offNotification'
    | 'dumpDataDir'
    | 'refreshArrayTypes'
  >;

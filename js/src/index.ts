/**
 * All of pgcell but a way to get the module: the database class, which has PGlite's API, and the low level below it, PostgreSQL's wire
 * protocol in and out of a module. The entries for Node, browsers and Workers add the module.
 */
export * from './contract.ts';
export { SIGINT, SIGTERM } from './handler.ts';
export type { HandlerOptions } from './handler.ts';
export { createPGliteCallbackHandler, PGliteCallbackHandler } from './handler-callback.ts';
export { createPGliteImportHandler, PGliteImportHandler } from './handler-import.ts';
export { createPGlitePollingHandler, PGlitePollingHandler } from './handler-polling.ts';
export { PGliteWaitingPollingHandler } from './handler-asyncify.ts';
export { canWait, PGliteWaitingHandler } from './handler-jspi.ts';
export type { WaitingHandlerOptions } from './handler-waiting.ts';
export { instantiate } from './instantiate.ts';
export type { Guest, Handler, InstantiateOptions } from './instantiate.ts';
export * from './protocol.ts';
export type { Input } from './queue.ts';
export { createWasi, GuestExit } from './wasi.ts';
export type { Wasi, WasiFunctionName, WasiOptions } from './wasi.ts';

export { MemoryFS, PGlite, PGlite as PGcell } from './database.ts';
export { ClosedError, DatabaseError, DataDirError, StorageError, TransactionAbortedError } from './errors.ts';
export { formatQuery } from './format-query.ts';
export type * from './interface.ts';
export { DurableObjectStorage } from './storage-durable-object.ts';
export type { DurableObjectSqlStorage } from './storage-durable-object.ts';
export { BLOCK_BYTES } from './storage.ts';
export type { BlockChanges, Storage, StorageContents, StoredBlock } from './storage.ts';
export type { Message, NoticeMessage } from './messages.ts';
export * as messages from './messages.ts';
export * as protocol from './messages.ts';
export * as types from './types.ts';

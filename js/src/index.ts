/** The low level of pgcell: PostgreSQL's wire protocol in and out of a module. */
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

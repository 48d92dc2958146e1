/** The import transport: the guest calls `env.pglite_js_read` and `env.pglite_js_write`, bound at instantiation. */
import type { TransportImports } from './contract.ts';
import type { HandlerOptions } from './handler.ts';
import { StreamHandler } from './handler-stream.ts';
import { PGliteWaitingHandler } from './handler-jspi.ts';
import type { WaitingHandlerOptions } from './handler-waiting.ts';

/** A handler for `pgcell.wasm`; see `SyncHandler` for its methods. */
export class PGliteImportHandler extends StreamHandler<'imports'> {
  override readonly transport = 'imports';
  /** What the guest imports from `env`. */
  readonly imports: TransportImports = {
    pglite_js_read: (ptr, maxLength) => this.read(ptr, maxLength),
    pglite_js_write: (ptr, length) => this.write(ptr, length),
  };
}

/**
 * Makes a handler for one instance of `pgcell.wasm`. With `wait: true`, where the engine has JSPI (see `canWait`), its calls return
 * promises, and the guest waits for input that is not there yet and for a reader that is slow.
 *
 * @throws TypeError for `wait: true` in an engine without JSPI
 */
export function createPGliteImportHandler(options: WaitingHandlerOptions & { readonly wait: true }): PGliteWaitingHandler;
export function createPGliteImportHandler(options?: HandlerOptions & { readonly wait?: false }): PGliteImportHandler;
export function createPGliteImportHandler(
  options: (HandlerOptions & { readonly wait?: false }) | (WaitingHandlerOptions & { readonly wait: true }) = {},
): PGliteImportHandler | PGliteWaitingHandler {
  return options.wait ? new PGliteWaitingHandler(options) : new PGliteImportHandler(options);
}

/**
 * The callbacks transport: the guest calls two functions of its table. Only exported functions of WebAssembly can stand there, and
 * making one of a JavaScript function needs code generation; so a tiny module of its own (`pgcell-trampoline.wasm`) imports ours and
 * exports them again.
 */
import type { TrampolineImports } from './contract.ts';
import type { HandlerOptions } from './handler.ts';
import { StreamHandler } from './handler-stream.ts';

/** A handler for `pgcell-callbacks.wasm`; see `SyncHandler` for its methods. */
export class PGliteCallbackHandler extends StreamHandler<'callbacks'> {
  override readonly transport = 'callbacks';
  /** The guest imports nothing from `env`. */
  readonly imports = {};
  /** What the trampoline imports from `env`. */
  readonly trampolineImports: TrampolineImports = {
    read: (ptr, maxLength) => this.read(ptr, maxLength),
    write: (ptr, length) => this.write(ptr, length),
  };
  #trampoline: WebAssembly.Exports | undefined;
  #isInstalled = false;

  /**
   * The functions for the guest's table: an instance of `pgcell-trampoline.wasm` that was made with `trampolineImports`. Without it the
   * guest has no transport (ENOTCONN). Before or after `setModule`.
   */
  setTrampoline(trampoline: WebAssembly.Instance): void {
    for (const name of ['read', 'write']) {
      if (typeof trampoline.exports[name] !== 'function') {
        throw new TypeError(`the trampoline has no export ${name}`);
      }
    }
    this.#trampoline = trampoline.exports;
    this.#isInstalled = false;
    this.#install();
  }

  override setModule(module: WebAssembly.Instance | WebAssembly.Exports): void {
    super.setModule(module);
    this.#isInstalled = false;
    this.#install();
  }

  #install(): void {
    if (this.#trampoline === undefined || this.#isInstalled || !this.hasModule) {
      return;
    }
    const exports = this.liveExports();
    const table = exports.__indirect_function_table;
    const read = table.grow(2);
    table.set(read, this.#trampoline['read']);
    table.set(read + 1, this.#trampoline['write']);
    exports.set_read_write_cbs(read, read + 1);
    this.#isInstalled = true;
  }
}

/** Makes a handler for one instance of `pgcell-callbacks.wasm`. */
export function createPGliteCallbackHandler(options?: HandlerOptions): PGliteCallbackHandler {
  return new PGliteCallbackHandler(options);
}

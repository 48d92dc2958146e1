/** Puts a compiled module, a handler and WASI together. Compiles nothing: Workers get their modules compiled. */
import { ContractError } from './contract.ts';
import type { ExportsOfTransport } from './contract.ts';
import { PGliteWaitingPollingHandler } from './handler-asyncify.ts';
import { PGliteCallbackHandler } from './handler-callback.ts';
import { PGliteImportHandler } from './handler-import.ts';
import { PGliteWaitingHandler } from './handler-jspi.ts';
import { PGlitePollingHandler } from './handler-polling.ts';
import { createWasi } from './wasi.ts';
import type { Wasi, WasiOptions } from './wasi.ts';

export type Handler = PGliteImportHandler | PGliteWaitingHandler | PGlitePollingHandler | PGliteWaitingPollingHandler | PGliteCallbackHandler;

export interface InstantiateOptions extends WasiOptions {
  /** `pgcell-trampoline.wasm`, compiled; the callbacks transport needs it. */
  readonly trampoline?: WebAssembly.Module;
  /** The guest's memory grows no further than this; PostgreSQL reports that it is out of memory. Default: what the engine gives, 4 GiB at most. */
  readonly memoryLimitBytes?: number;
}

export interface Guest<H extends Handler> {
  readonly instance: WebAssembly.Instance;
  readonly exports: ExportsOfTransport[H['transport']];
  readonly handler: H;
  readonly wasi: Wasi;
}

/**
 * Makes an instance: a database of its own, in which no session has begun (see the handler's `start`).
 *
 * @param module `pgcell.wasm`, `pgcell-polling.wasm`, `pgcell-asyncify.wasm` or `pgcell-callbacks.wasm`, as the handler wants it; can be
 *   used for many instances
 * @param handler a new one; belongs to the instance from now on
 * @throws ContractError for a module of another version, another transport, or without a cluster; WebAssembly.LinkError when the
 *   module wants an import that is not there, which it names
 */
export async function instantiate<H extends Handler>(
  module: WebAssembly.Module,
  handler: H,
  options: InstantiateOptions = {},
): Promise<Guest<H>> {
  const wasi = createWasi(options);
  const instance = await WebAssembly.instantiate(module, {
    wasi_snapshot_preview1: handler instanceof PGliteWaitingPollingHandler ? { ...wasi.imports, ...handler.wasiImports } : wasi.imports,
    env: handler.imports as WebAssembly.ModuleImports,
  });
  handler.setModule(instance); // before anything else: it says what is wrong with a module that is none of ours
  wasi.setMemory(instance.exports['memory'] as WebAssembly.Memory);
  if (handler instanceof PGliteCallbackHandler) {
    if (options.trampoline === undefined) {
      throw new TypeError('the callbacks transport needs the option trampoline');
    }
    handler.setTrampoline(
      await WebAssembly.instantiate(options.trampoline, { env: handler.trampolineImports as unknown as WebAssembly.ModuleImports }),
    );
  }
  const exports = instance.exports as unknown as ExportsOfTransport[H['transport']];
  if (exports.pgl_initdb() !== 1) {
    throw new ContractError('the module has no cluster: pgl_initdb() did not answer 1');
  }
  const { memoryLimitBytes } = options;
  if (memoryLimitBytes !== undefined && (!(memoryLimitBytes > 0) || exports.pgcell_set_memory_limit(Math.min(memoryLimitBytes, 0xffff0000)) !== 0)) {
    throw new RangeError(`memoryLimitBytes is ${memoryLimitBytes}; the module has ${exports.memory.buffer.byteLength} bytes to begin with`);
  }
  return { instance, exports, handler, wasi };
}

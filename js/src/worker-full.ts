/** The entry for Cloudflare Workers with all extensions; otherwise as `worker.ts`. */
import compiled from './pgcell-full.wasm';
import { PGlite as Base } from './database.ts';

export * from './index.ts';

/** The module that was deployed with the Worker. */
export const pgcellModule: WebAssembly.Module = compiled;

/** As the class of the core; without the option `wasmModule` it takes the module that was deployed with the Worker. */
export class PGlite extends Base {
  /** @internal as the base class has it: instances of both are one type */
  protected override async loadModule(): Promise<WebAssembly.Module> {
    return pgcellModule;
  }
}

export { PGlite as PGcell };

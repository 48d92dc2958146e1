/** The entry for Node and Bun: `pgcell.wasm` is the file beside this one. */
import { readFile } from 'node:fs/promises';
import { PGlite as Base } from './database.ts';
import { ModuleCache } from './module-cache.ts';

export * from './index.ts';

const cache = new ModuleCache(async () => WebAssembly.compile(await readFile(new URL('./pgcell.wasm', import.meta.url))));

/** As the class of the core; without the option `wasmModule` it compiles the file once for all instances of the process. */
export class PGlite extends Base {
  protected override loadModule(): Promise<WebAssembly.Module> {
    return cache.get();
  }
}

export { PGlite as PGcell };

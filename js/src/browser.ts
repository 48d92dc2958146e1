/** The entry for browsers and bundlers: `pgcell.wasm` is fetched from beside this file, and `dataDir` can be `idb://NAME` or `opfs://NAME`. */
import { fetchModule, openBrowserStorage } from './browser-storage.ts';
import { PGlite as Base } from './database.ts';
import { ModuleCache } from './module-cache.ts';
import type { Storage } from './storage.ts';
import { IndexedDBStorage } from './storage-indexeddb.ts';
import { OPFSStorage } from './storage-opfs.ts';

export * from './index.ts';
export { IndexedDBStorage, OPFSStorage };

const cache = new ModuleCache(() => fetchModule(new URL('./pgcell.wasm', import.meta.url)));

/** As the class of the core; without the option `wasmModule` it fetches the module once for all instances of the page. */
export class PGlite extends Base {
  /** @internal as the base class has it: instances of both are one type */
  protected override loadModule(): Promise<WebAssembly.Module> {
    return cache.get();
  }

  /** @internal as the base class has it: instances of both are one type */
  protected override openStorage(dataDir: string): Storage {
    return openBrowserStorage(dataDir);
  }
}

export { PGlite as PGcell };

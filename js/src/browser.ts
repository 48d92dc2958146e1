/** The entry for browsers and bundlers: `pgcell.wasm` is fetched from beside this file, and `dataDir` can be `idb://NAME` or `opfs://NAME`. */
import { PGlite as Base } from './database.ts';
import { ModuleCache } from './module-cache.ts';
import type { Storage } from './storage.ts';
import { IndexedDBStorage } from './storage-indexeddb.ts';
import { OPFSStorage } from './storage-opfs.ts';

export * from './index.ts';
export { IndexedDBStorage, OPFSStorage };

/** `opfs-ahp` is PGlite's name. */
const STORAGES: Record<string, new (name: string) => Storage> = { idb: IndexedDBStorage, opfs: OPFSStorage, 'opfs-ahp': OPFSStorage };

const cache = new ModuleCache(async () => {
  const url = new URL('./pgcell.wasm', import.meta.url);
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url}: ${response.status} ${response.statusText}`);
  }
  // a server that does not know the type of .wasm files must not matter
  const isWasm = response.headers.get('content-type')?.startsWith('application/wasm');
  return isWasm ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
});

/** As the class of the core; without the option `wasmModule` it fetches the module once for all instances of the page. */
export class PGlite extends Base {
  /** @internal as the base class has it: instances of both are one type */
  protected override loadModule(): Promise<WebAssembly.Module> {
    return cache.get();
  }

  /** @internal as the base class has it: instances of both are one type */
  protected override openStorage(dataDir: string): Storage {
    const [, scheme = '', name = ''] = /^([\w-]+):\/\/(.*)$/.exec(dataDir) ?? [];
    const Class = STORAGES[scheme];
    if (Class === undefined || name === '') {
      throw new TypeError(`dataDir can be memory://, idb://NAME or opfs://NAME here, not ${dataDir}`);
    }
    return new Class(name);
  }
}

export { PGlite as PGcell };

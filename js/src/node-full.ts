/** The entry for Node and Bun with all extensions; otherwise as `node.ts`. */
import { readFile } from 'node:fs/promises';
import { PGlite as Base } from './database.ts';
import { openDirectory } from './directory.ts';
import { ModuleCache } from './module-cache.ts';
import { DirectoryStorage } from './storage-directory.ts';

export * from './index.ts';
export { DirectoryStorage };

const cache = new ModuleCache(async () => WebAssembly.compile(await readFile(new URL('./pgcell-full.wasm', import.meta.url))));

/** As the class of the core; without the option `wasmModule` it compiles the file once for all instances of the process. */
export class PGlite extends Base {
  /** @internal as the base class has it: instances of both are one type */
  protected override loadModule(): Promise<WebAssembly.Module> {
    return cache.get();
  }

  /** @internal as the base class has it: instances of both are one type */
  protected override openStorage(dataDir: string): DirectoryStorage {
    return openDirectory(dataDir);
  }
}

export { PGlite as PGcell };

/** The entry for Node and Bun: `pgcell.wasm` is the file beside this one, and `dataDir` a directory. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { PGlite as Base } from './database.ts';
import { ModuleCache } from './module-cache.ts';
import { DirectoryStorage } from './storage-directory.ts';

export * from './index.ts';
export { DirectoryStorage };

const cache = new ModuleCache(async () => WebAssembly.compile(await readFile(new URL('./pgcell.wasm', import.meta.url))));

/** As the class of the core; without the option `wasmModule` it compiles the file once for all instances of the process. */
export class PGlite extends Base {
  /** @internal as the base class has it: instances of both are one type */
  protected override loadModule(): Promise<WebAssembly.Module> {
    return cache.get();
  }

  /** @internal as the base class has it: instances of both are one type */
  protected override openStorage(dataDir: string): DirectoryStorage {
    if (/^[\w-]{2,}:/.test(dataDir) && !dataDir.startsWith('file:')) {
      throw new TypeError(`dataDir can be a directory or memory:// here, not ${dataDir}`); // a drive has one letter
    }
    // PGlite's form of it, file://relative/path, is no URL
    const isUrl = dataDir.startsWith('file:///');
    return new DirectoryStorage(isUrl ? fileURLToPath(dataDir) : dataDir.replace(/^file:\/\//, ''));
  }
}

export { PGlite as PGcell };

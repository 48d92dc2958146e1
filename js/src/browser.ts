/** The entry for browsers and bundlers: `pgcell.wasm` is fetched from beside this file. */
import { PGlite as Base } from './database.ts';
import { ModuleCache } from './module-cache.ts';

export * from './index.ts';

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
  protected override loadModule(): Promise<WebAssembly.Module> {
    return cache.get();
  }
}

export { PGlite as PGcell };

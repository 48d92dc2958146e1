import type { Storage } from './storage.ts';
import { IndexedDBStorage } from './storage-indexeddb.ts';
import { OPFSStorage } from './storage-opfs.ts';

/** `opfs-ahp` is PGlite's name. */
const STORAGES: Record<string, new (name: string) => Storage> = { idb: IndexedDBStorage, opfs: OPFSStorage, 'opfs-ahp': OPFSStorage };

/** The storage of a `dataDir` in browsers. */
export function openBrowserStorage(dataDir: string): Storage {
  const [, scheme = '', name = ''] = /^([\w-]+):\/\/(.*)$/.exec(dataDir) ?? [];
  const Class = STORAGES[scheme];
  if (Class === undefined || name === '') {
    throw new TypeError(`dataDir can be memory://, idb://NAME or opfs://NAME here, not ${dataDir}`);
  }
  return new Class(name);
}

/** Fetches a module and compiles it. */
export async function fetchModule(url: URL): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) {
    throw new Error(`${url}: ${response.status} ${response.statusText}`);
  }
  // a server that does not know the type of .wasm files must not matter
  const isWasm = response.headers.get('content-type')?.startsWith('application/wasm');
  return isWasm ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer());
}

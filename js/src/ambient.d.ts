/** What the entries import, as far as they use it: the core is compiled without the types of any environment. */

declare module 'node:fs/promises' {
  export function readFile(path: URL): Promise<Uint8Array<ArrayBuffer>>;
}

declare module 'node:url' {
  export function fileURLToPath(url: string): string;
}

declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}

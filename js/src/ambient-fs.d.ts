/** What the storage in a directory imports, as far as it uses it: see ambient.d.ts. */

declare module 'node:fs' {
  export function closeSync(fd: number): void;
  export function fdatasync(fd: number, callback: (error: Error | null) => void): void;
  export function fstatSync(fd: number): { readonly size: number };
  export function fsyncSync(fd: number): void;
  export function ftruncateSync(fd: number, size: number): void;
  export function linkSync(from: string, to: string): void;
  export function mkdirSync(path: string, options: { recursive: true; mode: number }): string | undefined;
  export function openSync(path: string, flags: string, mode?: number): number;
  export function readdirSync(path: string): string[];
  export function readFileSync(path: string, encoding: 'utf8'): string;
  export function readSync(fd: number, into: Uint8Array, offset: number, length: number, at: number): number;
  export function renameSync(from: string, to: string): void;
  export function rmSync(path: string, options: { force: boolean }): void;
  export function writeFileSync(path: string, text: string, options: { flag: string; mode: number; flush: boolean }): void;
  export function writeSync(fd: number, bytes: Uint8Array, offset: number, length: number, at: number): number;
}

declare module 'node:path' {
  export function dirname(path: string): string;
  export function resolve(path: string): string;
}

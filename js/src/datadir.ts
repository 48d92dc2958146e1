/** PostgreSQL's data directory as an archive, out of a cell and into one. */
import type { Cell } from './cell.ts';
import { DataDirError } from './errors.ts';
import { GuestFiles } from './files.ts';
import type { DumpTarCompressionOptions } from './interface.ts';
import { readTar, TarError, writeTar } from './tar.ts';
import type { TarEntry } from './tar.ts';

const DATA_DIR = '/data';
const CONTROL_FILE = 'global/pg_control';
/** Of the server that runs, not of the data. */
const LEFT_OUT = new Set(['postmaster.pid', 'postmaster.opts']);

/**
 * Numbers in pg_control that PostgreSQL was compiled with (struct ControlFileData of PostgreSQL 18): a directory in which one of them is
 * another can't be read.
 */
const CONTROL_NUMBERS = [
  ['format of pg_control', 8],
  ['catalog version', 12],
  ['alignment', 204],
  ['block size', 216],
  ['size of a file of a table', 220],
  ['WAL block size', 224],
  ['size of a WAL segment', 228],
  ['length of names', 232],
  ['columns of an index', 236],
  ['size of TOAST chunks', 240],
  ['size of large object chunks', 244],
] as const;
/** A double by which byte order and format are told, and whether int8 and float8 are passed by value. */
const CONTROL_FLOAT = 208;
const CONTROL_BY_VALUE = 248;
const CONTROL_BYTES = 249;

const decoder = new TextDecoder();

/**
 * The cell's data directory as it is, a checkpoint before. To be called between two commands.
 *
 * @returns a File where the engine has them, a Blob otherwise
 */
export async function dumpDataDir(cell: Cell, compression: DumpTarCompressionOptions): Promise<File | Blob> {
  if (compression !== 'none' && compression !== 'gzip' && compression !== 'auto') {
    throw new RangeError(`there is no compression ${JSON.stringify(compression)}: none, gzip or auto`);
  }
  const hasGzip = typeof CompressionStream === 'function';
  if (compression === 'gzip' && !hasGzip) {
    throw new Error('this engine has no CompressionStream: take the compression none');
  }
  const tar = new Blob([...writeTar(entriesOf(new GuestFiles(cell)))] as BlobPart[], { type: 'application/x-tar' });
  if (compression === 'none' || !hasGzip) {
    return fileOf(tar, 'pgdata.tar', 'application/x-tar');
  }
  const zipped = await new Response(tar.stream().pipeThrough(new CompressionStream('gzip'))).blob();
  return fileOf(zipped, 'pgdata.tar.gz', 'application/x-gzip');
}

function fileOf(blob: Blob, name: string, type: string): File | Blob {
  return typeof File === 'function' ? new File([blob], name, { type }) : new Blob([blob], { type });
}

function* entriesOf(files: GuestFiles, folder = ''): Generator<TarEntry> {
  for (const name of files.list(`${DATA_DIR}/${folder}`).sort()) {
    const path = `${folder}${name}`;
    const stat = files.stat(`${DATA_DIR}/${path}`);
    if (stat === undefined || LEFT_OUT.has(path)) {
      continue;
    }
    const { mode, mtimeMs } = stat;
    if (stat.isDirectory) {
      yield { name: path, mode, mtimeMs };
      yield* entriesOf(files, `${path}/`);
    } else {
      yield { name: path, bytes: files.read(`${DATA_DIR}/${path}`), mode, mtimeMs };
    }
  }
}

/** What is in an archive, which may be gzipped. @throws DataDirError when it is not one of a data directory */
export async function readDataDir(archive: Blob): Promise<TarEntry[]> {
  let bytes = new Uint8Array(await archive.arrayBuffer());
  try {
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
      bytes = new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer());
    }
    return readTar(bytes);
  } catch (error) {
    const reason = error instanceof TarError ? error.message : 'it is not gzip';
    throw new DataDirError(`loadDataDir is not a data directory: ${reason}`, { cause: error });
  }
}

/**
 * Replaces the cell's data directory and starts PostgreSQL on it. The session is over.
 *
 * @throws DataDirError: for a directory of another PostgreSQL the cell is as it was; if PostgreSQL does not start, it is of no use
 */
export function loadDataDir(cell: Cell, entries: readonly TarEntry[]): void {
  const files = new GuestFiles(cell);
  checkCompatible(files, entries);
  replaceFiles(files, entries);
  try {
    cell.reload();
  } catch (error) {
    const reason = [...cell.log].reverse().find((line) => /FATAL|PANIC/.test(line)) ?? cell.log.at(-1) ?? String(error);
    throw new DataDirError(`PostgreSQL does not start on this data directory: ${reason}`, { cause: error });
  }
}

/** What is the same already stays: most files of a cluster are, and the guest's memory would have them twice for a while. */
function replaceFiles(files: GuestFiles, entries: readonly TarEntry[]): void {
  const folders = new Set<string>();
  const kept = new Map<string, TarEntry>();
  const parent = (path: string) => path.slice(0, Math.max(0, path.lastIndexOf('/')));
  for (const entry of entries) {
    if (entry.bytes !== undefined && !LEFT_OUT.has(entry.name)) {
      kept.set(entry.name, entry);
    }
    for (let folder = entry.bytes === undefined ? entry.name : parent(entry.name); folder !== ''; folder = parent(folder)) {
      folders.add(folder);
    }
  }
  removeOthers(files, '', folders, kept);
  for (const folder of [...folders].sort()) {
    files.mkdir(`${DATA_DIR}/${folder}`);
  }
  for (const [name, { bytes }] of kept) {
    const path = `${DATA_DIR}/${name}`;
    if (!hasBytes(files, path, bytes!)) {
      files.write(path, bytes!);
    }
  }
}

function removeOthers(files: GuestFiles, folder: string, folders: ReadonlySet<string>, kept: ReadonlyMap<string, unknown>): void {
  for (const name of files.list(`${DATA_DIR}/${folder}`)) {
    const inner = `${folder}${name}`;
    const path = `${DATA_DIR}/${inner}`;
    if (files.stat(path)?.isDirectory) {
      if (folders.has(inner)) {
        removeOthers(files, `${inner}/`, folders, kept);
        continue;
      }
      files.empty(path);
    } else if (kept.has(inner)) {
      continue;
    }
    files.remove(path);
  }
}

function hasBytes(files: GuestFiles, path: string, bytes: Uint8Array): boolean {
  if (files.stat(path)?.size !== bytes.length) {
    return false;
  }
  const there = files.read(path);
  return there.length === bytes.length && there.every((byte, i) => byte === bytes[i]);
}

function checkCompatible(files: GuestFiles, entries: readonly TarEntry[]): void {
  const find = (name: string) => entries.find((entry) => entry.name === name)?.bytes;
  const version = find('PG_VERSION');
  if (version === undefined) {
    throw new DataDirError('loadDataDir is not a data directory: it has no PG_VERSION');
  }
  const [theirs, ours] = [version, files.read(`${DATA_DIR}/PG_VERSION`)].map((bytes) => decoder.decode(bytes).trim());
  if (theirs !== ours) {
    throw new DataDirError(`the data directory is one of PostgreSQL ${theirs}, this is PostgreSQL ${ours}`);
  }
  const [theirControl, ourControl] = [find(CONTROL_FILE), files.read(`${DATA_DIR}/${CONTROL_FILE}`)];
  if (theirControl === undefined || theirControl.length < CONTROL_BYTES) {
    throw new DataDirError(`loadDataDir is not a whole data directory: ${CONTROL_FILE} is ${theirControl === undefined ? 'missing' : 'cut short'}`);
  }
  const [their, our] = [theirControl, ourControl].map((bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  for (const [what, at] of CONTROL_NUMBERS) {
    const [a, b] = [their!.getUint32(at, true), our!.getUint32(at, true)];
    if (a !== b) {
      throw new DataDirError(`the data directory was made by another build of PostgreSQL: ${what} ${a} instead of ${b}`);
    }
  }
  if (
    their!.getFloat64(CONTROL_FLOAT, true) !== our!.getFloat64(CONTROL_FLOAT, true) ||
    their!.getUint8(CONTROL_BY_VALUE) !== our!.getUint8(CONTROL_BY_VALUE)
  ) {
    throw new DataDirError('the data directory was made by PostgreSQL for another architecture: numbers are stored in another way');
  }
}

/** The files of `JournalStorage`: what it needs of one, and the header of its own that each begins with. */
import { checksum } from './checksum.ts';
import { StorageError } from './errors.ts';
import { BLOCK_BYTES } from './storage.ts';

/** An open file that nobody else writes to. Positions and sizes are in bytes. Every function may throw. */
export interface BlockFile {
  /** For messages. */
  readonly name: string;
  size(): number;
  /** Fills `into`, up to the end of the file. @returns how many bytes there were */
  read(into: Uint8Array, at: number): number;
  /** All of the bytes, which are not kept, or an error. `at` may be behind the end: there are zeros between them then. */
  write(bytes: Uint8Array, at: number): void;
  truncate(size: number): void;
  /** What was written before is durable afterwards, and so is the size. */
  sync(): void | Promise<void>;
  close(): void;
}

export const HEADER_BYTES = 36;
const VERSION = 1;
/** In words. */
const AT_VERSION = 4;
const AT_CHECKSUM = 8;

/** @param magic what kind of file it is, up to 16 characters of ASCII @param identity from 0 to 2^32 - 1 */
export function writeHeader(file: BlockFile, magic: string, identity: number): void {
  const bytes = new Uint8Array(HEADER_BYTES);
  const words = new Uint32Array(bytes.buffer);
  bytes.set(new TextEncoder().encode(magic));
  words.set([VERSION, BLOCK_BYTES, identity], AT_VERSION);
  words[AT_CHECKSUM] = checksum(words, 0, AT_CHECKSUM, 0);
  file.write(bytes, 0);
}

/**
 * @returns the file's identity; undefined when the file is empty, or its header was not written to the end
 * @throws StorageError when it is another file
 */
export function readHeader(file: BlockFile, magic: string): number | undefined {
  const bytes = new Uint8Array(HEADER_BYTES);
  const words = new Uint32Array(bytes.buffer);
  file.read(bytes, 0);
  const begin = [...bytes.subarray(0, AT_VERSION * 4)].map((byte, i) => ({ byte, expected: magic.padEnd(AT_VERSION * 4, '\0').charCodeAt(i) }));
  const isWhole = words[AT_CHECKSUM] === checksum(words, 0, AT_CHECKSUM, 0) && begin.every(({ byte, expected }) => byte === expected);
  // where nothing was written there are zeros
  if (!isWhole && file.size() <= HEADER_BYTES && begin.every(({ byte, expected }) => byte === expected || byte === 0)) {
    return undefined;
  }
  if (!isWhole) {
    throw new StorageError(`${file.name} is damaged at its begin, or it is no file of ${magic}`);
  }
  const [version, blockBytes, identity] = words.subarray(AT_VERSION);
  if (version !== VERSION || blockBytes !== BLOCK_BYTES) {
    throw new StorageError(`${file.name} is of version ${version} with blocks of ${blockBytes} bytes, not of version ${VERSION} with ${BLOCK_BYTES}`);
  }
  return identity;
}

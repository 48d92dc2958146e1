/** Archives of regular files and directories, in the format of POSIX tar (ustar), which every tar reads. */

export interface TarEntry {
  /** Without a slash at its begin or end. */
  readonly name: string;
  /** undefined: a directory. */
  readonly bytes?: Uint8Array | undefined;
  /** Permission bits. */
  readonly mode: number;
  /** Milliseconds since 1970. */
  readonly mtimeMs: number;
}

/** Bytes that are not an archive; the message says why. */
export class TarError extends Error {
  override readonly name = 'TarError';
}

const BLOCK = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
const MAX_SIZE = 0o77777777777;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The archive in pieces, one behind the other; the files' own bytes are among them, not copied. @throws TarError */
export function* writeTar(entries: Iterable<TarEntry>): Generator<Uint8Array> {
  for (const entry of entries) {
    yield header(entry);
    if (entry.bytes !== undefined && entry.bytes.length > 0) {
      yield entry.bytes;
      const rest = entry.bytes.length % BLOCK;
      if (rest > 0) {
        yield new Uint8Array(BLOCK - rest);
      }
    }
  }
  yield new Uint8Array(2 * BLOCK);
}

function header(entry: TarEntry): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const isDirectory = entry.bytes === undefined;
  const size = entry.bytes?.length ?? 0;
  const name = encoder.encode(isDirectory ? `${entry.name}/` : entry.name);
  let split = 0; // where the name begins, behind the prefix and a slash
  if (name.length > NAME_BYTES) {
    split = name.indexOf(0x2f, name.length - NAME_BYTES - 1) + 1;
    if (split === 0 || split - 1 > PREFIX_BYTES || split === name.length) {
      throw new TarError(`a name that tar has no room for: ${entry.name}`);
    }
    block.set(name.subarray(0, split - 1), 345);
  }
  if (size > MAX_SIZE) {
    throw new TarError(`a file of more than 8 GiB: ${entry.name}`);
  }
  const put = (at: number, text: string) => block.set(encoder.encode(text), at);
  const octal = (at: number, digits: number, value: number) => put(at, value.toString(8).padStart(digits, '0'));
  block.set(name.subarray(split), 0);
  octal(100, 7, entry.mode & 0o7777);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, size);
  octal(136, 11, Math.max(0, Math.floor(entry.mtimeMs / 1000)));
  put(148, '        ');
  put(156, isDirectory ? '5' : '0');
  put(257, 'ustar\0' + '00');
  put(265, 'postgres');
  put(297, 'postgres');
  octal(
    148,
    6,
    block.reduce((sum, byte) => sum + byte, 0),
  );
  block[154] = 0;
  return block;
}

/** The entries of an archive; their bytes are views of it. Links and devices are left out. @throws TarError */
export function readTar(bytes: Uint8Array): TarEntry[] {
  const entries: TarEntry[] = [];
  let longName: string | undefined;
  let at = 0;
  for (;;) {
    if (at + BLOCK > bytes.length) {
      throw new TarError(at === 0 ? 'too short for a tar archive' : 'the tar archive is cut short');
    }
    const block = bytes.subarray(at, at + BLOCK);
    if (block.every((byte) => byte === 0)) {
      return entries;
    }
    checkSum(block);
    const size = number(block, 124, 12);
    const start = at + BLOCK;
    if (start + size > bytes.length) {
      throw new TarError('the tar archive is cut short');
    }
    const contents = bytes.subarray(start, start + size);
    at = start + Math.ceil(size / BLOCK) * BLOCK;
    const type = String.fromCharCode(block[156]!);
    const isPosix = text(block, 257, 5) === 'ustar' && block[262] === 0;
    const prefix = isPosix ? text(block, 345, PREFIX_BYTES) : '';
    const plain = text(block, 0, NAME_BYTES);
    const name = (longName ?? (prefix === '' ? plain : `${prefix}/${plain}`)).replace(/^(\.?\/)+|\/+$|^\.$/g, '');
    switch (type) {
      case 'L': // GNU: the name of the next entry
        longName = decoder.decode(contents).replace(/\0.*$/s, '');
        continue;
      case 'x': // POSIX: attributes of the next entry
        longName = /(?:^|\n)\d+ path=(.*)\n/.exec(decoder.decode(contents))?.[1] ?? longName;
        continue;
      case '0':
      case '7':
      case '\0':
      case '5':
        if (name.split('/').includes('..')) {
          throw new TarError(`the archive has a file outside of it: ${name}`);
        }
        if (name !== '') {
          const isDirectory = type === '5' || (plain.endsWith('/') && size === 0);
          entries.push({
            name,
            bytes: isDirectory ? undefined : contents,
            mode: number(block, 100, 8),
            mtimeMs: number(block, 136, 12) * 1000,
          });
        }
        break;
      default:
        break;
    }
    longName = undefined;
  }
}

function checkSum(block: Uint8Array): void {
  let sum = 0;
  block.forEach((byte, i) => {
    sum += i >= 148 && i < 156 ? 0x20 : byte;
  });
  if (sum !== number(block, 148, 8)) {
    throw new TarError('not a tar archive');
  }
}

function text(block: Uint8Array, at: number, size: number): string {
  const field = block.subarray(at, at + size);
  const end = field.indexOf(0);
  return decoder.decode(end < 0 ? field : field.subarray(0, end));
}

function number(block: Uint8Array, at: number, size: number): number {
  if (block[at]! & 0x80) {
    // GNU: binary, for what octal digits have no room for
    let value = block[at]! & 0x7f;
    for (let i = at + 1; i < at + size; i++) {
      value = value * 256 + block[i]!;
    }
    if (!Number.isSafeInteger(value)) {
      throw new TarError('not a tar archive');
    }
    return value;
  }
  const digits = text(block, at, size).trim();
  if (!/^[0-7]*$/.test(digits)) {
    throw new TarError('not a tar archive');
  }
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

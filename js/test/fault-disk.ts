/** Files that forget what was not synced when the power goes, which it does after any number of bytes. Not a test of its own. */
import type { BlockFile } from '../src/block-file.ts';

/** Everything throws it from then on. */
export class PowerCut extends Error {
  override readonly name = 'PowerCut';
}

/** From 0 up to below `end`, whole. */
export type Random = (end: number) => number;

/** mulberry32, public domain: numbers that are the same for the same seed. */
export function makeRandom(seed: number): Random {
  let state = seed | 0;
  return (end) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * end);
  };
}

type Operation = { readonly at: number; readonly bytes: Uint8Array } | { readonly size: number; readonly sizeBefore: number };

export class FaultDisk {
  readonly files = new Map<string, FaultFile>();
  /** Steps until the power goes: one for each byte that is written, each truncation, and before and after each sync. */
  stepsLeft = Infinity;
  /** The same, but all bytes of a write are one. */
  callsLeft = Infinity;
  /** All steps that were made. */
  steps = 0;
  /** What the next call of that kind throws, once. */
  failNext: { readonly kind: 'write' | 'sync'; readonly file: string } | undefined;

  file(name: string): FaultFile {
    const file = this.files.get(name) ?? new FaultFile(this, name);
    this.files.set(name, file);
    return file;
  }

  copy(): FaultDisk {
    const disk = new FaultDisk();
    this.files.forEach((file, name) => disk.files.set(name, file.copy(disk)));
    return disk;
  }

  /** @returns how many of the steps there is still power for */
  take(steps: number): number {
    const taken = this.callsLeft-- > 0 ? Math.min(steps, this.stepsLeft) : 0;
    this.steps += taken;
    this.stepsLeft -= taken;
    return taken;
  }

  fail(kind: 'write' | 'sync', file: string): void {
    if (this.failNext?.kind === kind && this.failNext.file === file) {
      this.failNext = undefined;
      throw new Error(`EIO: ${kind}`);
    }
  }

  /** The power is back. @param random undefined: only the process had ended, and everything that was written is there */
  restart(random: Random | undefined): void {
    this.stepsLeft = this.callsLeft = Infinity;
    this.files.forEach((file) => file.restart(random));
  }
}

export class FaultFile implements BlockFile {
  readonly name: string;
  readonly #disk: FaultDisk;
  /** As read now. */
  contents = new Uint8Array(0);
  #durable = new Uint8Array(0);
  /** Not durable yet. */
  #operations: Operation[] = [];

  constructor(disk: FaultDisk, name: string) {
    this.#disk = disk;
    this.name = name;
  }

  copy(disk: FaultDisk): FaultFile {
    const file = new FaultFile(disk, this.name);
    file.contents = this.contents.slice();
    file.#durable = this.#durable.slice();
    file.#operations = [...this.#operations];
    return file;
  }

  size(): number {
    return this.contents.length;
  }

  read(into: Uint8Array, at: number): number {
    const bytes = this.contents.subarray(at, at + into.length);
    into.set(bytes);
    return bytes.length;
  }

  write(bytes: Uint8Array, at: number): void {
    this.#disk.fail('write', this.name);
    const length = this.#disk.take(bytes.length);
    if (length > 0) {
      this.#add({ at, bytes: bytes.slice(0, length) });
    }
    this.#check(length === bytes.length);
  }

  truncate(size: number): void {
    this.#check(this.#disk.take(1) === 1);
    this.#add({ size, sizeBefore: this.contents.length });
  }

  async sync(): Promise<void> {
    this.#check(this.#disk.take(1) === 1);
    const count = this.#operations.length;
    await Promise.resolve();
    const done = this.#operations.splice(0, count);
    this.#disk.fail('sync', this.name); // what it was to store can still be read, but no other sync will store it
    this.#durable = done.reduce(apply, this.#durable);
    this.#check(this.#disk.take(1) === 1);
  }

  close(): void {}

  restart(random: Random | undefined): void {
    if (random !== undefined) {
      const kept = this.#operations.flatMap((operation) => lose(operation, random));
      this.#durable = kept.reduce(apply, this.#durable);
      this.contents = this.#durable.slice();
      this.#operations = [];
    }
  }

  #add(operation: Operation): void {
    this.#operations.push(operation);
    this.contents = apply(this.contents, operation);
  }

  #check(hasPower: boolean): void {
    if (!hasPower) {
      this.#disk.stepsLeft = 0;
      throw new PowerCut(this.name);
    }
  }
}

/** @returns what becomes of `contents`, which must not be used any more */
function apply(contents: Uint8Array<ArrayBuffer>, operation: Operation): Uint8Array<ArrayBuffer> {
  if ('size' in operation) {
    const result = new Uint8Array(operation.size);
    result.set(contents.subarray(0, operation.size));
    return result;
  }
  const { at, bytes } = operation;
  const size = Math.max(contents.length, at + bytes.length);
  let result = contents;
  if (size > contents.buffer.byteLength) {
    result = new Uint8Array(size * 2); // as files grow by many small writes
    result.set(contents);
  }
  result = new Uint8Array(result.buffer, 0, size);
  result.set(bytes, at);
  return result;
}

/** What may have come to the disk: some parts of what was written, or the file's new size alone; a truncation done, not done, or half done. */
function lose(operation: Operation, random: Random): Operation[] {
  const fate = random(4);
  if (fate < 2) {
    return fate === 0 ? [] : [operation];
  }
  if ('size' in operation) {
    const { size, sizeBefore } = operation;
    return [{ size: size + random(Math.max(1, sizeBefore - size)), sizeBefore }];
  }
  const { at, bytes } = operation;
  const parts: Operation[] = random(2) === 0 && bytes.length > 0 ? [{ at: at + bytes.length, bytes: bytes.subarray(0, 0) }] : [];
  const step = [512, 4096, 1 + random(bytes.length)][random(3)]!;
  for (let start = 0; start < bytes.length; start += step) {
    if (random(2) === 0) {
      parts.push({ at: at + start, bytes: bytes.subarray(start, start + step) });
    }
  }
  return parts;
}

/** Input of a handler: bytes that the guest has not read yet. */

/** Bytes, or pieces of them, taken one by one as the guest reads. They are not copied: leave them alone until they are read. */
export type Input = Uint8Array | Iterable<Uint8Array>;

const EMPTY = new Uint8Array(0);

/** Chunks in order, then whatever an iterator still gives. */
export class InputQueue {
  #chunk: Uint8Array = EMPTY;
  #at = 0;
  /** Behind the current chunk. */
  #next: Uint8Array[] = [];
  #rest: Iterator<Uint8Array> | undefined;

  /** Replaces what is there. */
  set(input: Input): void {
    this.clear();
    if (input instanceof Uint8Array) {
      this.#chunk = input;
    } else {
      this.#rest = input[Symbol.iterator]();
    }
  }

  /** Adds behind what is there; when an iterator gives the end of it, that is read to its end first. */
  push(bytes: Uint8Array): void {
    if (this.#rest !== undefined) {
      for (let piece = this.#rest.next(); !piece.done; piece = this.#rest.next()) {
        this.#next.push(piece.value);
      }
      this.#rest = undefined;
    }
    this.#next.push(bytes);
  }

  clear(): void {
    const rest = this.#rest;
    this.#chunk = EMPTY;
    this.#at = 0;
    this.#next = [];
    this.#rest = undefined;
    rest?.return?.();
  }

  /** Bytes of the current chunk, at most 2^31 - 1; 0 does not mean that there are no more. */
  get available(): number {
    return Math.min(this.#chunk.length - this.#at, 0x7fffffff);
  }

  /** The first byte, -1 when there are no more. Makes its chunk the current one. */
  get firstByte(): number {
    return this.#settle() ? this.#chunk[this.#at]! : -1;
  }

  /** Moves at most `max` bytes to `target` from `offset` on. How many; 0 only when there are no more. */
  read(target: Uint8Array, offset: number, max: number): number {
    let read = 0;
    // a piece of the iterator only for the first byte: an iterator that throws must not lose what was moved before
    while (read < max && this.#settle(read === 0)) {
      const chunk = this.#chunk;
      const size = Math.min(chunk.length - this.#at, max - read);
      target.set(size === chunk.length ? chunk : chunk.subarray(this.#at, this.#at + size), offset + read);
      this.#at += size;
      read += size;
    }
    return read;
  }

  /** Makes the current chunk one with bytes left; false when there is none. */
  #settle(mayPull = true): boolean {
    while (this.#at >= this.#chunk.length) {
      const next = this.#next.shift() ?? (mayPull ? this.#pull() : undefined);
      if (next === undefined) {
        this.#chunk = EMPTY;
        this.#at = 0;
        return false;
      }
      this.#chunk = next;
      this.#at = 0;
    }
    return true;
  }

  #pull(): Uint8Array | undefined {
    if (this.#rest === undefined) {
      return undefined;
    }
    const piece = this.#rest.next();
    if (piece.done) {
      this.#rest = undefined;
      return undefined;
    }
    return piece.value;
  }
}

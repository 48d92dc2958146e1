/**
 * The import transport under JSPI (JavaScript Promise Integration): the guest is suspended while it reads input that is still to come or
 * writes to a reader that is slow. Optional; the same module as without.
 *
 *     const handler = createPGliteImportHandler({ wait: true, onOutput: async (chunk) => { await socket.write(chunk); } });
 *     await handler.exec(async function* () { yield copyStatement; yield* rowsThatAreStillToCome; }());
 */
import { Errno } from './contract.ts';
import type { GuestExports, TransportImports } from './contract.ts';
import { checkTaken, GuestHandler } from './handler.ts';
import type { BackendMessage } from './protocol-backend.ts';
import type { Input } from './queue.ts';

interface Jspi {
  readonly Suspending: new <F extends (...args: never[]) => unknown>(work: F) => F;
  readonly promising: <A extends unknown[]>(entry: (...args: A) => number) => (...args: A) => Promise<number>;
}

const engine = WebAssembly as unknown as Partial<Jspi>;

/** Whether this engine has JSPI, so that a guest can wait. */
export function canWait(): boolean {
  return typeof engine.Suspending === 'function' && typeof engine.promising === 'function';
}

export interface WaitingHandlerOptions {
  /**
   * Takes output as it comes; without it, it is collected for `getOutput` and `getMessages`. `chunk` is the receiver's. Returns, or
   * promises, how many bytes it took; undefined means all. The guest waits for the promise, and offers what was not taken at the next
   * `flush` or call.
   */
  readonly onOutput?: (chunk: Uint8Array) => number | undefined | void | Promise<number | undefined | void>;
}

interface Entries {
  readonly pgl_backend: () => Promise<number>;
  readonly interactive_one: (length: number, firstByte: number) => Promise<number>;
  readonly pgcell_flush: () => Promise<number>;
  readonly pgl_shutdown: () => Promise<number>;
}

/**
 * A handler for `pgcell.wasm` whose guest can wait. A call ends when its input has: bytes and iterables end by themselves, an open
 * input (a call without one) with `endInput`.
 */
export class PGliteWaitingHandler extends GuestHandler<'imports'> {
  override readonly transport = 'imports';
  /** What the guest imports from `env`. */
  readonly imports: TransportImports;
  readonly #onOutput: WaitingHandlerOptions['onOutput'];
  readonly #jspi: Jspi;
  #entries: Entries | undefined;
  #source: AsyncIterator<Uint8Array> | undefined;
  /** Whether `pushInput` may still bring bytes for the call that is running. */
  #isOpen = false;
  #hasHungUp = false;
  #wake: (() => void) | undefined;

  constructor(options: WaitingHandlerOptions = {}) {
    super();
    if (!canWait()) {
      throw new TypeError('this engine can not suspend WebAssembly (JSPI): a handler with wait: true does not work here');
    }
    this.#onOutput = options.onOutput;
    this.#jspi = engine as Jspi;
    this.imports = {
      pglite_js_read: new this.#jspi.Suspending((ptr: number, maxLength: number) => this.#read(ptr >>> 0, maxLength >>> 0)),
      pglite_js_write: new this.#jspi.Suspending((ptr: number, length: number) => this.#write(ptr >>> 0, length >>> 0)),
    } as unknown as TransportImports;
  }

  override setModule(module: WebAssembly.Instance | WebAssembly.Exports): void {
    super.setModule(module);
    const exports: GuestExports = this.liveExports();
    const { promising } = this.#jspi;
    this.#entries = {
      pgl_backend: promising(exports.pgl_backend),
      interactive_one: promising(exports.interactive_one),
      pgcell_flush: promising(exports.pgcell_flush),
      pgl_shutdown: promising(exports.pgl_shutdown),
    };
  }

  /** Adds to the input of the call that is running, which waits for it, or of the next one. */
  pushInput(bytes: Uint8Array): void {
    this.input.push(bytes);
    this.#wakeUp();
  }

  /** An open input ends: the call that is running returns when everything is run. */
  endInput(): void {
    this.#isOpen = false;
    this.#wakeUp();
  }

  /** The client has ended the connection: once the input is read, the guest ends the session in good order. Until the next `start`. */
  hangUp(): void {
    this.#hasHungUp = true;
    this.endInput();
  }

  /**
   * Begins a new session; whatever is left of an earlier one is dropped, its output included.
   *
   * @param input the start-up packet and whatever follows it; undefined: an open input
   * @returns the answers @throws as `run`
   */
  async start(input?: Input | AsyncIterable<Uint8Array>): Promise<BackendMessage[]> {
    this.begin();
    this.clearOutput();
    this.#hasHungUp = false;
    await this.#call('pgl_backend', input, (entries) => entries.pgl_backend());
    return this.getMessages();
  }

  /**
   * Gives input and runs it; the guest waits for what is still to come of it.
   *
   * @param input undefined: an open input, which `pushInput` feeds and `endInput` ends
   * @returns the answers that `onOutput` did not take @throws as `run`
   */
  async exec(input?: Input | AsyncIterable<Uint8Array>): Promise<BackendMessage[]> {
    await this.run(input);
    return this.getMessages();
  }

  /** As `exec`, leaving the output where it is. @returns bits of `Status` @throws as `SyncHandler.run` */
  async run(input?: Input | AsyncIterable<Uint8Array>): Promise<number> {
    this.begin();
    return this.#call('interactive_one', input, (entries) => entries.interactive_one(this.input.available, -1));
  }

  /** Offers output again that `onOutput` did not take. @returns bits of `Status` @throws as `run` */
  async flush(): Promise<number> {
    this.begin();
    return this.#call('pgcell_flush', [], (entries) => entries.pgcell_flush());
  }

  /** Ends the session with a checkpoint. Nothing can be run afterwards. @throws GuestError */
  async shutdown(): Promise<void> {
    this.begin();
    await this.#call('pgl_shutdown', [], (entries) => entries.pgl_shutdown());
  }

  protected override clearHost(): void {
    super.clearHost();
    this.#hasHungUp = false;
  }

  /** Runs an entry; `begin` was called. */
  async #call(name: string, input: Input | AsyncIterable<Uint8Array> | undefined, work: (entries: Entries) => Promise<number>): Promise<number> {
    let status: number;
    try {
      this.#setInput(input);
      status = await work(this.#entries!);
    } catch (error) {
      throw this.die(name, error);
    } finally {
      this.#isOpen = false;
      const source = this.#source;
      this.#source = undefined;
      // a call that ended early leaves a source that must know; its errors have nowhere to go
      void source?.return?.().catch(() => {});
    }
    return this.finish(name, status);
  }

  /** Input that can't be had is the host's error: the guest runs with none. */
  #setInput(input: Input | AsyncIterable<Uint8Array> | undefined): void {
    try {
      if (input === undefined) {
        this.#isOpen = !this.#hasHungUp;
      } else if (Symbol.asyncIterator in input) {
        this.input.clear();
        this.#source = input[Symbol.asyncIterator]();
      } else {
        this.input.set(input);
      }
    } catch (error) {
      this.#giveUp(error);
    }
  }

  #read(start: number, max: number): number | Promise<number> {
    try {
      const size = this.input.read(this.memory.bytes, start, max);
      if (size > 0) {
        return size;
      }
      if (this.#source !== undefined || this.#isOpen) {
        return this.#more().then(() => this.#read(start, max));
      }
    } catch (error) {
      this.#giveUp(error);
    }
    return this.#hasHungUp && !this.hasFailed ? -Errno.EPIPE : 0;
  }

  /** Resolves when there is more input, or its end. Never rejects. */
  async #more(): Promise<void> {
    const source = this.#source;
    if (source === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      return;
    }
    try {
      const piece = await source.next();
      if (piece.done) {
        this.#source = undefined;
      } else {
        this.input.push(piece.value);
      }
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /** The host's input has failed: that was all of it. */
  #giveUp(error: unknown): void {
    this.fail(error);
    this.#source = undefined;
    this.#isOpen = false;
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #write(start: number, size: number): number | Promise<number> {
    try {
      const { bytes } = this.memory;
      if (start + size > bytes.length) {
        throw new RangeError('output outside of the memory');
      }
      const chunk = bytes.slice(start, start + size);
      if (this.#onOutput === undefined) {
        this.collect(chunk);
        return size;
      }
      const taken = this.#onOutput(chunk);
      if (taken instanceof Promise) {
        return taken.then((later) => checkTaken(later, size)).catch((error: unknown) => this.#refuse(error));
      }
      return checkTaken(taken, size);
    } catch (error) {
      return this.#refuse(error);
    }
  }

  #refuse(error: unknown): number {
    this.fail(error);
    return 0;
  }
}

/**
 * What the handlers have in common whose guest waits inside a call, while input is still to come or a reader is slow: under JSPI over
 * the import transport (handler-jspi.ts), or made with Asyncify over the polling transport (handler-asyncify.ts).
 *
 *     const handler = createPGliteImportHandler({ wait: true, onOutput: async (chunk) => { await socket.write(chunk); } });
 *     await handler.exec(async function* () { yield copyStatement; yield* rowsThatAreStillToCome; }());
 */
import type { Transport } from './contract.ts';
import { checkTaken, GuestHandler } from './handler.ts';
import type { BackendMessage } from './protocol-backend.ts';
import type { Input } from './queue.ts';

export interface WaitingHandlerOptions {
  /**
   * Takes output as it comes; without it, it is collected for `getOutput` and `getMessages`. `chunk` is the receiver's. Returns, or
   * promises, how many bytes it took; undefined means all. The guest waits for the promise, and offers what was not taken at the next
   * `flush` or call.
   */
  readonly onOutput?: (chunk: Uint8Array) => number | undefined | void | Promise<number | undefined | void>;
}

/** Whether it is there at once or later. */
export type Sooner<T> = T | Promise<T>;

/**
 * A handler whose guest can wait. A call ends when its input has: bytes and iterables end by themselves, an open input (a call without
 * one) with `endInput`.
 */
export abstract class WaitingHandler<T extends Transport> extends GuestHandler<T> {
  readonly #onOutput: WaitingHandlerOptions['onOutput'];
  #source: AsyncIterator<Uint8Array> | undefined;
  /** Whether `pushInput` may still bring bytes for the call that is running. */
  #isOpen = false;
  #hasHungUp = false;
  #wake: (() => void) | undefined;

  constructor(options: WaitingHandlerOptions) {
    super();
    this.#onOutput = options.onOutput;
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
    await this.#call('pgl_backend', input, () => this.enterSession());
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
    return this.#call('interactive_one', input, () => this.enterInput());
  }

  /** Offers output again that `onOutput` did not take. @returns bits of `Status` @throws as `run` */
  async flush(): Promise<number> {
    this.begin();
    return this.#call('pgcell_flush', [], () => this.enterFlush());
  }

  /** Ends the session with a checkpoint. Nothing can be run afterwards. @throws GuestError */
  async shutdown(): Promise<void> {
    this.begin();
    await this.#call('pgl_shutdown', [], () => this.enterShutdown());
  }

  /** Each runs one entry of the guest with the input that there is and that is still to come; a status. */
  protected abstract enterSession(): Promise<number>;
  protected abstract enterInput(): Promise<number>;
  protected abstract enterFlush(): Promise<number>;
  protected abstract enterShutdown(): Promise<number>;

  protected get hasHungUp(): boolean {
    return this.#hasHungUp && !this.hasFailed;
  }

  protected override clearHost(): void {
    super.clearHost();
    this.#hasHungUp = false;
  }

  /** Runs an entry; `begin` was called. */
  async #call(name: string, input: Input | AsyncIterable<Uint8Array> | undefined, work: () => Promise<number>): Promise<number> {
    let status: number;
    try {
      this.#setInput(input);
      status = await work();
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

  /**
   * Moves at most `max` bytes of input to `start` of the guest's memory, waiting for some if there will be any. How many, 0 when there
   * are no more; never throws.
   */
  protected give(start: number, max: number): Sooner<number> {
    try {
      const size = this.input.read(this.memory.bytes, start, max);
      if (size > 0) {
        return size;
      }
      if (this.#source !== undefined || this.#isOpen) {
        return this.#more().then(() => this.give(start, max));
      }
    } catch (error) {
      this.#giveUp(error);
    }
    return 0;
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

  /** Gives `size` bytes at `start` of the guest's memory to the host. How many it took; never throws. */
  protected take(start: number, size: number): Sooner<number> {
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

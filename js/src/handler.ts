/**
 * What the handlers of all transports have in common: one guest, the output that it gave, and its life.
 *
 *     const handler = createPGliteImportHandler();           // or …PollingHandler, …CallbackHandler
 *     await instantiate(module, handler);
 *     handler.start(serialize.startup({ user: 'postgres', database: 'postgres' }));
 *     const messages = handler.exec(serialize.query('select 1'));
 *
 * A handler belongs to one instance of the guest and is not reentrant. Errors of the host's own functions (`onOutput`, an iterator of
 * input) never pass through the guest: the guest is told "nothing for now", and they are thrown when it has returned.
 */
import { checkContract, Errno, GuestError } from './contract.ts';
import type { ExportsOfTransport, GuestExports, Transport } from './contract.ts';
import { GuestMemory } from './memory.ts';
import { BackendParser } from './protocol-backend.ts';
import type { BackendMessage } from './protocol-backend.ts';
import { InputQueue } from './queue.ts';
import type { Input } from './queue.ts';

/** PostgreSQL's signals that a host may raise: 2 cancels the running query, 15 ends the session. */
export const SIGINT = 2;
export const SIGTERM = 15;

export interface HandlerOptions {
  /**
   * Takes output as it comes; without it, it is collected for `getOutput` and `getMessages`. `chunk` lies in the guest's memory: it is
   * valid during the call only. Returns how many bytes it took; undefined means all. What it did not take stays in the guest, the
   * status says `Status.OUTPUT`, and `flush` offers it again.
   */
  readonly onOutput?: (chunk: Uint8Array) => number | undefined | void;
}

const NOTHING = Symbol();

/** One guest and its output. `T` is the transport. */
export abstract class GuestHandler<T extends Transport> {
  abstract readonly transport: T;
  protected readonly input = new InputQueue();
  #exports: ExportsOfTransport[T] | undefined;
  #memory: GuestMemory | undefined;
  #output: Uint8Array[] = [];
  readonly #parser = new BackendParser();
  #status = 0;
  #isRunning = false;
  #failure: unknown = NOTHING;
  #death: unknown = NOTHING;

  /**
   * The guest to work with: an instance or its exports. Runs nothing of PostgreSQL.
   *
   * @throws ContractError when the module has another version of the contract or another transport
   */
  setModule(module: WebAssembly.Instance | WebAssembly.Exports): void {
    const isInstance = typeof module['exports'] === 'object';
    const exports = checkContract((isInstance ? module['exports'] : module) as WebAssembly.Exports, this.transport);
    this.#exports = exports;
    this.#memory = new GuestMemory(exports.memory);
    this.#death = NOTHING;
    this.#status = 0;
    this.clearHost();
  }

  /**
   * Bits of `Status`, after the last call of the guest; below 0 a negated error number (the call threw it as a GuestError).
   */
  get status(): number {
    return this.#status;
  }

  /** Output since the last call, in chunks as they came, which the caller owns. Empty when there is none. */
  getOutput(): Uint8Array[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }

  /**
   * Output since the last call as messages; a message whose end is still to come waits for the next call. Take either this or
   * `getOutput` for the whole of a session: bytes taken there are missing here.
   *
   * @throws ProtocolError when the guest's output is not PostgreSQL's protocol
   */
  getMessages(): BackendMessage[] {
    const messages: BackendMessage[] = [];
    const output = this.#output;
    if (output.length > 0) {
      this.#output = [];
      for (const chunk of output) {
        this.#parser.parse(chunk, messages);
      }
    }
    return messages;
  }

  /** Drops input that was not run and output that was not taken, here and in the guest. The session goes on. */
  reset(): void {
    this.clearHost();
    if (this.#exports !== undefined && this.#death === NOTHING && !this.#isRunning) {
      this.clearGuest(this.#exports);
    }
  }

  /**
   * Interrupts what the guest is running, at its next look: of use in `onOutput`, in an iterator of input, or while the guest waits.
   *
   * @param signal 2 (SIGINT) cancels the query, 15 (SIGTERM) ends the session; 1 to 31
   */
  interrupt(signal = SIGINT): void {
    if (!Number.isInteger(signal) || signal < 1 || signal > 31) {
      throw new RangeError(`there is no signal ${signal}`);
    }
    const exports = this.liveExports();
    const { view } = this.memory;
    const address = exports.pgcell_signal_address() >>> 0;
    view.setUint32(address, view.getUint32(address, true) | (1 << signal), true);
    view.setUint32(exports.pgcell_interrupt_address() >>> 0, 1, true);
  }

  protected get hasModule(): boolean {
    return this.#exports !== undefined;
  }

  protected get memory(): GuestMemory {
    if (this.#memory === undefined) {
      throw new GuestError(Errno.ENOTCONN, 'setModule() was not called');
    }
    return this.#memory;
  }

  /** The exports, if the guest can be called. */
  protected liveExports(): ExportsOfTransport[T] {
    if (this.#death !== NOTHING) {
      throw new GuestError(Errno.ENOTRECOVERABLE, 'the guest', { cause: this.#death });
    }
    if (this.#exports === undefined) {
      throw new GuestError(Errno.ENOTCONN, 'setModule() was not called');
    }
    return this.#exports;
  }

  /** To be called before the guest is; `finish` or `die` ends it. */
  protected begin(): ExportsOfTransport[T] {
    const exports = this.liveExports();
    if (this.#isRunning) {
      throw new GuestError(Errno.EBUSY, 'the guest');
    }
    this.#isRunning = true;
    return exports;
  }

  /** The guest has returned. @throws what went wrong meanwhile: the host's own error first, then the status */
  protected finish(name: string, status: number): number {
    this.#isRunning = false;
    this.#status = status;
    if (status === -Errno.ENOTRECOVERABLE) {
      this.#death = new GuestError(-status, name);
    }
    const failure = this.#failure;
    if (failure !== NOTHING) {
      this.#failure = NOTHING;
      throw failure;
    }
    if (status < 0) {
      throw new GuestError(-status, name);
    }
    return status;
  }

  /** The guest has not returned but thrown: a trap, the engine's stack, proc_exit. It is never called again. */
  protected die(name: string, error: unknown): GuestError {
    this.#isRunning = false;
    this.#death = error;
    this.#status = -Errno.ENOTRECOVERABLE;
    return new GuestError(Errno.ENOTRECOVERABLE, `${name}: ${error}`, { cause: error });
  }

  /** An error of the host's while the guest runs; the first one counts. */
  protected fail(error: unknown): void {
    if (this.#failure === NOTHING) {
      this.#failure = error;
    }
  }

  protected get hasFailed(): boolean {
    return this.#failure !== NOTHING;
  }

  protected get isRunning(): boolean {
    return this.#isRunning;
  }

  protected collect(chunk: Uint8Array): void {
    this.#output.push(chunk);
  }

  protected clearHost(): void {
    this.input.clear();
    this.clearOutput();
  }

  protected clearOutput(): void {
    this.#output = [];
    this.#parser.reset();
  }

  protected clearGuest(exports: GuestExports): void {
    exports.pgcell_discard_input();
  }
}

/** A number of bytes that a host's function says it took, of `size`; undefined means all. @throws RangeError when that can't be */
export function checkTaken(taken: number | undefined | void, size: number): number {
  if (taken === undefined) {
    return size;
  }
  if (!Number.isInteger(taken) || taken < 0 || taken > size) {
    throw new RangeError(`onOutput took ${taken} of ${size} bytes`);
  }
  return taken;
}

type Entry<T extends Transport> = (exports: ExportsOfTransport[T], length: number, firstByte: number) => number;

const PGCELL_FLUSH = (exports: GuestExports) => exports.pgcell_flush();
const PGL_SHUTDOWN = (exports: GuestExports) => exports.pgl_shutdown();

/** A handler whose calls return when the guest has returned: no promises. */
export abstract class SyncHandler<T extends Transport> extends GuestHandler<T> {
  readonly #onOutput: HandlerOptions['onOutput'];
  readonly #session: Entry<T> = (exports, length, firstByte) => this.enterSession(exports, length, firstByte);
  readonly #input: Entry<T> = (exports, length, firstByte) => this.enterInput(exports, length, firstByte);

  constructor(options: HandlerOptions = {}) {
    super();
    this.#onOutput = options.onOutput;
  }

  /** Replaces the input that the guest has not taken. Run by the next `run`, `exec` or `start`. */
  setInput(input: Input): void {
    this.input.set(input);
  }

  /** Adds to the input. */
  pushInput(bytes: Uint8Array): void {
    this.input.push(bytes);
  }

  /**
   * Begins a new session; whatever is left of an earlier one is dropped, its output included.
   *
   * @param input the start-up packet (see `serialize.startup`) and whatever follows it; undefined: what `setInput` gave
   * @returns the answers
   * @throws GuestError ENOTCONN after a shutdown; otherwise as `run`
   */
  start(input?: Input): BackendMessage[] {
    this.#checkIdle();
    if (input !== undefined) {
      this.setInput(input);
    }
    this.clearOutput();
    this.#call('pgl_backend', this.#session);
    return this.getMessages();
  }

  /**
   * Gives input and runs every complete message of it.
   *
   * @param input as for `setInput`; undefined: what `setInput` gave
   * @returns the answers, errors of PostgreSQL among them. An incomplete message stays in the guest (`Status.INCOMPLETE`)
   * @throws as `run`; answers that came before are left for `getMessages`
   */
  exec(input?: Input): BackendMessage[] {
    this.run(input);
    return this.getMessages();
  }

  /**
   * As `exec`, leaving the output where it is.
   *
   * @returns bits of `Status`
   * @throws GuestError: ENOTCONN without a session, ENOMEM, EPROTO (the session is alive), EBUSY when called from inside itself,
   *   ENOTRECOVERABLE when the instance is dead (`cause` has the trap), or what the host's own functions threw
   */
  run(input?: Input): number {
    this.#checkIdle();
    if (input !== undefined) {
      this.setInput(input);
    }
    return this.#call('interactive_one', this.#input);
  }

  /** Offers output again that `onOutput` did not take. @returns bits of `Status` @throws as `run` */
  flush(): number {
    return this.#call('pgcell_flush', PGCELL_FLUSH);
  }

  /** Ends the session with a checkpoint. Nothing can be run afterwards. @throws GuestError */
  shutdown(): void {
    this.#call('pgl_shutdown', PGL_SHUTDOWN);
  }

  /** Begins a session and runs what is available; a status. `length` and `firstByte` are hints about the input, as for the guest. */
  protected enterSession(exports: ExportsOfTransport[T], _length: number, _firstByte: number): number {
    return exports.pgl_backend();
  }

  /** Runs what is available; a status. */
  protected enterInput(exports: ExportsOfTransport[T], length: number, firstByte: number): number {
    return exports.interactive_one(length, firstByte);
  }

  /** After the guest has run: a transport that is not given output takes it here. The status as it is then. */
  protected takeOutput(_exports: ExportsOfTransport[T], status: number): number {
    return status;
  }

  #call(name: string, entry: Entry<T>): number {
    const exports = this.begin();
    let status: number;
    try {
      const firstByte = this.#firstByte();
      status = entry(exports, this.input.available, firstByte);
      status = this.takeOutput(exports, status);
    } catch (error) {
      throw this.die(name, error);
    }
    return this.finish(name, status);
  }

  /** Moves at most `max` bytes of input to `start` of the guest's memory. How many; never throws. */
  protected give(start: number, max: number): number {
    try {
      return this.input.read(this.memory.bytes, start, max);
    } catch (error) {
      this.fail(error);
      return 0;
    }
  }

  /** Gives `size` bytes at `start` of the guest's memory to the host. How many it took; never throws. */
  protected take(start: number, size: number): number {
    try {
      const { bytes } = this.memory;
      if (start + size > bytes.length) {
        throw new RangeError('output outside of the memory');
      }
      if (this.#onOutput === undefined) {
        this.collect(bytes.slice(start, start + size));
        return size;
      }
      return checkTaken(this.#onOutput(bytes.subarray(start, start + size)), size);
    } catch (error) {
      this.fail(error);
      return 0;
    }
  }

  #firstByte(): number {
    try {
      return this.input.firstByte;
    } catch (error) {
      this.fail(error);
      return -1;
    }
  }

  /** From inside the guest, input must not be exchanged under it. */
  #checkIdle(): void {
    if (this.isRunning) {
      throw new GuestError(Errno.EBUSY, 'the guest');
    }
  }
}

/**
 * The polling transport in a module made with Asyncify (`pgcell-asyncify.wasm`): the guest is suspended in `sched_yield`, which it calls
 * inside a command when it can't go on. Asyncify then returns from all of the guest's frames, having written them to a stack of its
 * own, and comes back to the same place when the entry is called again. Needs nothing of the engine.
 *
 *     entry() --> sched_yield: asyncify_start_unwind --> entry returns --> asyncify_stop_unwind
 *     output is taken, the input buffer filled, both at leisure
 *     asyncify_start_rewind, entry() --> sched_yield: asyncify_stop_rewind --> the guest goes on
 */
import { BufferField, BufferStatus, ContractError, ControlField, Operation, Status } from './contract.ts';
import type { PollingExports } from './contract.ts';
import { WaitingHandler } from './handler-waiting.ts';
import type { WaitingHandlerOptions } from './handler-waiting.ts';

/** What Asyncify adds to the exports. Its stack begins with two words: where its top is, and where it must end. */
interface AsyncifyExports {
  /** A state, see below. */
  readonly asyncify_get_state: () => number;
  readonly asyncify_start_unwind: (stack: number) => void;
  readonly asyncify_stop_unwind: () => void;
  readonly asyncify_start_rewind: (stack: number) => void;
  readonly asyncify_stop_rewind: () => void;
}

const UNWINDING = 1;
const REWINDING = 2;

const ASYNCIFY_FUNCTIONS = [
  'asyncify_get_state',
  'asyncify_start_unwind',
  'asyncify_stop_unwind',
  'asyncify_start_rewind',
  'asyncify_stop_rewind',
] as const satisfies readonly (keyof AsyncifyExports)[];

const PAGE_SIZE = 65536;
const STACK_HEAD = 8;
/**
 * Of the stack that frames are written to: 2 MiB. They take less there than on the engine's stack, and engines give that 1 MiB or so;
 * if they did not fit, Asyncify would trap, and the instance be lost.
 */
const STACK_PAGES = 32;

/** PostgreSQL's Terminate. */
const TERMINATE = Uint8Array.of(0x58, 0, 0, 0, 4);

/** A handler for `pgcell-asyncify.wasm` whose guest can wait; see `WaitingHandler` for its methods. */
export class PGliteWaitingPollingHandler extends WaitingHandler<'polling'> {
  override readonly transport = 'polling';
  /** The guest imports nothing from `env`. */
  readonly imports = {};
  /** What it imports from `wasi_snapshot_preview1` and has to be ours. */
  readonly wasiImports = { sched_yield: () => this.#yield() };
  #asyncify: AsyncifyExports | undefined;
  #guest: PollingExports | undefined;
  #stack = 0;
  #inputBuffer = 0;
  #outputData = 0;
  #control = 0;
  #bufferSize = 0;
  /** Bytes that `onOutput` has taken of the chunk in the output buffer. */
  #taken = 0;
  /** Inside an entry that can be called again. */
  #canSuspend = false;

  constructor(options: WaitingHandlerOptions = {}) {
    super(options);
  }

  /** @throws ContractError, also when the module was not made with Asyncify */
  override setModule(module: WebAssembly.Instance | WebAssembly.Exports): void {
    super.setModule(module);
    const exports = this.liveExports();
    for (const name of ASYNCIFY_FUNCTIONS) {
      if (typeof (exports as unknown as WebAssembly.Exports)[name] !== 'function') {
        throw new ContractError(
          `the module was not made with Asyncify: it has no export ${name}; a polling handler with wait: true needs pgcell-asyncify.wasm`,
        );
      }
    }
    this.#guest = exports;
    this.#asyncify = exports as unknown as AsyncifyExports;
    this.#inputBuffer = exports.pglite_get_input_buffer() >>> 0;
    this.#outputData = (exports.pglite_get_output_buffer() >>> 0) + BufferField.DATA;
    this.#control = exports.pglite_get_control() >>> 0;
    this.#bufferSize = exports.pglite_get_buffer_size() >>> 0;
    // the guest takes no memory that it did not grow itself
    this.#stack = exports.memory.grow(STACK_PAGES) * PAGE_SIZE;
    this.#taken = 0;
  }

  /** A new session drops input that the guest has taken before: its own is given afterwards. */
  protected override async enterSession(): Promise<number> {
    this.#taken = 0;
    const status = await this.#run(() => this.#guest!.pgl_backend());
    return goesOn(status) ? this.#feed(status) : status;
  }

  protected override enterInput(): Promise<number> {
    return this.#feed(undefined);
  }

  protected override enterFlush(): Promise<number> {
    return this.#run(() => this.#guest!.pgcell_flush());
  }

  protected override enterShutdown(): Promise<number> {
    return this.#run(() => this.#guest!.pgl_shutdown());
  }

  protected override clearGuest(exports: PollingExports): void {
    this.#taken = 0;
    exports.pglite_reset_buffers();
  }

  /** Gives input by the buffer and runs it, to its end or the session's. `status`: of the entry before, if there was one. */
  async #feed(status: number | undefined): Promise<number> {
    for (;;) {
      const hasInput = await this.#fill();
      if (!hasInput && status !== undefined) {
        break;
      }
      status = await this.#interact();
      if (!goesOn(status)) {
        return status;
      }
      if (!hasInput || this.#isInputReady) {
        break;
      }
    }
    if (!this.hasHungUp) {
      return status;
    }
    // behind half a message it would be the other half
    this.#guest!.pgcell_discard_input();
    this.memory.bytes.set(TERMINATE, this.#inputBuffer + BufferField.DATA);
    this.#passInput(TERMINATE.length);
    return this.#interact();
  }

  #interact(): Promise<number> {
    return this.#run(() => this.#guest!.interactive_one(0, -1));
  }

  /** Runs an entry, waiting wherever the guest does, and takes the output that it leaves. The status as it is then. */
  async #run(entry: () => number): Promise<number> {
    const asyncify = this.#asyncify!;
    let status = this.#step(entry);
    while (asyncify.asyncify_get_state() === UNWINDING) {
      asyncify.asyncify_stop_unwind();
      await this.#serve();
      asyncify.asyncify_start_rewind(this.#stack);
      status = this.#step(entry);
    }
    const isTaken = await this.#takeOutput();
    return status < 0 ? status : isTaken ? status & ~Status.OUTPUT : status | Status.OUTPUT;
  }

  #step(entry: () => number): number {
    this.#canSuspend = true;
    try {
      return entry();
    } finally {
      this.#canSuspend = false;
    }
  }

  /** The guest's sched_yield(). */
  #yield(): number {
    const asyncify = this.#asyncify;
    if (asyncify?.asyncify_get_state() === REWINDING) {
      asyncify.asyncify_stop_rewind();
    } else if (this.#canSuspend && this.#isWaiting) {
      const { view } = this.memory;
      view.setUint32(this.#stack, this.#stack + STACK_HEAD, true);
      view.setUint32(this.#stack + 4, this.#stack + STACK_PAGES * PAGE_SIZE, true);
      asyncify!.asyncify_start_unwind(this.#stack);
    }
    return 0;
  }

  get #operation(): number {
    return this.memory.view.getUint32(this.#control + ControlField.OPERATION, true);
  }

  get #isWaiting(): boolean {
    const operation = this.#operation;
    return operation === Operation.READING || operation === Operation.WRITING;
  }

  /** What a suspended guest waits for. That there is none of it, is an answer too. */
  async #serve(): Promise<void> {
    const operation = this.#operation;
    await this.#takeOutput();
    if (operation === Operation.READING) {
      await this.#fill();
    }
  }

  get #isInputReady(): boolean {
    return this.memory.view.getUint32(this.#inputBuffer + BufferField.STATUS, true) === BufferStatus.READY;
  }

  /** Waits for input in the guest's buffer; false when there will be no more. */
  async #fill(): Promise<boolean> {
    if (this.#isInputReady) {
      return true;
    }
    const size = await this.give(this.#inputBuffer + BufferField.DATA, this.#bufferSize);
    if (size > 0) {
      this.#passInput(size);
    }
    return size > 0;
  }

  #passInput(size: number): void {
    const { view } = this.memory;
    view.setUint32(this.#inputBuffer + BufferField.LENGTH, size, true);
    view.setUint32(this.#inputBuffer + BufferField.STATUS, BufferStatus.READY, true);
  }

  /** Gives the host what it takes of the output; whether that was all. */
  async #takeOutput(): Promise<boolean> {
    const guest = this.#guest!;
    let length = guest.pglite_get_output_length();
    while (length > 0) {
      const taken = await this.take(this.#outputData + this.#taken, length - this.#taken);
      this.#taken += taken;
      if (this.#taken === length) {
        this.#taken = 0;
        length = guest.pglite_ack_output();
      } else if (taken === 0) {
        return false;
      }
    }
    return true;
  }
}

function goesOn(status: number): boolean {
  return status >= 0 && (status & Status.ENDED) === 0;
}

/** The polling transport: no imports, two buffers in the guest's memory, chunks of them acknowledged one by one. */
import { BufferField, Status } from './contract.ts';
import type { PollingExports } from './contract.ts';
import { PGliteWaitingPollingHandler } from './handler-asyncify.ts';
import { SyncHandler } from './handler.ts';
import type { HandlerOptions } from './handler.ts';
import type { WaitingHandlerOptions } from './handler-waiting.ts';

/**
 * A handler for `pgcell-polling.wasm`; see `SyncHandler` for its methods. All input is given before the guest runs, and output is taken
 * when it has returned: both queue in the guest's memory meanwhile.
 */
export class PGlitePollingHandler extends SyncHandler<'polling'> {
  override readonly transport = 'polling';
  /** The guest imports nothing from `env`. */
  readonly imports = {};
  #inputData = 0;
  #outputData = 0;
  #bufferSize = 0;
  /** Bytes that `onOutput` has taken of the chunk in the output buffer. */
  #taken = 0;

  override setModule(module: WebAssembly.Instance | WebAssembly.Exports): void {
    super.setModule(module);
    const exports = this.liveExports();
    this.#inputData = (exports.pglite_get_input_buffer() >>> 0) + BufferField.DATA;
    this.#outputData = (exports.pglite_get_output_buffer() >>> 0) + BufferField.DATA;
    this.#bufferSize = exports.pglite_get_buffer_size() >>> 0;
  }

  /** A new session drops input that the guest has taken before: its own is given afterwards. */
  protected override enterSession(exports: PollingExports, length: number, firstByte: number): number {
    this.#taken = 0;
    const status = exports.pgl_backend();
    return status < 0 || firstByte < 0 ? status : this.enterInput(exports, length, firstByte);
  }

  protected override enterInput(exports: PollingExports, length: number, firstByte: number): number {
    for (let size = this.#fill(); size > 0; size = this.#fill()) {
      const taken = exports.pglite_signal_input_ready(size);
      if (taken < 0) {
        return taken;
      }
    }
    return exports.interactive_one(length, firstByte);
  }

  #fill(): number {
    return this.give(this.#inputData, this.#bufferSize);
  }

  protected override takeOutput(exports: PollingExports, status: number): number {
    let length = exports.pglite_get_output_length();
    while (length > 0) {
      const taken = this.take(this.#outputData + this.#taken, length - this.#taken);
      this.#taken += taken;
      if (this.#taken === length) {
        this.#taken = 0;
        length = exports.pglite_ack_output();
      } else if (taken === 0) {
        return status;
      }
    }
    return status < 0 ? status : status & ~Status.OUTPUT;
  }

  protected override clearGuest(exports: PollingExports): void {
    this.#taken = 0;
    exports.pglite_reset_buffers();
  }
}

/**
 * Makes a handler for one instance of `pgcell-polling.wasm`. With `wait: true` it is one for `pgcell-asyncify.wasm`: its calls return
 * promises, and the guest waits for input that is not there yet and for a reader that is slow, in any engine.
 */
export function createPGlitePollingHandler(options: WaitingHandlerOptions & { readonly wait: true }): PGliteWaitingPollingHandler;
export function createPGlitePollingHandler(options?: HandlerOptions & { readonly wait?: false }): PGlitePollingHandler;
export function createPGlitePollingHandler(
  options: (HandlerOptions & { readonly wait?: false }) | (WaitingHandlerOptions & { readonly wait: true }) = {},
): PGlitePollingHandler | PGliteWaitingPollingHandler {
  return options.wait ? new PGliteWaitingPollingHandler(options) : new PGlitePollingHandler(options);
}

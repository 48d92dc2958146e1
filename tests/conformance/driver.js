// A cell under test: the handler of one transport around one instance, and the ways in which a host can be slow, broken or mean.
// The suite knows only this; it does not know which transport it runs over, unless a case says so.

/**
 * @typedef {typeof import('../../js/dist/index.js')} Pgcell
 * @typedef {import('../../js/dist/index.js').BackendMessage} BackendMessage
 * @typedef {import('../../js/dist/index.js').Transport} Transport
 * @typedef {{ transport: Transport, module: WebAssembly.Module, trampoline?: WebAssembly.Module | undefined }} Modules
 * @typedef {(ptr: number, size: number) => number} TransportFunction
 */

const DEFAULT_PARAMETERS = { user: 'postgres', database: 'postgres' };

export class Cell {
  /** Lines of the guest's standard output and error. @type {string[]} */
  logs = [];
  /** At most so many bytes for each read of the guest's (each acknowledged chunk, over polling). */
  bytesPerRead = Infinity;
  /** Instead of the host's functions, for the transports that call some. @type {TransportFunction | undefined} */
  brokenRead;
  /** @type {TransportFunction | undefined} */
  brokenWrite;

  /**
   * @param {Pgcell} pgcell
   * @param {Modules} modules
   * @param {{ onOutput?: (chunk: Uint8Array) => number | void, memoryLimitBytes?: number }} [options]
   */
  static async make(pgcell, modules, { memoryLimitBytes, ...options } = {}) {
    const cell = new Cell(pgcell, modules.transport, options);
    const { exports } = await pgcell.instantiate(modules.module, cell.handler, {
      log: (line) => cell.logs.push(line),
      ...(modules.trampoline && { trampoline: modules.trampoline }),
      ...(memoryLimitBytes !== undefined && { memoryLimitBytes }),
    });
    cell.exports = exports;
    return cell;
  }

  /**
   * @param {Pgcell} pgcell
   * @param {Transport} transport
   * @param {{ onOutput?: (chunk: Uint8Array) => number | void }} options
   */
  constructor(pgcell, transport, options) {
    this.pgcell = pgcell;
    this.transport = transport;
    /** @type {any} */
    this.handler = this.#makeHandler(options);
    /** @type {any} */
    this.exports = undefined;
  }

  /** @param {{ onOutput?: (chunk: Uint8Array) => number | void }} options */
  #makeHandler(options) {
    switch (this.transport) {
      case 'imports': {
        const handler = this.pgcell.createPGliteImportHandler(options);
        const { pglite_js_read, pglite_js_write } = handler.imports;
        return Object.assign(handler, {
          imports: { pglite_js_read: this.#slowRead(pglite_js_read), pglite_js_write: this.#slowWrite(pglite_js_write) },
        });
      }
      case 'callbacks': {
        const handler = this.pgcell.createPGliteCallbackHandler(options);
        const { read, write } = handler.trampolineImports;
        return Object.assign(handler, { trampolineImports: { read: this.#slowRead(read), write: this.#slowWrite(write) } });
      }
      case 'polling':
        return this.pgcell.createPGlitePollingHandler(options);
    }
  }

  /** @param {TransportFunction} read @returns {TransportFunction} */
  #slowRead(read) {
    return (ptr, max) => (this.brokenRead ? this.brokenRead(ptr, max) : read(ptr, Math.min(max >>> 0, this.bytesPerRead)));
  }

  /** @param {TransportFunction} write @returns {TransportFunction} */
  #slowWrite(write) {
    return (ptr, length) => (this.brokenWrite ? this.brokenWrite(ptr, length) : write(ptr, length));
  }

  get memoryBytes() {
    return this.exports.memory.buffer.byteLength;
  }

  get view() {
    return new DataView(this.exports.memory.buffer);
  }

  /**
   * Begins a session.
   *
   * @param {Uint8Array | Record<string, string>} [packet] the first bytes, or the parameters of a start-up packet
   * @returns {BackendMessage[]}
   */
  start(packet = DEFAULT_PARAMETERS) {
    return this.handler.start(packet instanceof Uint8Array ? packet : this.pgcell.serialize.startup(packet));
  }

  /** @param {Uint8Array | Iterable<Uint8Array>} input @returns {BackendMessage[]} */
  exec(input) {
    if (this.transport === 'polling' && this.bytesPerRead !== Infinity) {
      this.#signalPieces(input);
      return this.handler.exec([]);
    }
    return this.handler.exec(input);
  }

  /** @param {string} sql */
  query(sql) {
    return this.exec(this.pgcell.serialize.query(sql));
  }

  /** @param {Uint8Array | Iterable<Uint8Array>} input */
  #signalPieces(input) {
    const data = this.exports.pglite_get_input_buffer() + this.pgcell.BufferField.DATA;
    for (const chunk of input instanceof Uint8Array ? [input] : input) {
      for (let at = 0; at < chunk.length; at += this.bytesPerRead) {
        const piece = chunk.subarray(at, at + this.bytesPerRead);
        new Uint8Array(this.exports.memory.buffer).set(piece, data);
        const taken = this.exports.pglite_signal_input_ready(piece.length);
        if (taken !== piece.length) {
          throw new Error(`the guest took ${taken} of ${piece.length} bytes`);
        }
      }
    }
  }
}

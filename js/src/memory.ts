/** Views of a guest's memory. Growing the memory detaches its buffer: views are made anew when that has happened, and only then. */
export class GuestMemory {
  readonly #memory: WebAssembly.Memory;
  #bytes: Uint8Array;
  #view: DataView;

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
    this.#bytes = new Uint8Array(memory.buffer);
    this.#view = new DataView(memory.buffer);
  }

  /** The whole memory. Valid until the guest runs again. */
  get bytes(): Uint8Array {
    if (this.#bytes.buffer !== this.#memory.buffer) {
      this.#renew();
    }
    return this.#bytes;
  }

  /** The whole memory; WebAssembly is little-endian. Valid until the guest runs again. */
  get view(): DataView {
    if (this.#view.buffer !== this.#memory.buffer) {
      this.#renew();
    }
    return this.#view;
  }

  #renew(): void {
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#view = new DataView(this.#memory.buffer);
  }
}

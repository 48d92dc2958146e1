/**
 * The import transport under JSPI (JavaScript Promise Integration): the guest is suspended in the functions that it imports. Optional;
 * the same module as without.
 */
import { Errno } from './contract.ts';
import type { GuestExports, TransportImports } from './contract.ts';
import { WaitingHandler } from './handler-waiting.ts';
import type { Sooner, WaitingHandlerOptions } from './handler-waiting.ts';

interface Jspi {
  readonly Suspending: new <F extends (...args: never[]) => unknown>(work: F) => F;
  readonly promising: <A extends unknown[]>(entry: (...args: A) => number) => (...args: A) => Promise<number>;
}

const engine = WebAssembly as unknown as Partial<Jspi>;

/** Whether this engine has JSPI, so that a guest can wait. */
export function canWait(): boolean {
  return typeof engine.Suspending === 'function' && typeof engine.promising === 'function';
}

interface Entries {
  readonly pgl_backend: () => Promise<number>;
  readonly interactive_one: (length: number, firstByte: number) => Promise<number>;
  readonly pgcell_flush: () => Promise<number>;
  readonly pgl_shutdown: () => Promise<number>;
}

/** A handler for `pgcell.wasm` whose guest can wait; see `WaitingHandler` for its methods. */
export class PGliteWaitingHandler extends WaitingHandler<'imports'> {
  override readonly transport = 'imports';
  /** What the guest imports from `env`. */
  readonly imports: TransportImports;
  readonly #jspi: Jspi;
  #entries: Entries | undefined;

  constructor(options: WaitingHandlerOptions = {}) {
    super(options);
    if (!canWait()) {
      throw new TypeError('this engine can not suspend WebAssembly (JSPI): a handler with wait: true does not work here');
    }
    this.#jspi = engine as Jspi;
    this.imports = {
      pglite_js_read: new this.#jspi.Suspending((ptr: number, maxLength: number) => this.#read(ptr >>> 0, maxLength >>> 0)),
      pglite_js_write: new this.#jspi.Suspending((ptr: number, length: number) => this.take(ptr >>> 0, length >>> 0)),
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

  protected override enterSession(): Promise<number> {
    return this.#entries!.pgl_backend();
  }

  protected override enterInput(): Promise<number> {
    return this.#entries!.interactive_one(this.input.available, -1);
  }

  protected override enterFlush(): Promise<number> {
    return this.#entries!.pgcell_flush();
  }

  protected override enterShutdown(): Promise<number> {
    return this.#entries!.pgl_shutdown();
  }

  #read(start: number, max: number): Sooner<number> {
    const size = this.give(start, max);
    return typeof size === 'number' ? this.#orEnd(size) : size.then((later) => this.#orEnd(later));
  }

  #orEnd(size: number): number {
    return size === 0 && this.hasHungUp ? -Errno.EPIPE : size;
  }
}

/** A module that is compiled when it is first needed, and then shared. */
export class ModuleCache {
  readonly #compile: () => Promise<WebAssembly.Module>;
  #module: Promise<WebAssembly.Module> | undefined;

  constructor(compile: () => Promise<WebAssembly.Module>) {
    this.#compile = compile;
  }

  /** After a failure the next call tries again. */
  get(): Promise<WebAssembly.Module> {
    if (this.#module === undefined) {
      this.#module = this.#compile();
      this.#module.catch(() => {
        this.#module = undefined;
      });
    }
    return this.#module;
  }
}

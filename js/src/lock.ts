/** Mutual exclusion in the order of asking. */
export class Lock {
  #isHeld = false;
  #waiting: (() => void)[] = [];
  /** Of those that wait; the ones before it have been served. */
  #next = 0;

  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Runs `work` when nobody else is: at once if that is now. What it returns or throws settles the promise. */
  async run<T>(work: () => T | PromiseLike<T>): Promise<T> {
    if (this.#isHeld) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve)); // handed over by release
    } else {
      this.#isHeld = true;
    }
    try {
      return await work();
    } finally {
      this.#release();
    }
  }

  /** Runs `work` at once and without a promise. To be called only when the lock is not held. */
  runSync<T>(work: () => T): T {
    this.#isHeld = true;
    try {
      return work();
    } finally {
      this.#release();
    }
  }

  #release(): void {
    const next = this.#waiting[this.#next];
    if (next === undefined) {
      this.#isHeld = false;
      return;
    }
    this.#next++;
    if (this.#next > 1000 || this.#next === this.#waiting.length) {
      this.#waiting.splice(0, this.#next);
      this.#next = 0;
    }
    next();
  }
}

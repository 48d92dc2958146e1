/** Commits in their order, several with one sync: those that come while others are being stored are stored together, next. */
import { StorageError } from './errors.ts';

export class CommitQueue<Commit> {
  readonly #store: (commits: readonly Commit[]) => Promise<void>;
  #waiting: Commit[] = [];
  #isNextAsked = false;
  #last: Promise<void> = Promise.resolve();

  /** @param store makes commits durable, in their order. Not called again before its promise is resolved, nor ever after it was rejected */
  constructor(store: (commits: readonly Commit[]) => Promise<void>) {
    this.#store = store;
  }

  /** @returns resolved when it is durable; rejected with a StorageError when it, or anything before it, could not be stored */
  add(commit: Commit): Promise<void> {
    this.#waiting.push(commit);
    if (!this.#isNextAsked) {
      this.#isNextAsked = true;
      // after a failure nothing runs any more: what a failed sync has left on the disk is unknown, and the next one may not tell
      this.#last = this.#last.then(() => this.#run());
    }
    return this.#last;
  }

  /** Settled as the newest commit. */
  get last(): Promise<void> {
    return this.#last;
  }

  async #run(): Promise<void> {
    const commits = this.#waiting;
    this.#waiting = [];
    this.#isNextAsked = false;
    try {
      await this.#store(commits);
    } catch (error) {
      throw new StorageError(`changes could not be stored: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }
}

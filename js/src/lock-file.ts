/**
 * A file that says which process has something. A process that has ended without releasing it does not keep it.
 *
 * As PostgreSQL's postmaster.pid it holds among processes that see each other: not between machines, nor between containers with process
 * numbers of their own. Where Linux tells, a number that now is another process's is told apart (a container's first process often has the
 * same one after a restart); elsewhere the file of a dead process whose number is in use again has to be deleted by hand.
 */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { StorageError } from './errors.ts';

declare const process: { readonly pid: number; kill(pid: number, signal: 0): boolean };

export class LockFile {
  readonly #path: string;
  readonly #text: string;

  private constructor(path: string, text: string) {
    this.#path = path;
    this.#text = text;
  }

  /** @param what it is for, in messages @throws StorageError when a process that runs has it, also this one */
  static take(path: string, what: string): LockFile {
    const token = Math.random().toString(36).slice(2);
    const text = `${process.pid}\n${startOf(process.pid) ?? ''}\n${token}\n`;
    const own = `${path}.${process.pid}.${token}`;
    // it gets its name when it has its contents: nobody sees it half written, not even after a power cut
    writeFileSync(own, text, { flag: 'wx', mode: 0o600, flush: true });
    try {
      place(own, path, what);
    } finally {
      rmSync(own, { force: true });
    }
    return new LockFile(path, text);
  }

  release(): void {
    if (read(this.#path) === this.#text) {
      rmSync(this.#path, { force: true });
    }
  }
}

/** Gives the file `own` also the name `path`, unless a process that runs has that. */
function place(own: string, path: string, what: string): void {
  for (;;) {
    try {
      linkSync(own, path);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') {
        throw error;
      }
    }
    const owner = read(path);
    if (owner === undefined) {
      continue; // released since
    }
    refuseRunning(owner, path, what);
    // Of those that want to take its place one may do so, the one that gets a lock for that. Without it the second could replace the first.
    const takeover = LockFile.take(`${path}.old`, what);
    try {
      if (read(path) === owner) {
        renameSync(own, path);
        return;
      }
    } finally {
      takeover.release();
    }
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
}

function refuseRunning(owner: string, path: string, what: string): void {
  const [, digits, start] = /^([1-9]\d{0,9})\n(.*)\n.*\n$/.exec(owner) ?? [];
  if (digits === undefined) {
    throw new StorageError(`${what} is in use, if ${path} is right, which has no process number; delete it if it is not`);
  }
  const pid = Number(digits);
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') {
      return;
    }
  }
  const now = startOf(pid);
  if (now === undefined || start === '' || now === start) {
    const hint = pid === process.pid ? ', this one' : ` (delete ${path} if that is another program)`;
    throw new StorageError(`${what} is in use by process ${pid}${hint}`);
  }
}

/** What no other process with this number has; 'ended' if it only waits to be noticed; undefined where there is no way to know. */
function startOf(pid: number): string | undefined {
  try {
    // behind the name in parentheses: the state, field 3, and when it started, field 22, in ticks since the machine did (man 5 proc)
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : `${boot} ${fields[19]}`;
  } catch {
    return undefined;
  }
}

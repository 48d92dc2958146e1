import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { StorageError } from '../src/errors.ts';
import { LockFile } from '../src/lock-file.ts';
import { DirectoryStorage } from '../src/storage-directory.ts';
import { testCases } from './storage-cases.ts';

const CHILD = new URL('storage-directory-child.ts', import.meta.url);
const isLinux = process.platform === 'linux';
const root = mkdtempSync(join(tmpdir(), 'pgcell-storage-'));
after(() => rmSync(root, { recursive: true }));

let folders = 0;
const newFolder = () => join(root, String(folders++));
const block = (value: number) => new Uint8Array(new Uint32Array(2048).fill(value).buffer);

async function openAndRead(storage: DirectoryStorage): Promise<Map<number, number>> {
  const state = new Map<number, number>();
  for await (const [number, contents] of await storage.open()) {
    const words = new Uint32Array(contents.buffer, contents.byteOffset, 2048);
    assert.ok(words.every((word) => word === words[0]));
    state.set(number, words[0]!);
  }
  return state;
}

async function read(folder: string): Promise<Map<number, number>> {
  const storage = new DirectoryStorage(folder);
  const state = await openAndRead(storage);
  await storage.close();
  return state;
}

const refused = (folder: string, message: RegExp) =>
  assert.rejects(openAndRead(new DirectoryStorage(folder)), (error) => error instanceof StorageError && message.test(error.message) && error.message.includes(folder));

/** @returns what it says, line by line, and a way to let it end */
function start(folder: string, ...options: string[]) {
  const child = spawn(process.execPath, [CHILD.pathname, folder, ...options], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lines: string[] = [];
  let wake = () => {};
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop()!;
    lines.push(...parts);
    wake();
  });
  return {
    lines,
    pid: child.pid!,
    async first(): Promise<string> {
      if (lines.length === 0) {
        await Promise.race([ended, new Promise<void>((resolve) => (wake = resolve))]);
      }
      return lines[0] ?? 'nothing';
    },
    async end(signal?: 'SIGKILL') {
      if (signal !== undefined) {
        child.kill(signal);
      }
      child.stdin.end();
      await ended;
    },
  };
}

testCases('DirectoryStorage', () => {
  const folder = newFolder();
  return () => new DirectoryStorage(folder);
});

test('the directory and those above it are made, for this user only; the lock goes when it is closed', async () => {
  const folder = join(newFolder(), 'a', 'b');
  const storage = new DirectoryStorage(folder);
  await openAndRead(storage);
  assert.deepEqual(readdirSync(folder).sort(), ['pgcell.blocks', 'pgcell.journal', 'pgcell.lock']);
  if (process.platform !== 'win32') {
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(folder).map((name) => statSync(join(folder, name)).mode & 0o777), [0o600, 0o600, 0o600]);
  }
  await storage.close();
  assert.deepEqual(readdirSync(folder).sort(), ['pgcell.blocks', 'pgcell.journal']);
});

test('directories with something else in them are refused, and nothing is written', async () => {
  const postgres = newFolder();
  mkdirSync(postgres);
  for (const name of ['PG_VERSION', 'base', 'global', 'pg_wal', 'postgresql.conf', 'z']) {
    writeFileSync(join(postgres, name), '18\n');
  }
  await refused(postgres, /is not a database of pgcell: it has no pgcell\.blocks, but PG_VERSION, base, global, pg_wal, postgresql\.conf, …$/);
  assert.equal(readdirSync(postgres).length, 6);
  await refused(join(postgres, 'PG_VERSION'), /EEXIST|ENOTDIR/);
  const foreign = newFolder();
  mkdirSync(foreign);
  writeFileSync(join(foreign, 'pgcell.blocks'), 'hello');
  await refused(foreign, /pgcell\.blocks is damaged at its begin, or it is no file of pgcell blocks/);
  assert.equal(readFileSync(join(foreign, 'pgcell.blocks'), 'utf8'), 'hello');
  assert.ok(!existsSync(join(foreign, 'pgcell.lock')), 'and it is not locked');
  const volume = newFolder();
  mkdirSync(join(volume, 'lost+found'), { recursive: true });
  assert.equal((await read(volume)).size, 0);
});

test('a directory that nobody may write to', { skip: process.getuid?.() === 0 }, async () => {
  const folder = newFolder();
  mkdirSync(folder);
  chmodSync(folder, 0o500);
  await refused(folder, /EACCES/);
});

test('it is refused to the same thread, another thread and another process, each of which is told who has it', async () => {
  const folder = newFolder();
  const storage = new DirectoryStorage(folder);
  await openAndRead(storage);
  const message = new RegExp(`is in use by process ${process.pid}`);
  await refused(folder, message);
  const worker = new Worker(CHILD, { workerData: [folder] });
  assert.match(await new Promise((resolve) => worker.once('message', resolve)), message);
  const process1 = start(folder);
  assert.match(await process1.first(), message);
  await process1.end();
  await storage.close();
  const process2 = start(folder);
  assert.equal(await process2.first(), 'open');
  await refused(folder, new RegExp(`is in use by process ${process2.pid} \\(delete .*pgcell\\.lock if`));
  await process2.end();
  await read(folder);
});

test('the lock of a process that has ended is taken over; so is that of another process with this number', async () => {
  const folder = newFolder();
  const ended = start(folder);
  assert.equal(await ended.first(), 'open');
  const own = readFileSync(join(folder, 'pgcell.lock'), 'utf8');
  await ended.end('SIGKILL');
  assert.equal(readFileSync(join(folder, 'pgcell.lock'), 'utf8'), own);
  await read(folder);
  if (isLinux) {
    // a container that was started again, on the same boot of its machine or another
    const start = /^(\S+) (\d+)$/m.exec(own)!;
    for (const other of [`${start[1]} 1`, `0a1b ${start[2]}`]) {
      writeFileSync(join(folder, 'pgcell.lock'), `${process.pid}\n${other}\nx\n`);
      await read(folder);
    }
  }
  // somebody was killed while taking it over
  writeFileSync(join(folder, 'pgcell.lock'), own);
  writeFileSync(join(folder, 'pgcell.lock.old'), own);
  await read(folder);
  assert.deepEqual(readdirSync(folder).sort(), ['pgcell.blocks', 'pgcell.journal']);
  for (const [text, message] of [['', /no process number; delete it/], ['-1\n\nx\n', /no process number/], [`${process.pid}\n\nx\n`, /is in use by process/]] as const) {
    writeFileSync(join(folder, 'pgcell.lock'), text);
    await refused(folder, message);
    assert.equal(readFileSync(join(folder, 'pgcell.lock'), 'utf8'), text);
  }
});

test('who finds the lock of a process that has ended does not take it from one that was quicker', () => {
  const path = join(root, 'quick.lock');
  writeFileSync(path, '999999999\n\nx\n');
  const { kill } = process;
  let quicker: LockFile | undefined;
  process.kill = (pid, signal) => {
    process.kill = kill;
    quicker = LockFile.take(path, 'it');
    return process.kill(pid, signal);
  };
  try {
    assert.throws(() => LockFile.take(path, 'it'), (error) => error instanceof StorageError && error.message === `it is in use by process ${process.pid}, this one`);
  } finally {
    process.kill = kill;
  }
  quicker!.release();
  LockFile.take(path, 'it').release();
  assert.deepEqual(readdirSync(root).filter((name) => name.startsWith('quick')), []);
});

test('of several processes that find the lock of one that has ended, one gets it', async () => {
  const folder = newFolder();
  for (let round = 0; round < 2; round++) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'pgcell.lock'), '999999999\n\nx\n');
    const all = Array.from({ length: 4 }, () => start(folder));
    const texts = await Promise.all(all.map((one) => one.first()));
    assert.equal(texts.filter((text) => text === 'open').length, 1, texts.join('\n'));
    assert.ok(texts.every((text) => /^open$|^StorageError: .*is in use by process \d+/.test(text)), texts.join('\n'));
    await Promise.all(all.map((one) => one.end()));
  }
});

test('what a process has reported is there after it was killed', async (t) => {
  const folder = newFolder();
  let all = 0;
  for (let round = 0; round < 5; round++) {
    const child = start(folder, 'commit');
    assert.equal(await child.first(), 'open');
    await new Promise((resolve) => setTimeout(resolve, 100 + round * 70));
    await child.end('SIGKILL');
    const last = Number(child.lines.at(-1));
    assert.ok(last > 0, child.lines.join('\n'));
    const state = await read(folder);
    const value = state.get(0)!;
    assert.ok(value === last || value === last + 1, `${value} after ${last}`);
    assert.equal(state.get(2560), value);
    assert.equal(state.get(10_000 + (value % 50)), value);
    assert.ok(!state.has(10_000 + ((value + 25) % 50)));
    all += last;
  }
  t.diagnostic(`${all} commits`);
});

test('a journal that was cut short has what was whole in it', async () => {
  const folder = newFolder();
  const storage = new DirectoryStorage(folder);
  await openAndRead(storage);
  for (let i = 1; i <= 3; i++) {
    await storage.commit(new Map([[i, block(i)]]));
  }
  for (const [missing, blocks] of [[0, 3], [1, 2], [8211, 2], [8212, 2], [8213, 1], [3 * 8212, 0]] as const) {
    const copy = newFolder();
    cpSync(folder, copy, { recursive: true, filter: (path) => !path.endsWith('.lock') });
    truncateSync(join(copy, 'pgcell.journal'), statSync(join(copy, 'pgcell.journal')).size - missing);
    assert.equal((await read(copy)).size, blocks, `${missing} bytes less`);
    assert.equal((await read(copy)).size, blocks);
  }
  await storage.close();
});

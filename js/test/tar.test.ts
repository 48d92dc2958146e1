import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { concat } from '../src/protocol-backend.ts';
import { readTar, TarError, writeTar } from '../src/tar.ts';
import type { TarEntry } from '../src/tar.ts';

const text = (value: string) => new TextEncoder().encode(value);
const LONG = `${'folder-'.repeat(15)}x/${'name-'.repeat(12)}`;

const ENTRIES: TarEntry[] = [
  { name: 'base', mode: 0o700, mtimeMs: 1_700_000_000_000 },
  { name: 'base/1', bytes: new Uint8Array(8192).fill(7), mode: 0o600, mtimeMs: 1_700_000_001_000 },
  { name: 'empty', bytes: new Uint8Array(0), mode: 0o600, mtimeMs: 0 },
  { name: 'odd', bytes: text('hello'), mode: 0o640, mtimeMs: 1000 },
  { name: LONG, bytes: text('long'), mode: 0o600, mtimeMs: 0 },
];

const archive = (entries: Iterable<TarEntry>) => concat([...writeTar(entries)]);

test('what was written is read', () => {
  const bytes = archive(ENTRIES);
  assert.equal(bytes.length % 512, 0);
  assert.deepEqual(
    readTar(bytes).map((entry) => ({ ...entry, bytes: entry.bytes && [...entry.bytes] })),
    ENTRIES.map((entry) => ({ ...entry, bytes: entry.bytes && [...entry.bytes] })),
  );
});

test('tar reads what was written, and the other way round', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pgcell-tar-'));
  try {
    writeFileSync(join(folder, 'ours.tar'), archive(ENTRIES));
    execFileSync('tar', ['xf', 'ours.tar'], { cwd: folder });
    assert.equal(readFileSync(join(folder, LONG), 'utf8'), 'long');
    assert.equal(readFileSync(join(folder, 'base/1')).length, 8192);
    for (const format of ['gnu', 'posix', 'ustar']) {
      execFileSync('tar', ['cf', 'theirs.tar', `--format=${format}`, './base', './odd', LONG], { cwd: folder });
      const names = readTar(new Uint8Array(readFileSync(join(folder, 'theirs.tar')))).map(({ name }) => name);
      assert.deepEqual(names, ['base', 'base/1', 'odd', LONG], format);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a name that tar has no room for', () => {
  assert.throws(() => archive([{ name: 'x'.repeat(300), bytes: text(''), mode: 0, mtimeMs: 0 }]), TarError);
  assert.throws(() => archive([{ name: `${'x'.repeat(200)}/y`, bytes: text(''), mode: 0, mtimeMs: 0 }]), TarError);
});

test('bytes that are no archive, cut short or changed anywhere, are refused or read; nothing else', () => {
  const bytes = archive(ENTRIES.slice(0, 3));
  for (const cut of [0, 1, 511, 512, 700, 5000, bytes.length - 1025]) {
    assert.throws(() => readTar(bytes.subarray(0, cut)), TarError, String(cut));
  }
  for (let at = 0; at < 1024; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      const bad = bytes.slice();
      bad[at]! ^= flip;
      try {
        readTar(bad);
      } catch (error) {
        assert.ok(error instanceof TarError, `${at}: ${error}`);
      }
    }
  }
});

/** The cases of tests/browser/storage-cases.js for `test`. Not a test of its own. */
import { test } from 'node:test';
import type { Storage } from '../src/storage.ts';

interface Case {
  readonly name: string;
  readonly run: (context: { make: () => Storage }) => Promise<void>;
}

// JavaScript without declarations, outside of this project: not for the compiler
const file = new URL('../../tests/browser/storage-cases.js', import.meta.url).href;
const { storageCases } = (await import(file)) as { storageCases: readonly Case[] };

/** @param makePlace called for each case: an empty place; what it gives makes a storage for it */
export function testCases(what: string, makePlace: () => () => Storage): void {
  for (const { name, run } of storageCases) {
    test(`${what}: ${name}`, () => run({ make: makePlace() }));
  }
}

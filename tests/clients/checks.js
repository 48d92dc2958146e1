// What the two JavaScript programs share: checks that are counted, and the server's addresses.

import { strict as assert } from 'node:assert';

const STATEMENT_MS = Number(process.env.CLIENTS_STATEMENT_MS);
const CHECK_MS = 30_000;

export const cell = process.env.PGDATABASE.split('@')[1];
export const tcp = { host: process.env.PGHOST, port: Number(process.env.PGPORT), user: 'postgres', database: process.env.PGDATABASE };
export const unix = { ...tcp, host: process.env.CLIENTS_SOCKET_DIR, port: Number(process.env.CLIENTS_SOCKET_PORT) };
export const settings = { statement_timeout: STATEMENT_MS };
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let passed = 0;
let failed = 0;
let tidy = async () => {};

/** What to do after a check that failed, so that it leaves no transaction to the next. */
export function afterFailure(body) {
  tidy = body;
}

/** Runs a check; a failure is said and counted, and the next check goes on. */
export async function check(name, body) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${CHECK_MS} ms`)), CHECK_MS);
  });
  try {
    await Promise.race([body(), late]);
    passed++;
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED ${name}: ${error.message.replaceAll('\n', ' | ')}`);
    await Promise.race([tidy().catch(() => {}), sleep(5000)]);
  } finally {
    clearTimeout(timer);
  }
}

/** The promise, whose rejection may come before anybody waits for it. */
export function expected(promise) {
  promise.catch(() => {});
  return promise;
}

/** The promise must be rejected with this SQLSTATE; the error comes back, to look at its fields. */
export async function rejects(promise, sqlstate, fields = {}) {
  let error;
  try {
    await promise;
  } catch (caught) {
    error = caught;
  }
  assert.ok(error, `no error, expected ${sqlstate}`);
  assert.equal(error.code, sqlstate, error.message);
  for (const [name, value] of Object.entries(fields)) {
    value instanceof RegExp ? assert.match(String(error[name]), value) : assert.equal(error[name], value, name);
  }
  return error;
}

/** The value, within some seconds. */
export async function within(seconds, promise) {
  const late = Symbol();
  const value = await Promise.race([promise, sleep(seconds * 1000).then(() => late)]);
  assert.notEqual(value, late, `nothing within ${seconds} s`);
  return value;
}

export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0); // also when a connection is left open
}

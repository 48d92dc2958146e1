// dumpDataDir and loadDataDir.

import { equal, ok, rejected } from './assert.js';

/** The names in a tar archive and where each header is. @param {Uint8Array} tar */
function tarNames(tar) {
  /** @type {Map<string, { at: number, size: number }>} */
  const names = new Map();
  const text = (/** @type {number} */ at, /** @type {number} */ size) => new TextDecoder().decode(tar.subarray(at, at + size)).replace(/\0.*$/s, '');
  for (let at = 0; tar[at] !== 0 && at < tar.length; ) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    names.set(text(at, 100).replace(/^\/|\/$/g, ''), { at, size });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return names;
}

/** @param {Blob} file */
const bytesOf = async (file) => new Uint8Array(await file.arrayBuffer());

/** @param {Uint8Array} bytes @param {number} at @param {number} bits */
const flip = (bytes, at, bits) => bytes.set([(bytes[at] ?? 0) ^ bits], at);

/** A data directory with one file changed. @param {any} db @param {string} name @param {(bytes: Uint8Array) => void} change */
async function spoiled(db, name, change) {
  const tar = await bytesOf(await db.dumpDataDir('none'));
  const entry = tarNames(tar).get(name);
  ok(entry !== undefined, name);
  change(tar.subarray(entry.at + 512, entry.at + 512 + entry.size));
  return new Blob([tar]);
}

/** @type {import('./suite.js').Case[]} */
export const dataCases = [
  {
    name: 'dumpDataDir and loadDataDir',
    async run({ open }) {
      const db = await open();
      await db.exec("create table t as select i, md5(i::text) as m from generate_series(1, 2000) i; create index on t (m); create role other login superuser");
      const file = await db.dumpDataDir();
      equal([file instanceof Blob, file.name, file.type], [true, 'pgdata.tar.gz', 'application/x-gzip']);
      const copy = await open({ loadDataDir: file, username: 'other' });
      const query = 'select count(*) as n, min(m) as a, max(m) as b from t';
      equal((await copy.query(query)).rows, (await db.query(query)).rows);
      equal((await copy.query("select i from t where m = md5('77')")).rows, [{ i: 77 }]);
      await copy.exec('drop table t; create table u (a int)');
      equal((await db.query('select count(*) as n from t')).rows, [{ n: 2000 }]);
      equal((await copy.query('select current_user::text as u')).rows, [{ u: 'other' }]);
    },
  },
  {
    name: 'dumpDataDir: without compression, a tar of all of the directory',
    async run({ open }) {
      const db = await open();
      const file = await db.dumpDataDir('none');
      equal([file.name, file.type, file.size % 512], ['pgdata.tar', 'application/x-tar', 0]);
      const tar = await bytesOf(file);
      const names = tarNames(tar);
      for (const name of ['PG_VERSION', 'base', 'global/pg_control', 'pg_wal', 'pg_notify', 'postgresql.conf']) {
        ok(names.has(name), name);
      }
    },
  },
  {
    name: 'dumpDataDir: nothing of the server that runs',
    isOwn: true,
    async run({ open }) {
      const names = tarNames(await bytesOf(await (await open()).dumpDataDir('none')));
      ok(!names.has('postmaster.pid') && !names.has('postmaster.opts'), 'no postmaster.pid');
    },
  },
  {
    name: 'loadDataDir: a copy of a copy, not compressed; the memory stays small',
    isOwn: true,
    async run({ open }) {
      const first = await open();
      await first.exec("create table t (a int); insert into t values (1); create type mood as enum ('ok')");
      await first.exec("alter system set work_mem = '7MB'");
      const second = await open({ loadDataDir: await first.dumpDataDir('none') });
      await second.exec('insert into t values (2)');
      const third = await open({ loadDataDir: await second.dumpDataDir('none') });
      equal((await third.query("select array_agg(a order by a) as a, current_setting('work_mem') as w, array['ok']::mood[] as m from t")).rows, [
        { a: [1, 2], w: '7MB', m: ['ok'] },
      ]);
      ok(third.memoryBytes < 48 * 1024 * 1024, `${third.memoryBytes} bytes`);
    },
  },
  {
    name: 'dumpDataDir: what a transaction has not committed is not in it',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec('create table t (a int)');
      const file = await db.transaction(async (/** @type {any} */ tx) => {
        await tx.query('insert into t values (1)');
        return db.dumpDataDir();
      });
      equal((await db.query('select count(*) as n from t')).rows, [{ n: 1 }]);
      equal((await (await open({ loadDataDir: file })).query('select count(*) as n from t')).rows, [{ n: 0 }]);
    },
  },
  {
    name: 'loadDataDir: other databases, files that went away, another database to connect to',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await db.exec('create database other');
      const inOther = await open({ loadDataDir: await db.dumpDataDir(), database: 'other' });
      await inOther.exec('create table here (a int)');
      const again = await open({ loadDataDir: await inOther.dumpDataDir(), database: 'other' });
      equal((await again.query('select count(*) as n from here')).rows, [{ n: 0 }]);
    },
  },
  {
    name: 'loadDataDir: what is no data directory',
    isOwn: true,
    async run({ open, pgcell: { DataDirError } }) {
      const db = await open();
      const tar = await bytesOf(await db.dumpDataDir('none'));
      const refused = async (/** @type {Blob} */ blob, /** @type {RegExp} */ message) => {
        const error = await rejected(open({ loadDataDir: blob }), { message, code: 'ERR_DATA_DIR' });
        ok(error instanceof DataDirError, 'a DataDirError');
      };
      await refused(new Blob([]), /too short/);
      await refused(new Blob(['x'.repeat(2000)]), /not a tar archive/);
      await refused(new Blob([new Uint8Array([0x1f, 0x8b, 1, 2, 3, 4])]), /not gzip/);
      await refused(new Blob([tar.subarray(0, 100_000)]), /cut short/);
      await refused(new Blob([new Uint8Array(1024)]), /no PG_VERSION/);
      const evil = tar.slice(0, 512);
      evil.fill(0, 0, 100);
      evil.set(new TextEncoder().encode('../x'));
      evil.set(new TextEncoder().encode('        '), 148);
      evil.set(new TextEncoder().encode(`${evil.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `), 148);
      await refused(new Blob([evil, new Uint8Array(1024)]), /outside of it/);
    },
  },
  {
    name: 'loadDataDir: of another version, build or architecture',
    isOwn: true,
    async run({ open }) {
      const db = await open();
      await rejected(open({ loadDataDir: await spoiled(db, 'PG_VERSION', (bytes) => bytes.set([0x31, 0x36])) }), { message: /PostgreSQL 16, this is PostgreSQL 18/ });
      const control = (/** @type {number} */ at) => spoiled(db, 'global/pg_control', (bytes) => flip(bytes, at, 0x10));
      await rejected(open({ loadDataDir: await control(12) }), { message: /another build of PostgreSQL: catalog version/ });
      await rejected(open({ loadDataDir: await control(217) }), { message: /block size/ });
      await rejected(open({ loadDataDir: await control(215) }), { message: /another architecture/ });
      await rejected(open({ loadDataDir: await control(248) }), { message: /another architecture/ });
    },
  },
  {
    name: 'loadDataDir: PostgreSQL does not start on it',
    isOwn: true,
    async run({ open, pgcell: { PGlite } }) {
      const db = await open();
      const broken = await spoiled(db, 'global/pg_control', (bytes) => flip(bytes, 32, 0xff));
      await rejected(open({ loadDataDir: broken }), { message: /PostgreSQL does not start on this data directory: .*(PANIC|FATAL)/ });
      const dead = new PGlite({ loadDataDir: broken });
      await rejected(dead.query('select 1'), { name: 'DataDirError' });
      await rejected(dead.waitReady, { name: 'DataDirError' });
      await dead.close();
      equal([dead.ready, dead.closed], [false, true]);
    },
  },
  {
    name: 'dumpDataDir: a compression that is none',
    isOwn: true,
    async run({ open }) {
      await rejected((await open()).dumpDataDir('lzma'), { name: 'RangeError', message: /no compression "lzma"/ });
    },
  },
];

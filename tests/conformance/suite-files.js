// The cell's files as the host sees them, starting on other ones, and calls at the wrong time.

import { equal, ok } from './assert.js';
import { all, errors, ready, rows, value } from './answers.js';

/** @typedef {import('./driver.js').Cell} Cell */

const EBUSY = -10;
const EIO = -29;
const ENOENT = -44;
const ENOTEMPTY = -55;

/** The guest's file functions, with strings and bytes. @param {Cell} cell */
function filesOf({ exports }) {
  /** @template T @param {number} length @param {(ptr: number) => T} use @returns {T} */
  const lend = (length, use) => {
    const ptr = exports.pgcell_alloc(length);
    ok(ptr !== 0, 'memory in the guest');
    try {
      return use(ptr);
    } finally {
      exports.pgcell_free(ptr);
    }
  };
  /** @template T @param {string} path @param {(ptr: number) => T} use @returns {T} */
  const named = (path, use) => {
    const bytes = new TextEncoder().encode(`${path}\0`);
    return lend(bytes.length, (ptr) => {
      new Uint8Array(exports.memory.buffer, ptr, bytes.length).set(bytes);
      return use(ptr);
    });
  };
  return {
    /** @param {string} path @returns {number | { type: number, mode: number, size: number, mtimeMs: number }} */
    stat: (path) =>
      named(path, (ptr) =>
        lend(24, (to) => {
          const rc = exports.pgcell_file_stat(ptr, to);
          const view = new DataView(exports.memory.buffer, to, 24);
          return rc < 0
            ? rc
            : {
                type: view.getUint32(0, true),
                mode: view.getUint32(4, true),
                size: Number(view.getBigUint64(8, true)),
                mtimeMs: Number(view.getBigUint64(16, true)),
              };
        }),
      ),
    /** @param {string} path @returns {number | string[]} */
    list: (path) =>
      named(path, (ptr) => {
        const needed = exports.pgcell_file_list(ptr, 0, 0);
        if (needed < 0) {
          return needed;
        }
        return lend(needed + 1, (to) => {
          equal(exports.pgcell_file_list(ptr, to, needed), needed);
          return new TextDecoder().decode(new Uint8Array(exports.memory.buffer, to, needed).slice()).split('\0').slice(0, -1).sort();
        });
      }),
    /** @param {string} path @returns {number | Uint8Array} */
    read: (path) =>
      named(path, (ptr) => {
        const fd = exports.pgcell_file_open(ptr, 0);
        if (fd < 0) {
          return fd;
        }
        /** @type {number[]} */
        const bytes = [];
        lend(5000, (to) => {
          for (let n = 1; n > 0; ) {
            n = exports.pgcell_file_read(fd, to, 5000);
            ok(n >= 0, `read: ${n}`);
            bytes.push(...new Uint8Array(exports.memory.buffer, to, n));
          }
        });
        equal(exports.pgcell_file_close(fd), 0);
        return new Uint8Array(bytes);
      }),
    /** @param {string} path @param {Uint8Array} bytes */
    write: (path, bytes) =>
      named(path, (ptr) => {
        const fd = exports.pgcell_file_open(ptr, 1);
        ok(fd >= 0, `open ${path}: ${fd}`);
        lend(bytes.length + 1, (from) => {
          new Uint8Array(exports.memory.buffer, from, bytes.length).set(bytes);
          equal(exports.pgcell_file_write(fd, from, bytes.length), bytes.length);
        });
        equal(exports.pgcell_file_close(fd), 0);
      }),
    /** @param {string} path @returns {number} */
    mkdir: (path) => named(path, (ptr) => exports.pgcell_file_mkdir(ptr)),
    /** @param {string} path @returns {number} */
    remove: (path) => named(path, (ptr) => exports.pgcell_file_remove(ptr)),
  };
}

/** @type {import('./suite.js').Case[]} */
export const fileCases = [
  {
    name: 'the host reads the cluster’s files',
    async run({ open }) {
      const files = filesOf(await open());
      equal(new TextDecoder().decode(/** @type {Uint8Array} */ (files.read('/data/PG_VERSION'))), '18\n');
      const top = files.list('/data');
      ok(Array.isArray(top) && ['PG_VERSION', 'base', 'global', 'pg_wal', 'postgresql.conf'].every((name) => top.includes(name)), String(top));
      const { type, size } = /** @type {{ type: number, size: number }} */ (files.stat('/data/global/pg_control'));
      equal([type, size], [4, 8192]);
      equal(/** @type {{ type: number }} */ (files.stat('/data/base')).type, 3);
      equal([files.stat('/data/nothing'), files.read('/data/nothing'), files.list('/data/nothing')], [ENOENT, ENOENT, ENOENT]);
    },
  },
  {
    name: 'the host’s files are PostgreSQL’s, and the other way round',
    async run({ open }) {
      const cell = await open();
      const files = filesOf(cell);
      equal(files.mkdir('/exchange'), 0);
      files.write('/exchange/in', new TextEncoder().encode('1\tone\n2\t\\N\n'));
      cell.query('create table t (a int, b text)');
      equal(errors(cell.query("copy t from '/exchange/in'")), []);
      equal(rows(cell.query('select a, b from t order by a')), [['1', 'one'], ['2', null]]);
      equal(errors(cell.query("copy (select repeat('x', 20000)) to '/exchange/out'")), []);
      equal(/** @type {Uint8Array} */ (files.read('/exchange/out')).length, 20001);
      equal(files.remove('/exchange'), ENOTEMPTY);
      equal([files.remove('/exchange/in'), files.remove('/exchange/out'), files.remove('/exchange')], [0, 0, 0]);
      equal(files.list('/exchange'), ENOENT);
    },
  },
  {
    name: 'reload: recovery finds what was committed, and nothing else',
    async run({ open }) {
      const cell = await open();
      cell.query('create table t as select generate_series(1, 5000) i');
      cell.query('begin; insert into t select 1');
      equal(cell.exports.pgcell_reload(), 0);
      ok(cell.logs.some((line) => line.includes('automatic recovery in progress')), cell.logs.join('\n'));
      equal(ready(cell.start()), 'idle');
      equal(value(cell.query('select count(*) from t')), '5000');
      equal(errors(cell.query('insert into t values (1)')), []);
    },
  },
  {
    name: 'reload: a database moves from one instance to another by its files',
    async run({ open }) {
      const [from, to] = [await open(), await open()];
      from.query("create table t as select i, md5(i::text) m from generate_series(1, 1000) i; create role moved");
      from.query("alter system set work_mem = '7MB'");
      from.query('checkpoint');
      const [source, target] = [filesOf(from), filesOf(to)];
      /** @param {string} path */
      const empty = (path) => {
        for (const name of /** @type {string[]} */ (target.list(path))) {
          const at = `${path}/${name}`;
          if (/** @type {{ type: number }} */ (target.stat(at)).type === 3) {
            empty(at);
          }
          equal(target.remove(at), 0, at);
        }
      };
      /** @param {string} path */
      const copy = (path) => {
        for (const name of /** @type {string[]} */ (source.list(path))) {
          const at = `${path}/${name}`;
          if (/** @type {{ type: number }} */ (source.stat(at)).type === 3) {
            equal(target.mkdir(at), 0, at);
            copy(at);
          } else {
            target.write(at, /** @type {Uint8Array} */ (source.read(at)));
          }
        }
      };
      empty('/data');
      copy('/data');
      equal(to.exports.pgcell_reload(), 0);
      equal(ready(to.start({ user: 'postgres', database: 'postgres' })), 'idle');
      equal(rows(to.query("select count(*), max(m) from t")), rows(from.query('select count(*), max(m) from t')));
      equal(value(to.query("select count(*) from pg_roles where rolname = 'moved'")), '1');
      equal(value(to.query('show work_mem')), '7MB');
    },
  },
  {
    name: 'reload: files that are no cluster leave the instance dead, until they are right again',
    async run({ open }) {
      const cell = await open();
      const files = filesOf(cell);
      cell.query('create table t as select 1; checkpoint');
      const control = /** @type {Uint8Array} */ (files.read('/data/global/pg_control'));
      files.write('/data/global/pg_control', new Uint8Array(8192));
      equal(cell.exports.pgcell_reload(), -56);
      equal(cell.exports.pgl_backend(), -56);
      equal(cell.exports.interactive_one(0, -1), -56);
      files.write('/data/global/pg_control', control);
      equal(cell.exports.pgcell_reload(), 0);
      equal(ready(cell.start()), 'idle');
      equal(value(cell.query('select count(*) from t')), '1');
    },
  },
  {
    name: 'a shutdown that can’t be is reported, and can be tried again',
    async run({ open }) {
      const cell = await open();
      cell.query('create table t (a text); create unlogged table filler (a text)');
      equal(cell.exports.pgcell_set_memory_limit(cell.memoryBytes + (1 << 20)), 0);
      let failed = false;
      for (let i = 0; i < 200 && !failed; i++) {
        failed = errors(cell.query("insert into filler select repeat('x', 7000) from generate_series(1, 200)")).length > 0;
      }
      ok(failed, 'the cell becomes full');
      cell.query("insert into t select repeat('y', 3000) from generate_series(1, 300)");
      const status = cell.exports.pgl_shutdown();
      ok(status === EIO || status === 0, `shutdown: ${status}`);
      equal(cell.exports.pgcell_set_memory_limit(0), 0);
      if (status === EIO) {
        equal(ready(cell.start()), 'idle');
        equal(cell.exports.pgl_shutdown(), 0);
      }
      equal(cell.exports.pgl_backend(), -53);
    },
  },
  {
    name: 'calls from inside of a call are refused',
    transports: ['imports', 'callbacks'],
    async run({ open, pgcell: { serialize } }) {
      const cell = await open({ isFresh: true });
      const { exports } = cell;
      /** @type {Set<number>} */
      const statuses = new Set();
      const tryAll = () => {
        for (const call of ['pgl_backend', 'pgcell_flush', 'pgl_shutdown', 'pgcell_reload']) {
          statuses.add(exports[call]());
        }
        statuses.add(exports.interactive_one(0, -1));
      };
      const packet = serialize.startup({ user: 'postgres', database: 'postgres' });
      let at = 0;
      /** @param {number} ptr @param {number} max */
      cell.brokenRead = (ptr, max) => {
        tryAll();
        const piece = packet.subarray(at, at + Math.min(max, 7));
        new Uint8Array(exports.memory.buffer).set(piece, ptr);
        at += piece.length;
        return piece.length;
      };
      cell.brokenWrite = (_ptr, length) => {
        tryAll();
        return length;
      };
      equal(exports.pgl_backend(), 0);
      cell.brokenRead = undefined;
      cell.brokenWrite = undefined;
      equal([...statuses], [EBUSY]);
      equal(value(cell.query('select 42')), '42');
      ok(all(cell.query('select 1'), 'errorResponse').length === 0, 'no error');
    },
  },
];

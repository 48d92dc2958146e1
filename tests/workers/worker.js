// A Worker that runs the conformance suite: /suite?part=…, /memory, /gates. The runner makes the names of the modules (workerd.js).

import guest from './guest.wasm';
import trampoline from './trampoline.wasm';
import * as pgcell from '../../js/dist/index.js';
import { value } from '../conformance/answers.js';
import { ok } from '../conformance/assert.js';
import { Cell } from '../conformance/driver.js';
import { cases } from '../conformance/suite.js';
import { clockCases } from './clock-cases.js';
import { choose, conformancePlaces, runCases } from './run-cases.js';
import { respond } from './respond.js';

/**
 * @typedef {object} Environment
 * @property {import('../../js/dist/index.js').Transport} TRANSPORT which module ./guest.wasm is
 */

/** @param {Environment} env */
const modulesOf = (env) => ({ transport: env.TRANSPORT, module: guest, trampoline: env.TRANSPORT === 'callbacks' ? trampoline : undefined });

/** @type {Record<string, (url: URL, env: Environment) => AsyncGenerator<string>>} */
const routes = {
  /** The cases in whose names one of the parts is; all without a part. A Worker has 128 MB: big ones are left out. */
  async *'/suite'(url, env) {
    const parts = url.searchParams.getAll('part');
    const all = [...cases(env.TRANSPORT, pgcell.canWait()), ...(env.TRANSPORT === 'imports' ? clockCases : [])];
    const chosen = choose(all, parts);
    const small = chosen.filter(({ isBig }) => !isBig);
    if (small.length < chosen.length) {
      yield `${chosen.length - small.length} cases left out: they need more than a Worker's 128 MB`;
    }
    yield* runCases(small, conformancePlaces(pgcell, modulesOf(env)));
  },

  /** Bytes of linear memory with a small database. */
  async *'/memory'(_url, env) {
    const cell = await Cell.make(pgcell, modulesOf(env));
    cell.start();
    value(cell.query('create table t (id int primary key, name text not null)'));
    value(cell.query("insert into t select i, 'name ' || i from generate_series(1, 1000) i"));
    value(cell.query('create index on t (name)'));
    ok(value(cell.query("select id from t where name = 'name 777'")) === '777', 'wrong answer');
    yield String(cell.memoryBytes);
  },

  /** What this engine must refuse, so that the suite shows that none of it is needed; nothing if it does. */
  async *'/gates'() {
    const emptyModule = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    /** @type {Record<string, () => unknown>} */
    const forbidden = {
      'new WebAssembly.Module': () => new WebAssembly.Module(emptyModule),
      'WebAssembly.compile': () => WebAssembly.compile(emptyModule),
      'WebAssembly.instantiate': () => WebAssembly.instantiate(emptyModule),
      eval: () => (0, eval)('1'),
      'new Function': () => new Function('return 1'),
    };
    for (const [name, work] of Object.entries(forbidden)) {
      try {
        await work();
      } catch {
        continue;
      }
      yield `${name} is not forbidden`;
    }
    for (const name of ['process', 'Buffer', 'require']) {
      if (name in globalThis) {
        yield `there is a global ${name}`;
      }
    }
  },
};

export default {
  /** @param {Request} request @param {Environment} env @param {import('./respond.js').RequestContext} context */
  fetch(request, env, context) {
    const url = new URL(request.url);
    const route = routes[url.pathname];
    if (route === undefined) {
      return new Response('no such route\n', { status: 404 });
    }
    return respond(route(url, env), context);
  },
};

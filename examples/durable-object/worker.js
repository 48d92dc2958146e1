// Counters that stay: each is a Durable Object with a PostgreSQL of its own, which it keeps in its storage.
//
//     GET  /counter/NAME          its value
//     POST /counter/NAME          adds one
//     GET  /counter/NAME/history  when it was what, the newest first

import { DurableObject } from 'cloudflare:workers';
import { DurableObjectStorage, PGlite } from 'pgcell';

const SCHEMA = `
  create table if not exists history (
    value int primary key,
    at timestamptz not null default now()
  );
`;

export class Counter extends DurableObject {
  /** Ready before the first method is called, see the constructor. @type {PGlite} */
  #db = /** @type {any} */ (undefined);

  /** @param {import('cloudflare:workers').DurableObjectState} ctx @param {Env} env */
  constructor(ctx, env) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      this.#db = await PGlite.create({ storage: new DurableObjectStorage(ctx.storage) });
      await this.#db.exec(SCHEMA);
    });
  }

  /** @returns {Promise<number>} */
  async read() {
    const { rows } = await this.#db.query('select max(value) as value from history');
    return rows[0]?.value ?? 0;
  }

  /**
   * Resolved when the increment is stored: a value that somebody has seen is never lost.
   *
   * @returns {Promise<number>} the new value
   */
  async increment() {
    const { rows } = await this.#db.query(
      'insert into history (value) select coalesce(max(value), 0) + 1 from history returning value',
    );
    return rows[0]?.value;
  }

  /** @returns {Promise<{ value: number, at: Date }[]>} */
  async history() {
    const { rows } = await this.#db.query('select value, at from history order by value desc limit 100');
    return /** @type {{ value: number, at: Date }[]} */ (rows);
  }
}

/** @typedef {{ COUNTER: import('cloudflare:workers').DurableObjectNamespace<Counter> }} Env */

export default {
  /** @param {Request} request @param {Env} env */
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    const [, name, isHistory] = /^\/counter\/([^/]+)(\/history)?$/.exec(pathname) ?? [];
    if (name === undefined) {
      return Response.json({ message: 'there is /counter/NAME and /counter/NAME/history' }, { status: 404 });
    }
    const counter = env.COUNTER.getByName(name);
    if (request.method === 'GET') {
      return Response.json(isHistory ? await counter.history() : { name, value: await counter.read() });
    }
    if (request.method === 'POST' && !isHistory) {
      return Response.json({ name, value: await counter.increment() });
    }
    return Response.json({ message: `${request.method} is not for ${pathname}` }, { status: 405 });
  },
};

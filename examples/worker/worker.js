// Notes over HTTP: a JSON API whose database is in the memory of the Worker's isolate.
//
//     GET    /notes           all notes, the newest first
//     POST   /notes           { "title": …, "body": … } makes one
//     GET    /notes/ID        one note
//     DELETE /notes/ID        deletes it
//     GET    /search?q=WORDS  full-text search, the best first
//
// Cloudflare may end an isolate at any time, the notes in it too. ../durable-object has a database that stays.

import { DatabaseError, PGlite } from 'pgcell';

const SCHEMA = `
  create table note (
    id int generated always as identity primary key,
    title text not null unique check (length(title) between 1 and 200),
    body text not null default '' check (length(body) <= 10000),
    created timestamptz not null default now(),
    words tsvector generated always as (
      setweight(to_tsvector('english', title), 'A') || to_tsvector('english', body)
    ) stored
  );
  create index on note using gin (words);
`;

/** HTTP statuses by SQLSTATE, or by its class; any other error is our own mistake. @type {Record<string, number>} */
const STATUS = {
  23505: 409, // unique_violation
  22: 400, // data exceptions: what came is no JSON, no number, too long, …
  23: 400, // integrity constraints
};

class HttpError extends Error {
  /** @param {number} status @param {string} message @param {HeadersInit} [headers] */
  constructor(status, message, headers) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** @typedef {{ request: Request, url: URL, id: string | undefined }} Call */

/** @type {{ method: string, path: RegExp, answer: (db: PGlite, call: Call) => Promise<Response> }[]} */
const ROUTES = [
  {
    method: 'GET',
    path: /^\/notes$/,
    async answer(db) {
      const { rows } = await db.query('select id, title, created from note order by id desc');
      return Response.json(rows);
    },
  },
  {
    method: 'POST',
    path: /^\/notes$/,
    async answer(db, { request }) {
      // PostgreSQL reads the JSON as well: what it doesn't like is an error with a SQLSTATE
      const { rows } = await db.query(
        `insert into note (title, body)
         select title, coalesce(body, '') from json_to_record($1) as input(title text, body text)
         returning id, title, body, created`,
        [await request.text()],
      );
      return Response.json(rows[0], { status: 201, headers: { location: `/notes/${rows[0]?.id}` } });
    },
  },
  {
    method: 'GET',
    path: /^\/notes\/(?<id>\d+)$/,
    async answer(db, { id }) {
      const { rows } = await db.query('select id, title, body, created from note where id = $1', [id]);
      return Response.json(rows[0] ?? notFound());
    },
  },
  {
    method: 'DELETE',
    path: /^\/notes\/(?<id>\d+)$/,
    async answer(db, { id }) {
      const { affectedRows } = await db.query('delete from note where id = $1', [id]);
      return affectedRows === 1 ? new Response(null, { status: 204 }) : notFound();
    },
  },
  {
    method: 'GET',
    path: /^\/search$/,
    async answer(db, { url }) {
      const { rows } = await db.query(
        `select id, title, ts_headline('english', body, query, 'StartSel=«, StopSel=»') as excerpt, ts_rank(words, query) as rank
         from note, websearch_to_tsquery('english', $1) as query
         where words @@ query
         order by rank desc, id
         limit 20`,
        [url.searchParams.get('q') ?? ''],
      );
      return Response.json(rows);
    },
  },
];

/** @returns {never} */
function notFound() {
  throw new HttpError(404, 'there is nothing here');
}

/** @type {Promise<PGlite> | undefined} */
let database;

/** The isolate's instance: the first request makes it, the others share it. */
function openDatabase() {
  database ??= makeDatabase().catch((error) => {
    database = undefined; // the next request tries again
    throw error;
  });
  return database;
}

async function makeDatabase() {
  const db = await PGlite.create();
  await db.exec(SCHEMA);
  return db;
}

/** @param {Request} request @param {PGlite} db */
async function answer(request, db) {
  const url = new URL(request.url);
  const routes = ROUTES.filter(({ path }) => path.test(url.pathname));
  const route = routes.find(({ method }) => method === request.method);
  if (route !== undefined) {
    return route.answer(db, { request, url, id: route.path.exec(url.pathname)?.groups?.id });
  }
  if (routes.length > 0) {
    throw new HttpError(405, `${request.method} is not for ${url.pathname}`, { allow: routes.map(({ method }) => method).join(', ') });
  }
  return notFound();
}

/** @param {unknown} error */
function errorResponse(error) {
  if (error instanceof HttpError) {
    return Response.json({ message: error.message }, { status: error.status, headers: error.headers });
  }
  const code = error instanceof DatabaseError ? (error.code ?? '') : '';
  const status = STATUS[code] ?? STATUS[code.slice(0, 2)];
  if (error instanceof DatabaseError && status !== undefined) {
    const { message, detail, constraint } = error;
    return Response.json({ message, code, detail, constraint }, { status });
  }
  console.error(error); // for us, not for the client
  return Response.json({ message: 'something went wrong', code: code || undefined }, { status: 500 });
}

export default {
  /** @param {Request} request @param {unknown} _env @param {{ waitUntil(promise: Promise<unknown>): void }} context */
  async fetch(request, _env, context) {
    try {
      const opening = openDatabase();
      context.waitUntil(opening); // others wait for it too, so it goes on even if this request's client hangs up
      return await answer(request, await opening);
    } catch (error) {
      return errorResponse(error);
    }
  },
};

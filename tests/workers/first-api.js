// The same with the database class, as a Worker would use the package.

import { PGlite } from '../../js/dist/worker.js';

export default {
  async fetch() {
    const db = await PGlite.create();
    const { rows } = await db.query('select 1 as one');
    return new Response(String(rows[0]?.one));
  },
};

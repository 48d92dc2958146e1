// The entry for Workers has the module besides.

import { PGlite, pgcellModule } from 'pgcell';

const module: WebAssembly.Module = pgcellModule;
// @ts-expect-error: and it has a type
const text: string = pgcellModule;

export default {
  async fetch(): Promise<Response> {
    const db = await PGlite.create({ wasmModule: module });
    return new Response(text + (await db.query('select 1')).rows.length);
  },
};

// The smallest Worker: each request has a database of its own, and asks it one thing.

import guest from './guest.wasm';
import { createPGliteImportHandler, instantiate, serialize } from '../../js/dist/index.js';

export default {
  async fetch() {
    const handler = createPGliteImportHandler();
    await instantiate(guest, handler);
    handler.start(serialize.startup({ user: 'postgres', database: 'postgres' }));
    const row = handler.exec(serialize.query('select 1')).find(({ type }) => type === 'dataRow');
    return new Response(row?.type === 'dataRow' ? new TextDecoder().decode(row.values[0] ?? undefined) : 'no row');
  },
};

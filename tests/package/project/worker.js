import { PGlite } from 'pgcell';
import { ask } from './ask.js';

export default {
  async fetch() {
    return new Response(await ask(PGlite));
  },
};

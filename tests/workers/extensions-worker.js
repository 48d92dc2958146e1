// A Worker that runs the suite of extensions, with the package's entry that has all of them.

import { PGlite } from '../../js/dist/worker-full.js';
import { run } from '../extensions/cases.js';

export default {
  async fetch() {
    /** @type {string[]} */
    const lines = [];
    await run(() => PGlite.create(), (line) => lines.push(line));
    return new Response(lines.join('\n'));
  },
};

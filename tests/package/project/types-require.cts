// CommonJS, from which Node 22.12 and newer can require ES modules.

import pgcell = require('pgcell');

export const start = (): Promise<pgcell.PGlite> => pgcell.PGlite.create();

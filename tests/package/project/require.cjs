const { PGlite } = require('pgcell');

import('./ask.js').then(({ ask }) => ask(PGlite)).then(console.log);

import { PGlite } from 'pgcell';
import { ask } from './ask.js';
import { report } from './report.js';

report(() => ask(PGlite));

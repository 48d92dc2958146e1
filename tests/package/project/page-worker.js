import { PGlite } from 'pgcell';
import { ask } from './ask.js';

ask(PGlite).then(postMessage, (error) => postMessage(error.message));

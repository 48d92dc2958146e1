// A Worker that runs the suite of the database class, with the package's entry for Workers: /?part=…

import * as template from '../../js/dist/template.js';
import * as pgcell from '../../js/dist/worker.js';
import { cases } from '../js-api/suite.js';
import { respond } from './respond.js';
import { apiPlaces, choose, runCases } from './run-cases.js';

export default {
  /** @param {Request} request @param {unknown} _env @param {import('./respond.js').RequestContext} context */
  fetch(request, _env, context) {
    const parts = new URL(request.url).searchParams.getAll('part');
    return respond(runCases(choose(cases, parts), apiPlaces({ ...pgcell, ...template })), context);
  },
};

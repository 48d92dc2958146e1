// A Containerfile's findings, as texts with their lines.
'use strict';
const { validate } = require('dockerfile-utils');

exports.findings = (text) => validate(text).map((finding) => `${finding.range.start.line + 1}: ${finding.message}`);

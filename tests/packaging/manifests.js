// Kubernetes manifests against the schemas of the Kubernetes API, which the package kubernetes-models 3 carries (those
// of Kubernetes 1.22 and before; its later versions have compiled validators instead, which let unknown fields pass). Stricter than the API
// server by default: a field that the schema does not know is an error.
//
//   const errors = check(yamlText)      // texts, none if all documents are valid
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const Module = require('node:module');
const Ajv = require('ajv').default;
const addFormats = require('ajv-formats').default;
const YAML = require('yaml');

// The package registers its schemas with a library of its own; they are taken in on the way there.
const schemas = new Map();
const load = Module._load;
Module._load = function (request, ...rest) {
  if (request === '@kubernetes-models/validate')
    return { register: (id, schema) => schemas.set(id, schema), validate: () => {}, addSchema: () => {} };
  return load.call(this, request, ...rest);
};
const root = path.join(__dirname, 'node_modules/kubernetes-models/_schemas');
for (const file of fs.readdirSync(root).filter((name) => name.endsWith('.js'))) require(path.join(root, file)).addSchema?.();
Module._load = load;

// Only what is named is allowed, where anything is named.
function close(schema) {
  if (Array.isArray(schema)) return schema.map(close);
  if (schema === null || typeof schema !== 'object') return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, close(value)]));
  if (copy.properties && copy.type === 'object' && copy.additionalProperties === undefined) copy.additionalProperties = false;
  if (copy.nullable && copy.type === undefined) delete copy.nullable;
  return copy;
}

const ajv = new Ajv({ allErrors: true, strict: false });
addFormats(ajv);
ajv.addFormat('int-or-string', true);
// apimachinery/pkg/api/resource/quantity.go
ajv.addFormat('quantity', /^[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?$/);
for (const [id, schema] of schemas) ajv.addSchema(close(schema), id + '#');

function schemaId({ apiVersion, kind }) {
  for (const [id, schema] of schemas) {
    const { properties } = schema;
    if (properties?.kind?.enum?.includes(kind) && properties?.apiVersion?.enum?.includes(apiVersion)) return id + '#';
  }
  return undefined;
}

function check(text) {
  const errors = [];
  for (const document of YAML.parseAllDocuments(text)) {
    errors.push(...document.errors.map(String));
    const object = document.toJS();
    const id = object && schemaId(object);
    if (id === undefined) {
      errors.push(`${object?.apiVersion} ${object?.kind} is not known`);
      continue;
    }
    const validate = ajv.getSchema(id);
    if (!validate(object))
      errors.push(...validate.errors.map((e) => `${object.kind}${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`));
  }
  return errors;
}

module.exports = { check, schemaCount: schemas.size };

// What a test wants to know of PostgreSQL's answers.

/** @typedef {import('../../js/dist/index.js').BackendMessage} BackendMessage */

const utf8 = new TextDecoder();

/** @param {BackendMessage[]} messages */
export const types = (messages) => messages.map((message) => message.type);

/**
 * @template {BackendMessage['type']} T
 * @param {BackendMessage[]} messages
 * @param {T} type
 * @returns {Extract<BackendMessage, { type: T }>[]}
 */
export const all = (messages, type) =>
  /** @type {Extract<BackendMessage, { type: T }>[]} */ (messages.filter((message) => message.type === type));

/** The rows as text. @param {BackendMessage[]} messages */
export const rows = (messages) =>
  all(messages, 'dataRow').map((row) => row.values.map((value) => (value === null ? null : utf8.decode(value))));

/** The first value of the first row; an error of PostgreSQL's is thrown. @param {BackendMessage[]} messages */
export function value(messages) {
  const [error] = all(messages, 'errorResponse');
  if (error) {
    throw new Error(`${error.fields.code}: ${error.fields.message}`);
  }
  return rows(messages)[0]?.[0];
}

/** SQLSTATEs of the errors. @param {BackendMessage[]} messages */
export const errors = (messages) => all(messages, 'errorResponse').map((message) => message.fields.code);

/** @param {BackendMessage[]} messages */
export const tags = (messages) => all(messages, 'commandComplete').map((message) => message.tag);

/** Copied data, put together. @param {BackendMessage[]} messages */
export function copied(messages) {
  const chunks = all(messages, 'copyData').map((message) => message.data);
  const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** The transaction status of the last ReadyForQuery, undefined when the last message is another. @param {BackendMessage[]} messages */
export function ready(messages) {
  const last = messages.at(-1);
  return last?.type === 'readyForQuery' ? last.transaction : undefined;
}

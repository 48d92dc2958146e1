// Requests to a Worker on this machine.

const TIMEOUT_MS = 30_000;

/** @typedef {{ status: number, headers: Headers, json: any }} Answer `json`: undefined if there is no body */

/** @param {string} url @returns {(method: string, path: string, body?: string) => Promise<Answer>} */
export const client = (url) => async (method, path, body) => {
  const response = await fetch(`${url}${path}`, { method, body, signal: AbortSignal.timeout(TIMEOUT_MS) });
  const text = await response.text();
  return { status: response.status, headers: response.headers, json: text === '' ? undefined : JSON.parse(text) };
};

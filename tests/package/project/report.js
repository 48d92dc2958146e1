// Shows what a page has found out, and sends it to the server of the tests.

/** @param {() => Promise<string>} work */
export async function report(work) {
  const text = await work().catch((error) => `FAILED: ${error.message}`);
  document.body.append(text);
  await fetch('/report', { method: 'POST', body: text });
}

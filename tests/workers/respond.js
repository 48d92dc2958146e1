// An answer whose lines are sent as they come.

/** @typedef {{ waitUntil(work: Promise<unknown>): void }} RequestContext */

/** @param {AsyncGenerator<string>} texts @param {RequestContext} context */
export function respond(texts, context) {
  const { readable, writable } = new TransformStream();
  context.waitUntil(send(texts, writable));
  return new Response(readable);
}

/** @param {AsyncGenerator<string>} texts @param {WritableStream<Uint8Array>} stream */
async function send(texts, stream) {
  const writer = stream.getWriter();
  const encoder = new TextEncoder();
  try {
    for await (const text of texts) {
      await writer.write(encoder.encode(`${text}\n`));
    }
  } catch (error) {
    await writer.write(encoder.encode(`FAILED: ${error instanceof Error ? error.stack : error}\n`));
  }
  await writer.close();
}

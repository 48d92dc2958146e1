// What the first response of an engine takes without us.

export default {
  fetch: () => new Response('1'),
};

async function main() {
  const [{ PGlite }, { ask }] = await Promise.all([import('pgcell'), import('./ask.js')]);
  console.log(await ask(PGlite));
}

main();

// for the check of this folder; a bundler's users have their bundler's declarations

declare module 'pgcell/pgcell.wasm' {
  const url: string;
  export default url;
}

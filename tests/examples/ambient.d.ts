// What the examples find in their own surroundings.

/** As much of what Cloudflare's runtime offers as the examples use. */
declare module 'cloudflare:workers' {
  export interface DurableObjectState {
    readonly storage: any;
    blockConcurrencyWhile<T>(callback: () => Promise<T>): Promise<T>;
  }
  export class DurableObject<Env = unknown> {
    constructor(ctx: DurableObjectState, env: Env);
    protected ctx: DurableObjectState;
    protected env: Env;
  }
  export interface DurableObjectNamespace<T> {
    /** Methods of the object can be called on it. */
    getByName(name: string): T;
  }
}

/** Where a static file server has the package; `pgcell` is in the paths of tsconfig.json. */
declare module '*/node_modules/pgcell/dist/browser.js' {
  export * from 'pgcell';
}

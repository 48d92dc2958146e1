/** PostgreSQL's wire protocol, version 3, both directions; no dependencies, runs wherever JavaScript does. */
export * from './protocol-backend.ts';
export * from './protocol-frontend.ts';

/** The errors of the database class. Those of PostgreSQL are `DatabaseError`s with every field that the server sent. */
import type { NoticeFields } from './protocol-backend.ts';
import type { QueryOptions } from './interface.ts';

type Text = string | undefined;

/** An error that PostgreSQL reported. Fields that it did not send are undefined. */
export class DatabaseError extends Error {
  // PGlite's errors have the name of their message
  override readonly name = 'error';
  /** Bytes of the message that carried it; 0 when it was made here. */
  readonly length: number;
  /** ERROR, FATAL or PANIC, not translated. */
  severity: Text;
  /** SQLSTATE, five characters. */
  code: Text;
  detail: Text;
  hint: Text;
  /** Where in the query, in characters from 1; a decimal number. */
  position: Text;
  internalPosition: Text;
  internalQuery: Text;
  /** The call stack of PL/pgSQL and the like. */
  where: Text;
  schema: Text;
  table: Text;
  column: Text;
  dataType: Text;
  constraint: Text;
  file: Text;
  line: Text;
  routine: Text;
  /** The SQL that failed; undefined when the message came from `execProtocol`. */
  declare query?: string;
  /** Its parameters as they were given; undefined for `exec`. */
  declare params?: unknown[] | undefined;
  declare queryOptions?: QueryOptions | undefined;

  constructor(message: string, length = 0, fields?: NoticeFields) {
    super(message);
    this.length = length;
    this.severity = fields?.severityCode ?? fields?.severity;
    this.code = fields?.code;
    this.detail = fields?.detail;
    this.hint = fields?.hint;
    this.position = fields?.position;
    this.internalPosition = fields?.internalPosition;
    this.internalQuery = fields?.internalQuery;
    this.where = fields?.where;
    this.schema = fields?.schema;
    this.table = fields?.table;
    this.column = fields?.column;
    this.dataType = fields?.dataType;
    this.constraint = fields?.constraint;
    this.file = fields?.file;
    this.line = fields?.line;
    this.routine = fields?.routine;
  }

  /** Adds what was being run. */
  from(query: string, params: unknown[] | undefined, options: QueryOptions | undefined): this {
    this.query = query;
    this.params = params;
    this.queryOptions = options;
    return this;
  }
}

/** COMMIT rolled back a transaction in which a statement had failed, although the callback of `transaction` did not throw. */
export class TransactionAbortedError extends DatabaseError {
  constructor() {
    super('Transaction was rolled back instead of committed');
    this.severity = 'ERROR';
    this.code = '25P02';
    this.query = 'COMMIT';
  }
}

/** The instance was closed: nothing can be run in it any more. */
export class ClosedError extends Error {
  override readonly name = 'ClosedError';
  readonly code = 'ERR_CLOSED';

  constructor(what = 'PGlite is closed') {
    super(what);
  }
}

/** A data directory that can't be used: not one, broken, or of another PostgreSQL. The message says which. */
export class DataDirError extends Error {
  override readonly name = 'DataDirError';
  readonly code = 'ERR_DATA_DIR';
}

/** The storage of a database: in use elsewhere, of another kind, or it failed. After a failure to store the instance is dead; what was reported before is stored. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code = 'ERR_STORAGE';
}

/**
 * PostgreSQL's messages in the shapes that PGlite gives them, for `execProtocol`, and its serializer. Code of one's own does better with
 * `BackendMessage` and `MessageWriter`.
 */
import { DatabaseError } from './errors.ts';
import { BackendParser } from './protocol-backend.ts';
import type { BackendMessage, MessageOf, NoticeFields } from './protocol-backend.ts';
import { serialize as write } from './protocol-frontend.ts';
import type { BindValue } from './protocol-frontend.ts';

export { DatabaseError };

/** A notice or a warning. Fields that PostgreSQL did not send are undefined. */
export class NoticeMessage {
  readonly name = 'notice';
  readonly length: number;
  readonly message: string | undefined;
  readonly severity: string | undefined;
  readonly code: string | undefined;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  readonly position: string | undefined;
  readonly internalPosition: string | undefined;
  readonly internalQuery: string | undefined;
  readonly where: string | undefined;
  readonly schema: string | undefined;
  readonly table: string | undefined;
  readonly column: string | undefined;
  readonly dataType: string | undefined;
  readonly constraint: string | undefined;
  readonly file: string | undefined;
  readonly line: string | undefined;
  readonly routine: string | undefined;

  constructor(length: number, fields: NoticeFields) {
    this.length = length;
    this.message = fields.message;
    this.severity = fields.severityCode ?? fields.severity;
    this.code = fields.code;
    this.detail = fields.detail;
    this.hint = fields.hint;
    this.position = fields.position;
    this.internalPosition = fields.internalPosition;
    this.internalQuery = fields.internalQuery;
    this.where = fields.where;
    this.schema = fields.schema;
    this.table = fields.table;
    this.column = fields.column;
    this.dataType = fields.dataType;
    this.constraint = fields.constraint;
    this.file = fields.file;
    this.line = fields.line;
    this.routine = fields.routine;
  }
}

type Shape<N extends string, T = unknown> = { readonly name: N; readonly length: number } & T;

export interface MessageField {
  readonly name: string;
  readonly tableID: number;
  readonly columnID: number;
  readonly dataTypeID: number;
  readonly dataTypeSize: number;
  readonly dataTypeModifier: number;
  /** 0 text, 1 binary */
  readonly format: 0 | 1;
}

type CopyShape = { readonly binary: boolean; readonly columnTypes: readonly (0 | 1)[] };

/** A message; `length` is what its header says, without the type byte. */
export type Message =
  | Shape<'parseComplete' | 'bindComplete' | 'closeComplete' | 'noData' | 'portalSuspended' | 'emptyQuery' | 'copyDone'>
  | Shape<'authenticationOk' | 'authenticationCleartextPassword'>
  | Shape<'authenticationMD5Password', { readonly salt: Uint8Array }>
  | Shape<'authenticationSASL', { readonly mechanisms: readonly string[] }>
  | Shape<'authenticationSASLContinue' | 'authenticationSASLFinal', { readonly data: string }>
  | Shape<'rowDescription', { readonly fieldCount: number; readonly fields: readonly MessageField[] }>
  | Shape<'dataRow', { readonly fieldCount: number; readonly fields: readonly (string | null)[] }>
  | Shape<'commandComplete', { readonly text: string }>
  | Shape<'readyForQuery', { readonly status: 'I' | 'T' | 'E' }>
  | Shape<'parameterDescription', { readonly parameterCount: number; readonly dataTypeIDs: readonly number[] }>
  | Shape<'parameterStatus', { readonly parameterName: string; readonly parameterValue: string }>
  | Shape<'backendKeyData', { readonly processID: number; readonly secretKey: number }>
  | Shape<'notification', { readonly processId: number; readonly channel: string; readonly payload: string }>
  | Shape<'copyData', { readonly chunk: Uint8Array }>
  | Shape<'copyInResponse' | 'copyOutResponse' | 'copyBothResponse', CopyShape>
  | NoticeMessage
  | DatabaseError;

const decoder = new TextDecoder();
const STATUS = { idle: 'I', block: 'T', failed: 'E' } as const;

/** @param length what the header says. What has no equivalent in PGlite is left out: undefined. */
function shapeOf(message: BackendMessage, length: number): Message | undefined {
  switch (message.type) {
    case 'parseComplete':
    case 'bindComplete':
    case 'closeComplete':
    case 'noData':
    case 'portalSuspended':
      return { name: message.type, length: 5 }; // as PGlite says
    case 'copyDone':
      return { name: 'copyDone', length: 4 };
    case 'emptyQueryResponse':
      return { name: 'emptyQuery', length: 4 };
    case 'rowDescription':
      return {
        name: 'rowDescription',
        length,
        fieldCount: message.fields.length,
        fields: message.fields.map((field) => ({
          name: field.name,
          tableID: field.tableOid,
          columnID: field.columnNumber,
          dataTypeID: field.typeOid,
          dataTypeSize: field.typeSize,
          dataTypeModifier: field.typeModifier,
          format: field.format === 'binary' ? 1 : 0,
        })),
      };
    case 'dataRow':
      return {
        name: 'dataRow',
        length,
        fieldCount: message.values.length,
        fields: message.values.map((value) => value && decoder.decode(value)),
      };
    case 'commandComplete':
      return { name: 'commandComplete', length, text: message.tag };
    case 'readyForQuery':
      return { name: 'readyForQuery', length, status: STATUS[message.transaction] };
    case 'parameterDescription':
      return { name: 'parameterDescription', length, parameterCount: message.typeOids.length, dataTypeIDs: message.typeOids };
    case 'parameterStatus':
      return { name: 'parameterStatus', length, parameterName: message.name, parameterValue: message.value };
    case 'backendKeyData':
      return { name: 'backendKeyData', length, processID: message.processId, secretKey: firstWord(message.secretKey) };
    case 'notificationResponse':
      return { name: 'notification', length, processId: message.processId, channel: message.channel, payload: message.payload };
    case 'copyData':
      return { name: 'copyData', length, chunk: message.data.slice() };
    case 'copyInResponse':
    case 'copyOutResponse':
    case 'copyBothResponse':
      return {
        name: message.type,
        length,
        binary: message.format === 'binary',
        columnTypes: message.columnFormats.map((format) => (format === 'binary' ? 1 : 0)),
      };
    case 'noticeResponse':
      return new NoticeMessage(length, message.fields);
    case 'errorResponse':
      return new DatabaseError(message.fields.message ?? '', length, message.fields);
    case 'authentication':
      return authenticationShape(message, length);
    default:
      return undefined;
  }
}

function authenticationShape(message: MessageOf<'authentication'>, length: number): Message | undefined {
  switch (message.method) {
    case 'ok':
      return { name: 'authenticationOk', length };
    case 'cleartextPassword':
      return { name: 'authenticationCleartextPassword', length };
    case 'md5Password':
      return { name: 'authenticationMD5Password', length, salt: message.salt };
    case 'sasl':
      return { name: 'authenticationSASL', length, mechanisms: message.mechanisms };
    case 'saslContinue':
      return { name: 'authenticationSASLContinue', length, data: decoder.decode(message.data) };
    case 'saslFinal':
      return { name: 'authenticationSASLFinal', length, data: decoder.decode(message.data) };
    default:
      return undefined;
  }
}

function firstWord(key: Uint8Array): number {
  return key.length < 4 ? 0 : new DataView(key.buffer, key.byteOffset).getInt32(0);
}

/** Parses complete messages. @param bytes their owner may change them afterwards @throws ProtocolError */
export function parseMessages(bytes: Uint8Array): Message[] {
  const parser = new Parser();
  const messages: Message[] = [];
  parser.parse(bytes, (message) => messages.push(message));
  return messages;
}

/** Takes PostgreSQL's output in chunks of any size. */
export class Parser {
  readonly #parser = new BackendParser();
  #rest = new Uint8Array(0);

  /** Calls `callback` for each message that is complete. @throws ProtocolError */
  parse(buffer: ArrayBuffer | ArrayBufferView, callback: (message: Message) => void): void {
    const bytes = ArrayBuffer.isView(buffer) ? new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength) : new Uint8Array(buffer);
    let input = bytes;
    if (this.#rest.length > 0) {
      input = new Uint8Array(this.#rest.length + bytes.length);
      input.set(this.#rest);
      input.set(bytes, this.#rest.length);
    }
    let at = 0;
    while (input.length - at >= 5) {
      const length = (input[at + 1]! << 24) | (input[at + 2]! << 16) | (input[at + 3]! << 8) | input[at + 4]!;
      const end = at + 1 + Math.max(length, 4);
      if (end > input.length) {
        break;
      }
      for (const message of this.#parser.parse(input.subarray(at, end))) {
        const shape = shapeOf(message, length);
        if (shape !== undefined) {
          callback(shape);
        }
      }
      at = end;
    }
    this.#rest = input.slice(at);
  }
}

type Bindable = string | ArrayBuffer | ArrayBufferView | null;

const bindable = (value: Bindable): BindValue =>
  value === null || typeof value === 'string'
    ? value
    : ArrayBuffer.isView(value)
      ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
      : new Uint8Array(value);

/** PGlite's way to say messages of the client; each gives the bytes, which the caller owns. */
export const serialize = {
  startup: (options: Record<string, string>) => write.startup({ ...options, client_encoding: 'UTF8' }),
  requestSsl: () => write.sslRequest(),
  password: (password: string) => write.password(password),
  query: (text: string) => write.query(text),
  parse: ({ name = '', text, types = [] }: { name?: string; text: string; types?: number[] }) => write.parse(name, text, types),
  bind: ({
    portal = '',
    statement = '',
    binary = false,
    values = [],
    valueMapper,
  }: {
    portal?: string;
    statement?: string;
    binary?: boolean;
    values?: any[];
    valueMapper?: (param: any, index: number) => Bindable;
  } = {}) =>
    write.bind(portal, statement, values.map((value, i) => bindable(valueMapper ? valueMapper(value, i) : value)), {
      resultFormats: binary ? [1] : [],
    }),
  execute: ({ portal = '', rows = 0 }: { portal?: string; rows?: number } = {}) => write.execute(portal, rows),
  describe: ({ type, name = '' }: { type: 'P' | 'S'; name?: string }) => write.describe(type === 'S' ? 'statement' : 'portal', name),
  close: ({ type, name = '' }: { type: 'P' | 'S'; name?: string }) => write.close(type === 'S' ? 'statement' : 'portal', name),
  flush: () => write.flush(),
  sync: () => write.sync(),
  end: () => write.terminate(),
  copyData: (chunk: ArrayBuffer | ArrayBufferView) => write.copyData(bindable(chunk) as Uint8Array),
  copyDone: () => write.copyDone(),
  copyFail: (message: string) => write.copyFail(message),
  cancel: (processID: number, secretKey: number) => {
    const key = new Uint8Array(4);
    new DataView(key.buffer).setInt32(0, secretKey);
    return write.cancelRequest(processID, key);
  },
};

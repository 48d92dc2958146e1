/**
 * PostgreSQL's answer as results. Rows are made straight from its bytes; the other messages go through the protocol's parser.
 *
 * Nothing of the bytes is kept.
 */
import { DatabaseError } from './errors.ts';
import type { QueryOptions, Results } from './interface.ts';
import { NoticeMessage } from './messages.ts';
import { BackendParser, ProtocolError } from './protocol-backend.ts';
import type { Field } from './protocol-backend.ts';
import { hexDigit, types } from './types.ts';
import type { Parser } from './types.ts';

/** Where a TextDecoder begins to be worth its price, in bytes. */
const SHORT_TEXT = 24;

const decoder = new TextDecoder();
const AFFECTING = new Set(['INSERT', 'UPDATE', 'DELETE', 'MERGE', 'COPY']);

type Decode = (bytes: Uint8Array, start: number, end: number) => any;

interface Column {
  readonly name: string;
  readonly decode: Decode;
}

interface Notification {
  readonly channel: string;
  readonly payload: string;
}

/** What a number of messages say. */
export interface Answer {
  /** One for each statement. */
  readonly results: Results[];
  /** The first one. */
  error: DatabaseError | undefined;
  /** Of the parameters, when a statement was described. */
  parameterTypes: readonly number[] | undefined;
  /** Of the result, when one was described. */
  fields: readonly Field[] | undefined;
  readonly notifications: Notification[];
  /** Whether PostgreSQL said that it waits for the next command. */
  isReady: boolean;
  /** Whether PostgreSQL has more rows than it was asked for. */
  isSuspended: boolean;
}

export interface ReadOptions {
  readonly rowMode?: QueryOptions['rowMode'];
  readonly onNotice?: QueryOptions['onNotice'];
  /** The parser for a type; undefined: its text. */
  readonly parserOf: (typeId: number) => Parser | undefined;
}

export function newAnswer(): Answer {
  return { results: [], error: undefined, parameterTypes: undefined, fields: undefined, notifications: [], isReady: false, isSuspended: false };
}

/**
 * Reads complete messages.
 *
 * @param answer what was read before of the same command; added to
 * @throws ProtocolError, or what a parser or `onNotice` throws
 */
export function readAnswer(bytes: Uint8Array, options: ReadOptions, answer: Answer): Answer {
  const isArray = options.rowMode === 'array';
  const parser = new BackendParser();
  let affectedRows = answer.results.at(-1)?.affectedRows ?? 0;
  let columns: readonly Column[] = answer.fields ? columnsOf(answer.fields, options) : [];
  let fields = resultFields(answer.fields);
  let rows: any[] = [];
  let at = 0;

  const finish = (tag: string | undefined) => {
    let result: Results;
    if (tag === undefined) {
      result = { affectedRows, rows, fields };
    } else {
      const end = tag.indexOf(' ');
      const command = end < 0 ? tag : tag.slice(0, end);
      const count = end < 0 ? undefined : /\d+$/.exec(tag)?.[0];
      if (count !== undefined && AFFECTING.has(command)) {
        affectedRows += +count;
      }
      result = { rows, fields, command, affectedRows };
      if (count !== undefined) {
        result.rowCount = +count;
      }
    }
    answer.results.push(result);
    rows = [];
    fields = [];
    columns = [];
  };

  while (at < bytes.length) {
    if (at + 5 > bytes.length) {
      throw new ProtocolError('an answer ends within a message');
    }
    const type = bytes[at]!;
    const end = at + 1 + i32(bytes, at + 1);
    if (end < at + 5 || end > bytes.length) {
      throw new ProtocolError('an answer ends within a message');
    }
    if (type === 0x44 /* D */) {
      rows.push(isArray ? readArray(bytes, at + 5, end, columns) : readObject(bytes, at + 5, end, columns));
      at = end;
      continue;
    }
    if (type === 0x64 /* d: of COPY … TO STDOUT, which nobody asked for */) {
      at = end;
      continue;
    }
    for (const message of parser.parse(bytes.subarray(at, end))) {
      switch (message.type) {
        case 'rowDescription':
          answer.fields = message.fields;
          columns = columnsOf(message.fields, options);
          fields = resultFields(message.fields);
          break;
        case 'commandComplete':
          finish(message.tag);
          break;
        case 'emptyQueryResponse':
          finish(undefined);
          break;
        case 'portalSuspended':
          answer.isSuspended = true;
          finish(undefined);
          break;
        case 'readyForQuery':
          answer.isReady = true;
          break;
        case 'parameterDescription':
          answer.parameterTypes = message.typeOids;
          break;
        case 'noticeResponse':
          options.onNotice?.(new NoticeMessage(end - at - 1, message.fields));
          break;
        case 'notificationResponse':
          answer.notifications.push({ channel: message.channel, payload: message.payload });
          break;
        case 'errorResponse':
          answer.error ??= new DatabaseError(message.fields.message ?? '', end - at - 1, message.fields);
          break;
        default:
          break;
      }
    }
    at = end;
  }
  return answer;
}

function resultFields(fields: readonly Field[] | undefined): Results['fields'] {
  return fields === undefined ? [] : fields.map(({ name, typeOid }) => ({ name, dataTypeID: typeOid }));
}

function columnsOf(fields: readonly Field[], { parserOf }: ReadOptions): Column[] {
  return fields.map(({ name, typeOid }) => ({ name, decode: decoderFor(parserOf(typeOid), typeOid) }));
}

/** The common conversions without a detour through text. */
function decoderFor(parser: Parser | undefined, typeId: number): Decode {
  switch (parser) {
    case undefined:
    case types.string.parse:
      return decodeText;
    case types.number.parse:
      return decodeNumber;
    case types.boolean.parse:
      return (bytes, start) => bytes[start] === 0x74;
    case types.bytea.parse:
      return decodeBytea;
    default:
      return (bytes, start, end) => parser!(decodeText(bytes, start, end), typeId);
  }
}

function readObject(bytes: Uint8Array, at: number, end: number, columns: readonly Column[]): object {
  const row: Record<string, unknown> = {};
  let next = at + 2;
  checkCount(bytes, at, end, columns);
  for (const { name, decode } of columns) {
    const size = sizeAt(bytes, next, end);
    next += 4;
    const value = size < 0 ? null : decode(bytes, next, (next += size));
    if (name === '__proto__') {
      Object.defineProperty(row, name, { value, enumerable: true, configurable: true, writable: true });
    } else {
      row[name] = value;
    }
  }
  return row;
}

function readArray(bytes: Uint8Array, at: number, end: number, columns: readonly Column[]): unknown[] {
  const row: unknown[] = [];
  let next = at + 2;
  checkCount(bytes, at, end, columns);
  for (const { decode } of columns) {
    const size = sizeAt(bytes, next, end);
    next += 4;
    row.push(size < 0 ? null : decode(bytes, next, (next += size)));
  }
  return row;
}

function checkCount(bytes: Uint8Array, at: number, end: number, columns: readonly Column[]): void {
  if (at + 2 > end || ((bytes[at]! << 8) | bytes[at + 1]!) !== columns.length) {
    throw new ProtocolError('a row has not the columns that were described');
  }
}

function sizeAt(bytes: Uint8Array, at: number, end: number): number {
  const size = at + 4 > end ? -2 : i32(bytes, at);
  if (size < -1 || size > end - at - 4) {
    throw new ProtocolError('a row is shorter than its values');
  }
  return size;
}

function i32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > SHORT_TEXT) {
    return decoder.decode(bytes.subarray(start, end));
  }
  let text = '';
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte >= 0x80) {
      return decoder.decode(bytes.subarray(start, end));
    }
    text += String.fromCharCode(byte);
  }
  return text;
}

function decodeNumber(bytes: Uint8Array, start: number, end: number): number {
  if (end - start > 15) {
    return +decodeText(bytes, start, end);
  }
  const isNegative = bytes[start] === 0x2d;
  let number = 0;
  for (let at = isNegative ? start + 1 : start; at < end; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) {
      return +decodeText(bytes, start, end);
    }
    number = number * 10 + digit;
  }
  return isNegative ? -number : number;
}

function decodeBytea(bytes: Uint8Array, start: number, end: number): Uint8Array {
  if (bytes[start] !== 0x5c || bytes[start + 1] !== 0x78) {
    return types.bytea.parse(decodeText(bytes, start, end));
  }
  const value = new Uint8Array((end - start - 2) >> 1);
  for (let i = 0, at = start + 2; i < value.length; i++, at += 2) {
    value[i] = (hexDigit(bytes[at]!) << 4) | hexDigit(bytes[at + 1]!);
  }
  return value;
}

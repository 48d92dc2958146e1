/**
 * What PostgreSQL sends (protocol 3.0 to 3.2): types of the messages and a parser for the stream of them.
 *
 * Binary contents (values, copied data) are views into the bytes that were parsed wherever a message lies in one chunk: a message keeps
 * its chunk alive, and who hands in chunks must not write to them afterwards.
 */

/** A column of a result. */
export interface Field {
  readonly name: string;
  /** 0 when the column is not a table's. */
  readonly tableOid: number;
  /** Attribute number in that table, from 1; 0 when the column is not a table's. */
  readonly columnNumber: number;
  readonly typeOid: number;
  /** Bytes; -1 for a type of variable length, -2 for a zero-terminated string. */
  readonly typeSize: number;
  /** -1 when the type has none. */
  readonly typeModifier: number;
  readonly format: 'text' | 'binary';
}

/** The fields of an error or a notice, by their names in PostgreSQL's documentation; undefined where the server sent none. */
export interface NoticeFields {
  /** In the session's language; `severityCode` is the one to compare. */
  readonly severity: string | undefined;
  /** ERROR, FATAL, PANIC, WARNING, NOTICE, DEBUG, INFO or LOG. */
  readonly severityCode: string | undefined;
  /** SQLSTATE: five characters. */
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** Where in the query, in characters from 1; a decimal number. */
  readonly position: string | undefined;
  readonly internalPosition: string | undefined;
  readonly internalQuery: string | undefined;
  /** The call stack of PL/pgSQL and the like. */
  readonly where: string | undefined;
  readonly schema: string | undefined;
  readonly table: string | undefined;
  readonly column: string | undefined;
  readonly dataType: string | undefined;
  readonly constraint: string | undefined;
  readonly file: string | undefined;
  readonly line: string | undefined;
  readonly routine: string | undefined;
  /** Fields of letters that were added to the protocol later. */
  readonly other: ReadonlyMap<string, string>;
}

export interface CopyResponse {
  readonly format: 'text' | 'binary';
  readonly columnFormats: readonly ('text' | 'binary')[];
}

/** A message for each of the names in `T`: so that a name picks exactly one of them. */
type Message<T extends string, Contents = unknown> = T extends string ? { readonly type: T } & Contents : never;

export type AuthenticationMessage = Message<'authentication'> &
  (
    | { readonly method: 'ok' | 'kerberosV5' | 'cleartextPassword' | 'gss' | 'sspi' }
    | { readonly method: 'md5Password'; readonly salt: Uint8Array }
    | { readonly method: 'sasl'; readonly mechanisms: readonly string[] }
    | { readonly method: 'gssContinue' | 'saslContinue' | 'saslFinal'; readonly data: Uint8Array }
  );

export type BackendMessage =
  | AuthenticationMessage
  | Message<'backendKeyData', { readonly processId: number; readonly secretKey: Uint8Array }>
  | Message<'bindComplete' | 'closeComplete' | 'copyDone' | 'emptyQueryResponse' | 'noData' | 'parseComplete' | 'portalSuspended'>
  | Message<'commandComplete', { readonly tag: string }>
  | Message<'copyData', { readonly data: Uint8Array }>
  | Message<'copyInResponse' | 'copyOutResponse' | 'copyBothResponse', CopyResponse>
  | Message<'dataRow', { readonly values: readonly (Uint8Array | null)[] }>
  | Message<'errorResponse' | 'noticeResponse', { readonly fields: NoticeFields }>
  | Message<'functionCallResponse', { readonly value: Uint8Array | null }>
  | Message<'negotiateProtocolVersion', { readonly minorVersion: number; readonly unknownOptions: readonly string[] }>
  | Message<'notificationResponse', { readonly processId: number; readonly channel: string; readonly payload: string }>
  | Message<'parameterDescription', { readonly typeOids: readonly number[] }>
  | Message<'parameterStatus', { readonly name: string; readonly value: string }>
  | Message<'readyForQuery', { readonly transaction: 'idle' | 'block' | 'failed' }>
  | Message<'rowDescription', { readonly fields: readonly Field[] }>;

export type BackendMessageType = BackendMessage['type'];
/** The message of a name. */
export type MessageOf<T extends BackendMessageType> = Extract<BackendMessage, { readonly type: T }>;

/** The bytes are not PostgreSQL's protocol. The parser is of no use any more until it is reset. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

const HEADER_SIZE = 5;
/** No backend sends more (PostgreSQL's MaxAllocSize, and the length itself). */
const MAX_LENGTH = 0x3fffffff + 4;
/** Other types than these are short, as libpq assumes (VALID_LONG_MESSAGE_TYPE): a longer one means that the stream is out of step. */
const LONG_TYPES = 'TDdVENA';
const MAX_SHORT_LENGTH = 30000;

const decoder = new TextDecoder();
const EMPTY = new Uint8Array(0);

/** Takes the stream in chunks of any size, gives messages. */
export class BackendParser {
  /** A message that has begun: chunks as they came, bytes in them, bytes the message needs (header included; 0 while that is unknown). */
  #parts: Uint8Array[] = [];
  #have = 0;
  #need = 0;

  /**
   * Parses the next chunk of the stream.
   *
   * @param chunk retained by what is made from it
   * @param messages where the messages that are complete now are added
   * @returns messages
   * @throws ProtocolError; messages before the bad one have been added
   */
  parse(chunk: Uint8Array, messages: BackendMessage[] = []): BackendMessage[] {
    let at = 0;
    while (this.#have > 0 && at < chunk.length) {
      at = this.#continue(chunk, at, messages);
    }
    while (chunk.length - at >= HEADER_SIZE) {
      const end = at + messageSize(chunk, at);
      if (end > chunk.length) {
        break;
      }
      messages.push(parseMessage(chunk[at]!, new Reader(chunk, at + HEADER_SIZE, end)));
      at = end;
    }
    if (at < chunk.length) {
      this.#parts.push(chunk.subarray(at));
      this.#have = chunk.length - at;
      this.#need = this.#have >= HEADER_SIZE ? messageSize(chunk, at) : 0;
    }
    return messages;
  }

  /** Whether the last chunk ended within a message. */
  get isWithinMessage(): boolean {
    return this.#have > 0;
  }

  /** Forgets a message that has begun. */
  reset(): void {
    this.#parts = [];
    this.#have = 0;
    this.#need = 0;
  }

  /** Adds to the message that has begun, no more than it needs. The offset behind what was taken. */
  #continue(chunk: Uint8Array, at: number, messages: BackendMessage[]): number {
    const wanted = (this.#need || HEADER_SIZE) - this.#have;
    const end = Math.min(at + wanted, chunk.length);
    this.#parts.push(chunk.subarray(at, end));
    this.#have += end - at;
    if (this.#need === 0 && this.#have === HEADER_SIZE) {
      const header = concat(this.#parts, HEADER_SIZE);
      this.#parts = [header];
      this.#need = messageSize(header, 0);
    }
    if (this.#need !== 0 && this.#have === this.#need) {
      const message = this.#parts.length === 1 ? this.#parts[0]! : concat(this.#parts, this.#have);
      this.reset();
      messages.push(parseMessage(message[0]!, new Reader(message, HEADER_SIZE, message.length)));
    }
    return end;
  }
}

/** Puts chunks together; a single one is not copied. `size`: bytes in all of them, when known. */
export function concat(chunks: readonly Uint8Array[], size = chunks.reduce((sum, chunk) => sum + chunk.length, 0)): Uint8Array {
  if (chunks.length <= 1) {
    return chunks[0] ?? EMPTY;
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

/** Bytes of the message whose header is at `at`, the header included. */
function messageSize(bytes: Uint8Array, at: number): number {
  const type = bytes[at]!;
  const length = (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!;
  const isLong = LONG_TYPES.includes(String.fromCharCode(type));
  if (length < 4 || length > (isLong ? MAX_LENGTH : MAX_SHORT_LENGTH)) {
    throw new ProtocolError(`a message of type ${printable(type)} can't be ${length} bytes long`);
  }
  return length + 1;
}

function printable(byte: number): string {
  return byte > 0x20 && byte < 0x7f ? `'${String.fromCharCode(byte)}'` : String(byte);
}

/** Reads one message's contents; every read is checked against its end. */
class Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  #take(size: number): number {
    const at = this.#at;
    if (size > this.#end - at) {
      throw new ProtocolError('a message is shorter than its contents');
    }
    this.#at = at + size;
    return at;
  }

  u8(): number {
    return this.#bytes[this.#take(1)]!;
  }

  u16(): number {
    const at = this.#take(2);
    return (this.#bytes[at]! << 8) | this.#bytes[at + 1]!;
  }

  i16(): number {
    return (this.u16() << 16) >> 16;
  }

  i32(): number {
    const at = this.#take(4);
    const bytes = this.#bytes;
    return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
  }

  u32(): number {
    return this.i32() >>> 0;
  }

  bytes(size: number): Uint8Array {
    const at = this.#take(size);
    return this.#bytes.subarray(at, at + size);
  }

  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  /** A length and that many bytes; -1 stands for NULL. */
  value(): Uint8Array | null {
    const size = this.i32();
    if (size < -1) {
      throw new ProtocolError(`a value can't be ${size} bytes long`);
    }
    return size === -1 ? null : this.bytes(size);
  }

  /** A zero-terminated string. */
  string(): string {
    const start = this.#at;
    const end = this.#bytes.indexOf(0, start);
    if (end < 0 || end >= this.#end) {
      throw new ProtocolError('a string in a message is not terminated');
    }
    this.#at = end + 1;
    return decodeText(this.#bytes, start, end);
  }

  format(): 'text' | 'binary' {
    return formatName(this.u16());
  }

  finish(): void {
    if (this.left !== 0) {
      throw new ProtocolError('a message is longer than its contents');
    }
  }
}

/** TextDecoder costs more than a short string is worth. */
function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start > 32) {
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

function formatName(code: number): 'text' | 'binary' {
  if (code > 1) {
    throw new ProtocolError(`there is no format ${code}`);
  }
  return code === 1 ? 'binary' : 'text';
}

function parseMessage(type: number, reader: Reader): BackendMessage {
  const parse = PARSERS[type];
  if (parse === undefined) {
    throw new ProtocolError(`there is no message of type ${printable(type)}`);
  }
  const message = parse(reader);
  reader.finish();
  return message;
}

const BIND_COMPLETE: BackendMessage = Object.freeze({ type: 'bindComplete' });
const CLOSE_COMPLETE: BackendMessage = Object.freeze({ type: 'closeComplete' });
const PARSE_COMPLETE: BackendMessage = Object.freeze({ type: 'parseComplete' });
const COPY_DONE: BackendMessage = Object.freeze({ type: 'copyDone' });
const EMPTY_QUERY: BackendMessage = Object.freeze({ type: 'emptyQueryResponse' });
const NO_DATA: BackendMessage = Object.freeze({ type: 'noData' });
const PORTAL_SUSPENDED: BackendMessage = Object.freeze({ type: 'portalSuspended' });

const PARSERS: (((reader: Reader) => BackendMessage) | undefined)[] = [];
const define = (type: string, parse: (reader: Reader) => BackendMessage) => {
  PARSERS[type.charCodeAt(0)] = parse;
};
define('1', () => PARSE_COMPLETE);
define('2', () => BIND_COMPLETE);
define('3', () => CLOSE_COMPLETE);
define('A', (reader) => ({
  type: 'notificationResponse',
  processId: reader.i32(),
  channel: reader.string(),
  payload: reader.string(),
}));
define('C', (reader) => ({ type: 'commandComplete', tag: reader.string() }));
define('D', (reader) => {
  const count = reader.u16();
  const values: (Uint8Array | null)[] = [];
  for (let i = 0; i < count; i++) {
    values.push(reader.value());
  }
  return { type: 'dataRow', values };
});
define('E', (reader) => ({ type: 'errorResponse', fields: parseNotice(reader) }));
define('G', (reader) => parseCopyResponse('copyInResponse', reader));
define('H', (reader) => parseCopyResponse('copyOutResponse', reader));
define('I', () => EMPTY_QUERY);
define('K', (reader) => ({ type: 'backendKeyData', processId: reader.i32(), secretKey: reader.rest() }));
define('N', (reader) => ({ type: 'noticeResponse', fields: parseNotice(reader) }));
define('R', parseAuthentication);
define('S', (reader) => ({ type: 'parameterStatus', name: reader.string(), value: reader.string() }));
define('T', (reader) => {
  const count = reader.u16();
  const fields: Field[] = [];
  for (let i = 0; i < count; i++) {
    fields.push({
      name: reader.string(),
      tableOid: reader.u32(),
      columnNumber: reader.i16(),
      typeOid: reader.u32(),
      typeSize: reader.i16(),
      typeModifier: reader.i32(),
      format: reader.format(),
    });
  }
  return { type: 'rowDescription', fields };
});
define('V', (reader) => ({ type: 'functionCallResponse', value: reader.value() }));
define('W', (reader) => parseCopyResponse('copyBothResponse', reader));
define('Z', (reader) => {
  const status = reader.u8();
  switch (status) {
    case 0x49:
      return { type: 'readyForQuery', transaction: 'idle' };
    case 0x54:
      return { type: 'readyForQuery', transaction: 'block' };
    case 0x45:
      return { type: 'readyForQuery', transaction: 'failed' };
    default:
      throw new ProtocolError(`there is no transaction status ${printable(status)}`);
  }
});
define('c', () => COPY_DONE);
define('d', (reader) => ({ type: 'copyData', data: reader.rest() }));
define('n', () => NO_DATA);
define('s', () => PORTAL_SUSPENDED);
define('t', (reader) => {
  const count = reader.u16();
  const typeOids: number[] = [];
  for (let i = 0; i < count; i++) {
    typeOids.push(reader.u32());
  }
  return { type: 'parameterDescription', typeOids };
});
define('v', (reader) => {
  const minorVersion = reader.i32();
  const count = reader.i32();
  const unknownOptions: string[] = [];
  for (let i = 0; i < count; i++) {
    unknownOptions.push(reader.string());
  }
  return { type: 'negotiateProtocolVersion', minorVersion, unknownOptions };
});

function parseCopyResponse(type: 'copyInResponse' | 'copyOutResponse' | 'copyBothResponse', reader: Reader): BackendMessage {
  const format = formatName(reader.u8());
  const count = reader.u16();
  const columnFormats: ('text' | 'binary')[] = [];
  for (let i = 0; i < count; i++) {
    columnFormats.push(reader.format());
  }
  return { type, format, columnFormats };
}

function parseAuthentication(reader: Reader): BackendMessage {
  const type = 'authentication';
  const code = reader.i32();
  switch (code) {
    case 0:
      return { type, method: 'ok' };
    case 2:
      return { type, method: 'kerberosV5' };
    case 3:
      return { type, method: 'cleartextPassword' };
    case 5:
      return { type, method: 'md5Password', salt: reader.bytes(4) };
    case 7:
      return { type, method: 'gss' };
    case 8:
      return { type, method: 'gssContinue', data: reader.rest() };
    case 9:
      return { type, method: 'sspi' };
    case 10: {
      const mechanisms: string[] = [];
      for (let name = reader.string(); name !== ''; name = reader.string()) {
        mechanisms.push(name);
      }
      return { type, method: 'sasl', mechanisms };
    }
    case 11:
      return { type, method: 'saslContinue', data: reader.rest() };
    case 12:
      return { type, method: 'saslFinal', data: reader.rest() };
    default:
      throw new ProtocolError(`there is no authentication request ${code}`);
  }
}

type NoticeText = Exclude<keyof NoticeFields, 'other'>;

const NOTICE_FIELDS: Readonly<Record<string, NoticeText>> = {
  S: 'severity',
  V: 'severityCode',
  C: 'code',
  M: 'message',
  D: 'detail',
  H: 'hint',
  P: 'position',
  p: 'internalPosition',
  q: 'internalQuery',
  W: 'where',
  s: 'schema',
  t: 'table',
  c: 'column',
  d: 'dataType',
  n: 'constraint',
  F: 'file',
  L: 'line',
  R: 'routine',
};

function parseNotice(reader: Reader): NoticeFields {
  const other = new Map<string, string>();
  const fields: { -readonly [name in NoticeText]: string | undefined } = {
    severity: undefined,
    severityCode: undefined,
    code: undefined,
    message: undefined,
    detail: undefined,
    hint: undefined,
    position: undefined,
    internalPosition: undefined,
    internalQuery: undefined,
    where: undefined,
    schema: undefined,
    table: undefined,
    column: undefined,
    dataType: undefined,
    constraint: undefined,
    file: undefined,
    line: undefined,
    routine: undefined,
  };
  for (let byte = reader.u8(); byte !== 0; byte = reader.u8()) {
    const letter = String.fromCharCode(byte);
    const name = NOTICE_FIELDS[letter];
    if (name === undefined) {
      other.set(letter, reader.string());
    } else {
      fields[name] = reader.string();
    }
  }
  return { ...fields, other };
}

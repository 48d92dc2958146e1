/**
 * What a client sends (protocol 3.0 to 3.2).
 *
 *     const batch = new MessageWriter().parse('', 'select $1::int').bind('', '', ['1']).execute('').sync().take();
 *     const one = serialize.query('select 1');
 */

const PROTOCOL_3_0 = 3 << 16;
const SSL_REQUEST = (1234 << 16) | 5679;
const GSSENC_REQUEST = (1234 << 16) | 5680;
const CANCEL_REQUEST = (1234 << 16) | 5678;

/** A parameter: text, or binary in the type's own format, or NULL. */
export type BindValue = string | Uint8Array | null;

export interface BindOptions {
  /**
   * Formats of the parameters: none (strings are text, bytes are binary), one for all of them, or one for each; 0 text, 1 binary.
   */
  readonly parameterFormats?: readonly (0 | 1)[];
  /** Formats of the result's columns: none (all text), one for all, or one for each; 0 text, 1 binary. */
  readonly resultFormats?: readonly (0 | 1)[];
}

/** Whom `describe` and `close` mean. */
export type Target = 'statement' | 'portal';

const INITIAL_SIZE = 1024;
/** A buffer that a big message has grown beyond this is not kept. */
const MAX_KEPT_SIZE = 1 << 20;
/** PostgreSQL takes no message longer than this (PQ_LARGE_MESSAGE_LIMIT). */
const MAX_LENGTH = 0x3ffffffe;
const MAX_COUNT = 0xffff;

const encoder = new TextEncoder();

/**
 * Puts messages one behind the other. Every method but `take` returns the writer. Text is sent as UTF-8.
 *
 * All throw RangeError for a message longer than PostgreSQL takes (1 GiB) or a list of more than 65,535 elements, and TypeError for a
 * string that must be zero-terminated and contains a zero; the writer then has what it had before the message.
 */
export class MessageWriter {
  #bytes = new Uint8Array(INITIAL_SIZE);
  #at = 0;

  /**
   * The first message of a session.
   *
   * @param parameters `user`, `database`, `application_name`, any setting; without `user` PostgreSQL refuses
   * @param minor protocol 3.minor; 3.0 unless told otherwise
   */
  startup(parameters: Readonly<Record<string, string>>, minor = 0): this {
    return this.#untyped(PROTOCOL_3_0 | minor, () => {
      for (const [name, value] of Object.entries(parameters)) {
        this.#string(name);
        this.#string(value);
      }
      this.#u8(0);
    });
  }

  /** Asks for TLS, before the start-up packet; the answer is one byte. */
  sslRequest(): this {
    return this.#untyped(SSL_REQUEST, () => {});
  }

  /** Asks for GSSAPI encryption, before the start-up packet; the answer is one byte. */
  gssEncRequest(): this {
    return this.#untyped(GSSENC_REQUEST, () => {});
  }

  /** Instead of a start-up packet, on a connection of its own; there is no answer. */
  cancelRequest(processId: number, secretKey: Uint8Array): this {
    return this.#untyped(CANCEL_REQUEST, () => {
      this.#i32(processId);
      this.#raw(secretKey);
    });
  }

  /** Answer to a request for a password, also to that for an MD5 one (then `password` is the hash). */
  password(password: string): this {
    return this.#message('p', () => this.#string(password));
  }

  /** One or more statements. */
  query(text: string): this {
    return this.#message('Q', () => this.#string(text));
  }

  /**
   * @param name '' is the unnamed statement
   * @param parameterTypes their OIDs; 0, or a shorter list: PostgreSQL finds out
   */
  parse(name: string, text: string, parameterTypes: readonly number[] = []): this {
    return this.#message('P', () => {
      this.#string(name);
      this.#string(text);
      this.#count(parameterTypes.length);
      for (const oid of parameterTypes) {
        this.#i32(oid);
      }
    });
  }

  /** @param portal '' is the unnamed portal; @param statement '' is the unnamed statement */
  bind(portal: string, statement: string, values: readonly BindValue[] = [], options: BindOptions = {}): this {
    const { parameterFormats = defaultFormats(values), resultFormats = [] } = options;
    return this.#message('B', () => {
      this.#string(portal);
      this.#string(statement);
      this.#formats(parameterFormats);
      this.#count(values.length);
      for (const value of values) {
        if (value === null) {
          this.#i32(-1);
        } else if (typeof value === 'string') {
          const at = this.#at;
          this.#i32(0);
          this.#text(value);
          this.#length(at, this.#at - at - 4);
        } else {
          this.#i32(value.length);
          this.#raw(value);
        }
      }
      this.#formats(resultFormats);
    });
  }

  /** @param name '' is the unnamed one */
  describe(target: Target, name = ''): this {
    return this.#targeted('D', target, name);
  }

  /** @param maxRows 0: all of them */
  execute(portal = '', maxRows = 0): this {
    return this.#message('E', () => {
      this.#string(portal);
      this.#i32(maxRows);
    });
  }

  /** @param name '' is the unnamed one */
  close(target: Target, name = ''): this {
    return this.#targeted('C', target, name);
  }

  /** Ends a batch; the answer is ReadyForQuery. */
  sync(): this {
    return this.#message('S', () => {});
  }

  /** Asks for what is owed without ending the batch. */
  flush(): this {
    return this.#message('H', () => {});
  }

  copyData(data: Uint8Array): this {
    return this.#message('d', () => this.#raw(data));
  }

  copyDone(): this {
    return this.#message('c', () => {});
  }

  /** Ends COPY with an error of the given text. */
  copyFail(reason: string): this {
    return this.#message('f', () => this.#string(reason));
  }

  /** Ends the session. */
  terminate(): this {
    return this.#message('X', () => {});
  }

  /** The messages as bytes of their own; the writer is empty afterwards and can be used again. */
  take(): Uint8Array {
    const bytes = this.#bytes.slice(0, this.#at);
    if (this.#bytes.length > MAX_KEPT_SIZE) {
      this.#bytes = new Uint8Array(INITIAL_SIZE);
    }
    this.#at = 0;
    return bytes;
  }

  #message(type: string, contents: () => void): this {
    return this.#framed(() => {
      this.#u8(type.charCodeAt(0));
      return this.#at;
    }, contents);
  }

  #untyped(code: number, contents: () => void): this {
    return this.#framed(
      () => this.#at,
      () => {
        this.#i32(code);
        contents();
      },
    );
  }

  #targeted(type: string, target: Target, name: string): this {
    return this.#message(type, () => {
      this.#u8(target === 'statement' ? 0x53 : 0x50);
      this.#string(name);
    });
  }

  #framed(header: () => number, contents: () => void): this {
    const before = this.#at;
    try {
      const start = header();
      this.#i32(0);
      contents();
      this.#length(start, this.#at - start);
    } catch (error) {
      this.#at = before;
      throw error;
    }
    return this;
  }

  #formats(formats: readonly (0 | 1)[]): void {
    this.#count(formats.length);
    for (const format of formats) {
      this.#u16(format);
    }
  }

  #reserve(size: number): void {
    const needed = this.#at + size;
    if (needed > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      bytes.set(this.#bytes.subarray(0, this.#at));
      this.#bytes = bytes;
    }
  }

  #u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#at++] = value;
  }

  #u16(value: number): void {
    this.#reserve(2);
    this.#bytes[this.#at++] = value >> 8;
    this.#bytes[this.#at++] = value;
  }

  #i32(value: number): void {
    this.#reserve(4);
    this.#at += 4;
    this.#store(this.#at - 4, value);
  }

  /** The length that was left open at `at`. */
  #length(at: number, length: number): void {
    if (length > MAX_LENGTH) {
      throw new RangeError('a message of more than 1 GiB');
    }
    this.#store(at, length);
  }

  #store(at: number, value: number): void {
    this.#bytes[at] = value >> 24;
    this.#bytes[at + 1] = value >> 16;
    this.#bytes[at + 2] = value >> 8;
    this.#bytes[at + 3] = value;
  }

  #count(count: number): void {
    if (count > MAX_COUNT) {
      throw new RangeError(`a list of ${count} elements; the protocol takes ${MAX_COUNT}`);
    }
    this.#u16(count);
  }

  #raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  #text(text: string): void {
    if (text.length > MAX_KEPT_SIZE) {
      this.#raw(encoder.encode(text));
    } else {
      this.#reserve(text.length * 3); // the most that UTF-8 makes of UTF-16
      this.#at += encoder.encodeInto(text, this.#bytes.subarray(this.#at)).written;
    }
  }

  #string(text: string): void {
    if (text.includes('\0')) {
      throw new TypeError('a string with a zero character, which PostgreSQL does not take');
    }
    this.#text(text);
    this.#u8(0);
  }
}

function defaultFormats(values: readonly BindValue[]): (0 | 1)[] {
  return values.some((value) => typeof value === 'object' && value !== null) ? values.map((value) => (typeof value === 'object' ? 1 : 0)) : [];
}

type Methods = Omit<MessageWriter, 'take'>;

const shared = new MessageWriter();

/** One message: the methods of `MessageWriter`, each giving the message's bytes, which the caller owns. */
export const serialize = Object.fromEntries(
  (Object.getOwnPropertyNames(MessageWriter.prototype) as (keyof MessageWriter)[])
    .filter((name) => name !== 'take' && (name as string) !== 'constructor')
    .map((name) => [name, (...args: never[]) => (shared[name] as (...args: never[]) => MessageWriter)(...args).take()]),
) as { readonly [name in keyof Methods]: (...args: Parameters<Methods[name]>) => Uint8Array };

/**
 * PostgreSQL's types as JavaScript values, as PGlite converts them: every value crosses as PostgreSQL's text.
 *
 * bool: boolean. int2, int4, oid, float4, float8: number. int8: number, or bigint beyond 2^53. json, jsonb: parsed. bytea: Uint8Array.
 * date: Date at midnight UTC. timestamp: Date in the local time zone. timestamptz: Date. Infinite dates: Infinity, -Infinity.
 * Arrays: arrays. Everything else, numeric and interval too: the text.
 */

/** Makes a value of PostgreSQL's text for it. */
export type Parser = (x: string, typeId?: number) => any;
/** Makes PostgreSQL's text of a value. */
export type Serializer = (x: any) => string;

export const BOOL = 16;
export const BYTEA = 17;
export const CHAR = 18;
export const INT8 = 20;
export const INT2 = 21;
export const INT4 = 23;
export const REGPROC = 24;
export const TEXT = 25;
export const OID = 26;
export const TID = 27;
export const XID = 28;
export const CID = 29;
export const JSON = 114;
export const XML = 142;
export const PG_NODE_TREE = 194;
export const SMGR = 210;
export const PATH = 602;
export const POLYGON = 604;
export const CIDR = 650;
export const FLOAT4 = 700;
export const FLOAT8 = 701;
export const ABSTIME = 702;
export const RELTIME = 703;
export const TINTERVAL = 704;
export const CIRCLE = 718;
export const MACADDR8 = 774;
export const MONEY = 790;
export const MACADDR = 829;
export const INET = 869;
export const ACLITEM = 1033;
export const BPCHAR = 1042;
export const VARCHAR = 1043;
export const DATE = 1082;
export const TIME = 1083;
export const TIMESTAMP = 1114;
export const TIMESTAMPTZ = 1184;
export const INTERVAL = 1186;
export const TIMETZ = 1266;
export const BIT = 1560;
export const VARBIT = 1562;
export const NUMERIC = 1700;
export const REFCURSOR = 1790;
export const REGPROCEDURE = 2202;
export const REGOPER = 2203;
export const REGOPERATOR = 2204;
export const REGCLASS = 2205;
export const REGTYPE = 2206;
export const UUID = 2950;
export const TXID_SNAPSHOT = 2970;
export const PG_LSN = 3220;
export const PG_NDISTINCT = 3361;
export const PG_DEPENDENCIES = 3402;
export const TSVECTOR = 3614;
export const TSQUERY = 3615;
export const GTSVECTOR = 3642;
export const REGCONFIG = 3734;
export const REGDICTIONARY = 3769;
export const JSONB = 3802;
export const REGNAMESPACE = 4089;
export const REGROLE = 4096;

/** The only array type whose elements are not separated by commas. */
const BOX_ARRAY = 1020;

const { parse: parseJson, stringify } = globalThis.JSON;

const TRUE_WORDS = new Set(['t', 'tr', 'tru', 'true', 'y', 'ye', 'yes', 'on', '1']);
const FALSE_WORDS = new Set(['f', 'fa', 'fal', 'fals', 'false', 'n', 'no', 'of', 'off', '0']);

const serializeText: Serializer = (x) => (x instanceof Date ? x.toISOString() : String(x));
const serializeNumber: Serializer = (x) => String(x);
const parseText: Parser = (x) => x;
const parseNumber: Parser = (x) => +x;
const parseBoolean: Parser = (x) => x === 't';

const parseBigint: Parser = (x) => {
  const number = +x;
  return Number.isSafeInteger(number) ? number : BigInt(x);
};

const serializeJson: Serializer = (x) => {
  if (typeof x === 'string') {
    return x;
  }
  const text: string | undefined = stringify(x, (_key, value: unknown) => (typeof value === 'bigint' ? value.toString() : value));
  if (text === undefined) {
    throw new TypeError(`Invalid input for json type: a ${typeof x}`);
  }
  return text;
};

const serializeBoolean: Serializer = (x) => {
  const word = typeof x === 'string' ? x.toLowerCase() : x;
  if (word === true || word === 1 || TRUE_WORDS.has(word)) {
    return 't';
  }
  if (word === false || word === 0 || FALSE_WORDS.has(word)) {
    return 'f';
  }
  throw new Error('Invalid input for boolean type');
};

/** ISO 8601, with PostgreSQL's idea of years that don't have four digits. */
function formatDate(date: Date): string {
  const text = date.toISOString(); // RangeError for an invalid date
  if (text[0] === '+') {
    return text.slice(1).replace(/^0+/, '');
  }
  if (text[0] === '-' || text.startsWith('0000')) {
    const year = 1 - date.getUTCFullYear();
    return `${String(year).padStart(4, '0')}${text.slice(text.indexOf('-', 1))} BC`;
  }
  return text;
}

const serializeDate: Serializer = (x) => {
  if (typeof x === 'string') {
    return x;
  }
  if (typeof x === 'number') {
    return x === Infinity ? 'infinity' : x === -Infinity ? '-infinity' : formatDate(new Date(x));
  }
  if (x instanceof Date) {
    return formatDate(x);
  }
  throw new Error('Invalid input for date type');
};

const DATE_PATTERN =
  /^(\d{4,})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::?(\d\d)(?::(\d\d))?)?)?)?( BC)?$/;

/** Not through Date's own parser: engines differ in what that takes. Other settings of DateStyle are left to it. */
const parseDate: Parser = (x) => {
  const match = DATE_PATTERN.exec(x);
  if (match === null) {
    return x === 'infinity' ? Infinity : x === '-infinity' ? -Infinity : new Date(x);
  }
  const [, year, month, day, hour, minute, second, fraction, sign, zoneHour, zoneMinute, zoneSecond, isBc] = match;
  const years = isBc === undefined ? +year! : 1 - +year!;
  const ms = fraction === undefined ? 0 : Math.floor(+fraction.padEnd(6, '0') / 1000);
  const date = new Date(0);
  if (hour === undefined || sign !== undefined) {
    date.setUTCFullYear(years, +month! - 1, +day!);
    date.setUTCHours(+(hour ?? 0), +(minute ?? 0), +(second ?? 0), ms);
    if (sign !== undefined) {
      const zone = (+zoneHour! * 60 + +(zoneMinute ?? 0)) * 60 + +(zoneSecond ?? 0);
      date.setTime(date.getTime() - (sign === '-' ? -zone : zone) * 1000);
    }
  } else {
    date.setFullYear(years, +month! - 1, +day!);
    date.setHours(+hour, +minute!, +second!, ms);
  }
  return date;
};

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Bytes of what counts as such; undefined for anything else. */
export function bytesOf(x: unknown): Uint8Array | undefined {
  if (x instanceof Uint8Array) {
    return x;
  }
  if (ArrayBuffer.isView(x)) {
    return new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
  }
  return x instanceof ArrayBuffer ? new Uint8Array(x) : undefined;
}

const serializeBytea: Serializer = (x) => {
  const bytes = bytesOf(x);
  if (bytes === undefined) {
    throw new Error('Invalid input for bytea type');
  }
  let text = '\\x';
  for (const byte of bytes) {
    text += HEX[byte];
  }
  return text;
};

const parseBytea: Parser = (x) => {
  if (x.startsWith('\\x')) {
    const bytes = new Uint8Array((x.length - 2) >> 1);
    for (let i = 0; i < bytes.length; i++) {
      bytes[i] = (hexDigit(x.charCodeAt(2 * i + 2)) << 4) | hexDigit(x.charCodeAt(2 * i + 3));
    }
    return bytes;
  }
  // bytea_output = escape: every byte is a character, a backslash and another one, or a backslash and three octal digits
  const bytes: number[] = [];
  for (let i = 0; i < x.length; i++) {
    if (x[i] !== '\\') {
      bytes.push(x.charCodeAt(i));
    } else if (x[i + 1] === '\\') {
      bytes.push(0x5c);
      i++;
    } else {
      bytes.push(Number.parseInt(x.slice(i + 1, i + 4), 8));
      i += 3;
    }
  }
  return new Uint8Array(bytes);
};

/** 0 to 15 for one of 0-9, a-f, A-F. */
export function hexDigit(code: number): number {
  return code <= 0x39 ? code - 0x30 : (code & 0xdf) - 55;
}

export type TypeHandler = { to: number; from: number | number[]; serialize: Serializer; parse: Parser };

/** The conversions; `from` are the types that they are for. */
export const types = {
  string: { to: TEXT, from: [TEXT, VARCHAR, BPCHAR], serialize: serializeText, parse: parseText },
  number: { to: 0, from: [INT2, INT4, OID, FLOAT4, FLOAT8], serialize: serializeNumber, parse: parseNumber },
  bigint: { to: INT8, from: [INT8], serialize: serializeNumber, parse: parseBigint },
  json: { to: JSON, from: [JSON, JSONB], serialize: serializeJson, parse: ((x) => parseJson(x)) as Parser },
  boolean: { to: BOOL, from: [BOOL], serialize: serializeBoolean, parse: parseBoolean },
  date: { to: TIMESTAMPTZ, from: [DATE, TIMESTAMP, TIMESTAMPTZ], serialize: serializeDate, parse: parseDate },
  bytea: { to: BYTEA, from: [BYTEA], serialize: serializeBytea, parse: parseBytea },
} satisfies Record<string, TypeHandler>;

type ByType<T> = { [typeId: number | string]: T };

/** By the OID of the type; PostgreSQL's array types are added by each instance. */
export const parsers: ByType<Parser> = {};
/** By the OID of the type; PostgreSQL's array types are added by each instance. */
export const serializers: ByType<Serializer> = {};
for (const { from, parse, serialize } of Object.values(types)) {
  for (const typeId of from) {
    parsers[typeId] = parse;
    serializers[typeId] = serialize;
  }
}

/** PostgreSQL's own types and the types of their arrays, from pg_type; their OIDs never change. */
export const ARRAY_TYPES: readonly (readonly [element: number, array: number])[] = (
  '16:1000 17:1001 18:1002 19:1003 20:1016 21:1005 22:1006 23:1007 24:1008 25:1009 26:1028 27:1010 28:1011 29:1012 30:1013 114:199 ' +
  '142:143 600:1017 601:1018 602:1019 603:1020 604:1027 628:629 650:651 700:1021 701:1022 718:719 774:775 790:791 829:1040 869:1041 ' +
  '1033:1034 1042:1014 1043:1015 1082:1182 1083:1183 1114:1115 1184:1185 1186:1187 1266:1270 1560:1561 1562:1563 1700:1231 1790:2201 ' +
  '2202:2207 2203:2208 2204:2209 2205:2210 2206:2211 2249:2287 2275:1263 2950:2951 2970:2949 3220:3221 3614:3643 3615:3645 3642:3644 ' +
  '3734:3735 3769:3770 3802:3807 3904:3905 3906:3907 3908:3909 3910:3911 3912:3913 3926:3927 4072:4073 4089:4090 4096:4097 4191:4192 ' +
  '4451:6150 4532:6151 4533:6152 4534:6153 4535:6155 4536:6157 5038:5039 5069:271'
)
  .split(' ')
  .map((pair) => pair.split(':').map(Number) as [number, number]);

/**
 * The value of a column.
 *
 * @param x PostgreSQL's text; null for NULL
 * @param type the OID of its type; types without a parser stay text
 */
export function parseType(x: string | null, type: number, own?: ByType<Parser>): any {
  if (x === null) {
    return null;
  }
  const parser = own?.[type] ?? parsers[type];
  return parser === undefined ? x : parser(x, type);
}

/**
 * PostgreSQL's text of an array, of any depth; the first element decides whether there is another dimension.
 *
 * @param xs an array; anything else is taken for the text of one
 * @param serializer for the elements; undefined: their text
 * @param typarray the OID of the array's type
 */
export function arraySerializer(xs: any, serializer: Serializer | undefined, typarray: number): string {
  if (!Array.isArray(xs)) {
    return String(xs);
  }
  if (xs.length === 0) {
    return '{}';
  }
  const delimiter = typarray === BOX_ARRAY ? ';' : ',';
  const items = Array.isArray(xs[0])
    ? xs.map((x) => arraySerializer(x, serializer, typarray))
    : xs.map((x) => {
        if (x === null || x === undefined) {
          return 'NULL';
        }
        const text = String(serializer === undefined ? x : serializer(x));
        return /[\\"]/.test(text) ? `"${text.replace(/[\\"]/g, '\\$&')}"` : `"${text}"`;
      });
  return `{${items.join(delimiter)}}`;
}

/**
 * The array of PostgreSQL's text for one. Bounds that don't begin at 1 are dropped.
 *
 * @param parser for the elements; undefined: their text
 * @param typarray the OID of the array's type
 */
export function arrayParser(x: string, parser: Parser | undefined, typarray: number): any {
  const delimiter = typarray === BOX_ARRAY ? 0x3b : 0x2c;
  const QUOTE = 0x22;
  const BACKSLASH = 0x5c;
  const OPEN = 0x7b;
  const CLOSE = 0x7d;
  let at = x.charCodeAt(0) === OPEN ? 0 : x.indexOf('{');
  if (at < 0) {
    throw new Error(`not an array of PostgreSQL's: ${x.slice(0, 40)}`);
  }
  const element = (text: string) => (parser === undefined ? text : parser(text));
  const list = (): any[] => {
    const items: any[] = [];
    at++;
    while (at < x.length) {
      const code = x.charCodeAt(at);
      if (code === CLOSE) {
        at++;
        return items;
      }
      if (code === delimiter) {
        at++;
      } else if (code === OPEN) {
        items.push(list());
      } else if (code === QUOTE) {
        let text = '';
        let from = ++at;
        for (;;) {
          const inner = x.charCodeAt(at);
          if (inner === BACKSLASH) {
            text += x.slice(from, at);
            from = at + 1;
            at += 2;
          } else if (inner === QUOTE || at >= x.length) {
            break;
          } else {
            at++;
          }
        }
        text += x.slice(from, at);
        at++;
        items.push(element(text));
      } else {
        const from = at;
        for (; at < x.length; at++) {
          const inner = x.charCodeAt(at);
          if (inner === delimiter || inner === CLOSE) {
            break;
          }
        }
        const text = x.slice(from, at);
        items.push(text === 'NULL' ? null : element(text));
      }
    }
    return items;
  };
  return list();
}

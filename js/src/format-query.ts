/** A query with its parameters written into it; what live queries need to make views of queries. */
import type { ExecProtocolResult, QueryOptions, Results } from './interface.ts';
import { MessageWriter } from './protocol-frontend.ts';

interface Queryable {
  query<T>(query: string, params?: any[], options?: QueryOptions): Promise<Results<T>>;
}

interface Asker extends Queryable {
  execProtocol(message: Uint8Array): Promise<ExecProtocolResult>;
  runExclusive<T>(callback: () => Promise<T>): Promise<T>;
}

/** What a `$1` in does not count: quoted text and names, dollar quotes, comments. Then the parameters. */
const TOKENS = /[eE]'(?:\\[\s\S]|''|[^'\\])*'|'(?:''|[^'])*'|"(?:""|[^"])*"|--[^\n]*|\/\*[\s\S]*?\*\/|(\$(?:[A-Za-z_]\w*)?\$)[\s\S]*?\1|\$(\d+)/g;

/**
 * Writes parameters as literals into a query.
 *
 * @param pg describes the query, so that the parameters get its types: tables it uses must exist
 * @param params null: none
 * @param tx who runs the conversion; give the transaction inside of one
 * @throws DatabaseError when the query can't be described or a parameter is not of its type
 */
export async function formatQuery(pg: Asker, query: string, params?: any[] | null, tx: Queryable = pg): Promise<string> {
  if (!params || params.length === 0) {
    return query;
  }
  // not by describeQuery, which would wait for the transaction that this may be part of
  const question = new MessageWriter().parse('', query).describe('statement').sync().take();
  const { messages } = await pg.runExclusive(() => pg.execProtocol(question));
  const paramTypes = messages.flatMap((message) => (message.name === 'parameterDescription' ? message.dataTypeIDs : []));
  const list = paramTypes.map((_, i) => `quote_nullable($${i + 1})`).join(', ');
  const { rows } = await tx.query<string[]>(`select ${list}`, params, { paramTypes, rowMode: 'array' });
  const literals = rows[0]!;
  return query.replace(TOKENS, (token, _tag, number?: string) => (number === undefined ? token : (literals[+number - 1] ?? token)));
}

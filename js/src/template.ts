/**
 * SQL as templates (`pgcell/template`, as PGlite's): values become parameters, identifiers and raw SQL don't.
 *
 *     const { query, params } = query`select * from ${identifier`t`} where id = ${id} ${limit ? sql`limit ${limit}` : sql``}`;
 */

interface TemplatePart {
  _templateType: 'part';
  str: string;
}

interface TemplateContainer {
  _templateType: 'container';
  strings: TemplateStringsArray;
  values: any[];
}

interface TemplatedQuery {
  query: string;
  params: any[];
}

/** SQL with parameters, to stand in another template. */
export function sql(strings: TemplateStringsArray, ...values: any[]): TemplateContainer {
  return { _templateType: 'container', strings, values };
}

/** An identifier, quoted for PostgreSQL. */
export function identifier(strings: TemplateStringsArray, ...values: any[]): TemplatePart {
  return { _templateType: 'part', str: quoteIdentifier(String.raw(strings, ...values)) };
}

/** SQL as it stands; nothing in it is quoted. */
export function raw(strings: TemplateStringsArray, ...values: any[]): TemplatePart {
  return { _templateType: 'part', str: String.raw(strings, ...values) };
}

/** A query and its parameters. A parameter that is used twice is sent twice. */
export function query(strings: TemplateStringsArray, ...values: any[]): TemplatedQuery {
  const params: any[] = [];
  let text = '';
  const add = (strings: readonly string[], values: readonly any[]) => {
    strings.forEach((string, i) => {
      text += string;
      if (i >= values.length) {
        return;
      }
      const value = values[i];
      if (value?._templateType === 'part') {
        text += value.str;
      } else if (value?._templateType === 'container') {
        add(value.strings, value.values);
      } else {
        params.push(value);
        text += `$${params.length}`;
      }
    });
  };
  add(strings, values);
  return { query: text, params };
}

/** A name between double quotes. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

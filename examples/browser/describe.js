// psql's \d as queries of the catalog.

const RELATIONS = `
  select nspname as schema, relname as name,
    case relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view' when 'm' then 'materialized view'
      when 'S' then 'sequence' when 'f' then 'foreign table' end as kind,
    pg_get_userbyid(relowner) as owner,
    pg_size_pretty(pg_total_relation_size(pg_class.oid)) as size
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where relkind in ('r', 'p', 'v', 'm', 'S', 'f') and nspname <> 'information_schema' and nspname !~ '^pg_'
  order by 1, 2`;

/** @param {string} name @returns {string} a string literal */
const quote = (name) => `'${name.replaceAll("'", "''")}'`;

/** Columns, indexes, constraints and triggers. @param {string} name as in SQL: schema and double quotes if need be */
const describe = (name) => `
  select attname as column, format_type(atttypid, atttypmod) as type, attnotnull as not_null,
    case when attidentity <> '' then 'identity' when attgenerated <> '' then 'generated: ' else '' end
      || coalesce(pg_get_expr(adbin, adrelid), '') as default
  from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
  where attrelid = ${quote(name)}::regclass and attnum > 0 and not attisdropped
  order by attnum;
  select pg_get_indexdef(indexrelid) as index from pg_index where indrelid = ${quote(name)}::regclass order by 1;
  select conname as constraint, pg_get_constraintdef(oid) as definition
  from pg_constraint where conrelid = ${quote(name)}::regclass and contype <> 'n' order by 1;
  select pg_get_triggerdef(oid) as trigger from pg_trigger where tgrelid = ${quote(name)}::regclass and not tgisinternal order by 1`;

/** @param {string} text @returns {string | undefined} SQL for `\d` and `\d NAME`; undefined if it is neither */
export function describeRelations(text) {
  const match = /^\s*\\d(?:\s+(\S.*?))?[\s;]*$/.exec(text);
  if (match === null) {
    return undefined;
  }
  return match[1] === undefined ? RELATIONS : describe(match[1]);
}

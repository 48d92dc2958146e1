// PostgreSQL within a Node process: loads two CSV files, asks questions, and keeps the database in a file: node main.mjs [FILE]

import { openAsBlob } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { DatabaseError, PGlite } from 'pgcell';

const file = process.argv[2] ?? 'shop.tar.gz';
const db = await PGlite.create();

// COPY reads the Blob that comes with the query as the file /dev/blob
await db.exec(`
  create table customers (id int primary key, name text not null, country char(2) not null);
  create table orders (
    id int primary key,
    customer_id int not null references customers,
    placed date not null,
    amount numeric(10, 2) not null check (amount > 0)
  );
`);
for (const table of ['customers', 'orders']) {
  const blob = await openAsBlob(new URL(`${table}.csv`, import.meta.url));
  const { affectedRows } = await db.query(`copy ${table} from '/dev/blob' (format csv, header match)`, [], { blob });
  console.log(`${table}.csv: ${affectedRows} rows`);
}

console.log('\nWho has bought for how much?');
const totals = await db.query(`
  select name, count(orders.id)::int as bought, coalesce(sum(amount), 0) as total, max(placed)::text as latest
  from customers left join orders on customer_id = customers.id
  group by customers.id
  order by total desc
`);
console.table(totals.rows); // numeric values are strings: numbers would round them

console.log('\nHow has the business grown, and which orders are above the average of their month?');
const growth = await db.query(`
  select placed::text, amount,
    sum(amount) over (order by placed) as so_far,
    amount > avg(amount) over (partition by date_trunc('month', placed)) as is_large
  from orders
  order by placed
`);
console.table(growth.rows);

// A transaction whose callback throws leaves nothing behind
const countOrders = async () => (await db.sql`select count(*)::int as n from orders`).rows[0]?.n;
try {
  await db.transaction(async (tx) => {
    await tx.sql`insert into orders values (9, 4, ${'2026-04-01'}, ${'12.00'})`;
    await tx.sql`insert into orders values (10, 5, ${'2026-04-02'}, ${'30.00'})`; // there is no customer 5
  });
} catch (error) {
  if (!(error instanceof DatabaseError)) {
    throw error;
  }
  console.log(`\nRolled back: ${error.code}: ${error.message}\n  ${error.detail}`);
  console.log(`There are ${await countOrders()} orders, as before`);
}

// A trigger tells whoever listens, once the transaction is committed
await db.exec(`
  create function tell() returns trigger language plpgsql as $$
  begin
    perform pg_notify('orders', json_build_object('id', new.id, 'amount', new.amount)::text);
    return null;
  end $$;
  create trigger tell after insert on orders for each row execute function tell();
`);
const stopListening = await db.listen('orders', (payload) => console.log(`\nNotification: ${payload}`));
await db.sql`insert into orders values (9, 4, ${'2026-04-01'}, ${'12.00'})`;
await stopListening();

// The data directory as a file, opened by another instance
const dump = await db.dumpDataDir('gzip');
await writeFile(file, dump.stream());
await db.close();

const copy = await PGlite.create({ loadDataDir: await openAsBlob(file) });
const { rows } = await copy.sql`select count(*)::int as n, sum(amount) as total from orders`;
console.log(`\nThe copy from ${file} has ${rows[0]?.n} orders for ${rows[0]?.total}`);
await copy.close();

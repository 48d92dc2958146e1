"""What the clients of the mixed load do in a cell, what they remember of it, and what must then be found there.

A journal has one numbered row for each thing that a client did. Its number is used once, and was *acknowledged* (the row must be there),
*refused* (it must not), or is in doubt because the connection ended first (either will do). Transfers write a journal row in the
transaction that moves the money, so the journal tells every account's balance.
"""
import asyncio
import random
import time

from client import Client, Ended, PgError

ACCOUNTS = 100
ITEMS = 200
OPENING_BALANCE = 1000
TOTAL = ACCOUNTS * OPENING_BALANCE

SCHEMA = f"""
create table accounts (id int primary key, balance int not null, pad text);
create index accounts_balance on accounts (balance);
insert into accounts select i, {OPENING_BALANCE}, repeat('x', 50) from generate_series(1, {ACCOUNTS}) i;
create table items (id int primary key, n int not null, name text);
create index items_n on items (n);
create index items_name on items (name);
insert into items select i, 0, md5(i::text) from generate_series(1, {ITEMS}) i;
create table journal (client int, n int, source int, target int, amount int, at timestamptz default clock_timestamp(),
                      primary key (client, n));
create index journal_at on journal (at)
"""

# more than PostgreSQL's cache (32 MB), so that sessions read, evict and wait for one another's blocks
BULK_ROWS = 24000
BULK = f"""
create table bulk (i int primary key, v text);
alter table bulk alter v set storage plain;
insert into bulk select i, repeat(md5(i::text), 60) from generate_series(1, {BULK_ROWS}) i"""

WRONG_BALANCES = f"""
select count(*) from accounts a
left join (select source as id, sum(amount) as paid from journal where source is not null group by 1) p using (id)
left join (select target as id, sum(amount) as received from journal where target is not null group by 1) r using (id)
where balance <> {OPENING_BALANCE} - coalesce(paid, 0) + coalesce(received, 0)"""

# the same rows by way of each index and without one
SCANS = [
    ('accounts', 'accounts_pkey', 'id > 0', 't'), ('accounts', 'accounts_balance', 'balance > -1000000000', 't'),
    ('items', 'items_pkey', 'id > 0', 't'), ('items', 'items_n', 'n >= 0', 't'), ('items', 'items_name', "name >= ''", 't'),
    ('journal', 'journal_pkey', 'client >= 0', 't'), ('journal', 'journal_at', "at > '2000-01-01'", 't'),
    # catalogs have columns that VACUUM changes in place
    ('pg_class', 'pg_class_oid_index', 'oid > 0', '(oid, relname)'),
    ('pg_attribute', 'pg_attribute_relid_attnum_index', 'attrelid > 0', '(attrelid, attnum, attname)'),
]


class Cell:
    """A cell under load, and everything that was done in it."""

    def __init__(self, name, address, has_bulk=False):
        self.name, self.address, self.has_bulk = name, address, has_bulk
        self.database = f'postgres@{name}'
        self.journals = {}  # by client
        self.increments_sent = self.increments_done = 0
        self.tables = {}  # made by DDL: name -> is it there? None when in doubt
        self.operations = 0
        self.problems = []
        self.kills = []  # time.time()

    def complain(self, text):
        self.problems.append(f'{time.strftime("%H:%M:%S", time.gmtime())} {self.name}: {text}')

    async def prepare(self):
        """Makes it; returns the connection."""
        c = await Client.connect(self.address, self.database)
        await c.query(SCHEMA)
        if self.has_bulk:
            await c.query(BULK)
        return c

    async def check(self):
        """Complains about everything that is not as it must be. Nobody works in the cell."""
        c = await Client.connect(self.address, self.database)
        try:
            await c.query('set statement_timeout = 0')
            await check_total(self, c)
            wrong = await c.value(WRONG_BALANCES)
            if wrong != '0':
                self.complain(f'{wrong} balances are not what the journal says')
            await self._check_journal(c)
            increments = int(await c.value('select sum(n) from items'))
            if not self.increments_done <= increments <= self.increments_sent:
                self.complain(f'{increments} increments; {self.increments_done} acknowledged, {self.increments_sent} sent')
            there = set((await c.query("select relname from pg_class where relname ~ '^made_[0-9]+$'"))[-1].column)
            for name, expected in self.tables.items():
                if expected is not None and expected != (name in there):
                    self.complain(f'table {name} is {"missing" if expected else "there, though dropped"}')
            for name in there:
                count = await c.value(f'select count(*) from {name}')
                if count != '100':
                    self.complain(f'table {name} has {count} rows')
            if there - set(self.tables):
                self.complain(f'tables that nobody made: {there - set(self.tables)}')
            for scan in SCANS:
                await check_index(self, c, *scan)
            await c.query('vacuum')
            await c.query('checkpoint')
        finally:
            await c.close()

    async def _check_journal(self, c):
        rows = (await c.query("select client, string_agg(n::text, ',') from journal group by 1"))[-1].rows
        found = {int(client): [int(n) for n in numbers.split(',')] for client, numbers in rows}
        for client, numbers in found.items():
            if client not in self.journals:
                self.complain(f'rows of client {client}, who never was')
            elif len(set(numbers)) != len(numbers):
                self.complain(f'client {client} has rows twice')
        for client, journal in self.journals.items():
            there = set(found.get(client, []))
            must = journal.acknowledged()
            if must - there:
                self.complain(f'acknowledged rows of client {client} are lost: {sorted(must - there)[:10]} of {journal.sent}')
            if there - must - journal.doubtful:
                self.complain(f'rows of client {client} that never were sent, or were refused: {sorted(there - must - journal.doubtful)[:10]}')


class Journal:
    def __init__(self):
        self.sent = 0
        self.doubtful = set()
        self.refused = set()

    def acknowledged(self):
        return set(range(1, self.sent + 1)) - self.doubtful - self.refused


async def check_total(cell, c):
    count, total = (await c.query('select count(*), sum(balance) from accounts'))[-1].rows[0]
    if (int(count), int(total)) != (ACCOUNTS, TOTAL):
        cell.complain(f'{count} accounts with a total of {total} instead of {ACCOUNTS} with {TOTAL}')


async def check_index(cell, c, table, index, condition, columns):
    """An index scan and a sequential scan, seeing the same rows. There is no amcheck in a cell."""
    digest = f'select count(*), sum(hashtextextended({columns}::text, 0)) from {table} t where {condition}'
    results = await c.query(
        'begin isolation level repeatable read; set local enable_bitmapscan = off; set local enable_seqscan = off; '
        f'{digest}; set local enable_seqscan = on; set local enable_indexscan = off; set local enable_indexonlyscan = off; {digest}; commit')
    by_index, sequential = [r.rows[0] for r in results if r.rows]
    if by_index != sequential:
        cell.complain(f'{index} shows {by_index}, a sequential scan of {table} {sequential}')


class Worker:
    """One client: connects, works, is thrown out, connects again."""

    def __init__(self, load, cell, number, think_s, seed):
        self.load, self.cell, self.number, self.think_s = load, cell, number, think_s
        self.random = random.Random(f'{seed} {cell.name} {number}')
        self.journal = cell.journals.setdefault(number, Journal())
        self.client = None
        self.table_number = 0

    async def run(self):
        while not self.load.is_over:
            if not await self.connect():
                continue
            leave_at = time.monotonic() + self.random.uniform(3, 20)
            try:
                while not self.load.is_over and time.monotonic() < leave_at:
                    await asyncio.sleep(self.random.uniform(0, 2 * self.think_s))
                    await self.random.choices(OPERATIONS, WEIGHTS)[0](self)
                    self.cell.operations += 1
                await self.client.close()
                self.load.disconnected(self)
            except Ended as end:
                self.load.ended(self, end)
                self.client.drop()
                await asyncio.sleep(self.random.uniform(0.02, 0.1))
            except PgError as error:
                self.cell.complain(f'client {self.number}: {error}')
                self.load.disconnected(self)
                self.client.drop()
            except TimeoutError:
                self.cell.complain(f'client {self.number}, session {self.client.pid}: no answer')
                self.load.disconnected(self)
                self.client.drop()

    async def connect(self):
        self.client = None
        started = time.time()
        try:
            self.client = await Client.connect(self.cell.address, self.cell.database)
        except Ended as end:
            self.load.not_connected(self, end, started)
            is_full = end.sqlstate == '53300'
            await asyncio.sleep(self.random.uniform(0.5, 3) if is_full else self.random.uniform(0.05, 0.2))
            return False
        except TimeoutError:
            self.cell.complain(f'client {self.number} is not let in')
            return False
        self.load.connected(self, started)
        return True

    # ---- the operations ----

    async def journalled(self, statements):
        """statements(n) has the queries that write row n; it counts as acknowledged when the last one was answered."""
        journal = self.journal
        journal.sent += 1
        n = journal.sent
        journal.doubtful.add(n)
        for sql in statements(n):
            await self.client.query(sql)
        journal.doubtful.discard(n)

    async def append(self):
        await self.journalled(lambda n: [f'insert into journal (client, n) values ({self.number}, {n})'])

    async def transfer(self):
        source, target = self.random.sample(range(1, ACCOUNTS + 1), 2)
        amount = self.random.randint(1, 100)

        def statements(n):
            changes = sorted([(source, -amount), (target, amount)])  # in one order, so that there are no deadlocks
            steps = ['begin', *(f'update accounts set balance = balance + {by} where id = {which}' for which, by in changes),
                     f'insert into journal (client, n, source, target, amount) values ({self.number}, {n}, {source}, {target}, {amount})',
                     'commit']
            return ['; '.join(steps)] if self.random.random() < 0.7 else steps

        await self.journalled(statements)

    async def roll_back(self):
        """A row that must not be there."""
        self.journal.sent += 1
        n = self.journal.sent
        self.journal.refused.add(n)
        await self.client.query(f'begin; insert into journal (client, n) values ({self.number}, {n}); update items set n = n + 1 where id = 1; rollback')

    async def increment(self):
        first = self.random.randint(1, ITEMS - 3)
        self.cell.increments_sent += 3
        await self.client.query(f'begin; select from items where id between {first} and {first + 2} order by id for update; '
                                f'update items set n = n + 1, name = md5(random()::text) where id between {first} and {first + 2}; commit')
        self.cell.increments_done += 3

    async def aggregate(self):
        await check_total(self.cell, self.client)
        await self.client.query('select source, count(*), sum(amount), max(at) from journal where client % 10 = '
                                f'{self.random.randrange(10)} group by 1 order by 2 desc limit 5')

    async def temporary_table(self):
        name = f't{self.random.randrange(5)}'
        await self.client.query(f'drop table if exists {name}; create temp table {name} as select i, md5(i::text) as v from generate_series(1, 500) i; '
                                f'create index on {name} (v); update {name} set v = v || i')
        count = await self.client.value(f'select count(distinct v) from {name}')
        if count != '500':
            self.cell.complain(f'a temporary table has {count} rows instead of 500')

    async def ddl(self):
        """A table of this client's own, made or dropped."""
        name = f'made_{self.number}'
        is_there = self.cell.tables.get(name, False)
        self.cell.tables[name] = None
        if is_there:
            await self.client.query(f'drop table {name}')
            self.cell.tables[name] = False
        else:
            await self.client.query(f'drop table if exists {name}; create table {name} as select i, i::text as v from generate_series(1, 100) i; '
                                    f'alter table {name} add primary key (i); alter table {name} add column more int default 7; '
                                    f'create index on {name} (v)')
            self.cell.tables[name] = True

    async def compare_scans(self):
        await check_index(self.cell, self.client, *self.random.choice(SCANS))

    async def read_bulk(self):
        if not self.cell.has_bulk:
            return
        first = self.random.randint(1, BULK_ROWS - 200)
        found = (await self.client.query('select count(*), count(*) filter (where v = repeat(md5(i::text), 60)) from bulk '
                                         f'where i between {first} and {first + 199}'))[-1].rows[0]
        if found != ('200', '200'):
            self.cell.complain(f'of 200 rows of the large table {found} are there and right')

    async def external_sort(self):
        """Temporary files, which a killed session leaves behind."""
        await self.client.query("set work_mem = '64kB'; select count(*) from (select md5(i::text) from generate_series(1, 3000) i order by 1) s")


OPERATIONS, WEIGHTS = zip(
    (Worker.append, 30), (Worker.transfer, 30), (Worker.increment, 15), (Worker.read_bulk, 10), (Worker.aggregate, 8), (Worker.roll_back, 4),
    (Worker.temporary_table, 3), (Worker.external_sort, 2), (Worker.ddl, 2), (Worker.compare_scans, 2))

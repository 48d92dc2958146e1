"""psycopg2: its own types, COPY, server-side cursors, large objects, asynchronous polling and its pool."""
import contextlib
import datetime
import decimal
import io
import json
import os
import select
import threading
import time
import uuid
from unittest import mock

import psycopg2
import psycopg2.extras
import psycopg2.pool
from psycopg2 import errors, extensions

from checks import OPTIONS, ask, check, connect, equal, finish, in_threads, raises, value

DATABASE = os.environ['PGDATABASE']
CELL = DATABASE.split('@')[1]
UNIX = {'host': os.environ['CLIENTS_SOCKET_DIR'], 'port': os.environ['CLIENTS_SOCKET_PORT']}
BUSY = 'select count(*) from (select generate_series(1, 2000000000)) s'


a, b = connect(), connect()
a.autocommit = b.autocommit = True  # so that a check that fails leaves no transaction to the next

# ---- connect ----

for way, address in {'TCP': {}, 'Unix socket': UNIX}.items():
    @check(f'connect: {way}')
    def _():
        with contextlib.closing(connect(**address)) as c:
            equal(value(c, 'select 6 * %s', (7,)), 42)
            assert c.server_version >= 180000, c.server_version
            equal(c.get_parameter_status('integer_datetimes'), 'on')

@check('connect: no such database')
def _():
    with raises(psycopg2.OperationalError, text='FATAL:  database "nosuch'):
        connect(dbname=f'nosuch@{CELL}')

@check('connect: no such role')
def _():
    with raises(psycopg2.OperationalError, text='FATAL:  role "nobody here" does not exist'):
        connect(user='nobody here')

@check('connect: another cell is another PostgreSQL')
def _():
    ask(a, 'create table here (i int)')
    with contextlib.closing(connect(dbname=f'postgres@{CELL}-2')) as other, raises(errors.UndefinedTable, '42P01'):
        ask(other, 'select * from here')
    equal(ask(b, 'select * from here'), [])

@check('connect: another database of the cell')
def _():
    with contextlib.closing(connect(dbname=f'template1@{CELL}')) as c:
        equal(value(c, 'select current_database()')[:9], 'template1')

@check('connect: without waiting')
def _():
    with contextlib.closing(connect(async_=1)) as c:
        psycopg2.extras.wait_select(c)
        cursor = c.cursor()
        cursor.execute('select pg_sleep(0.2), 42')
        psycopg2.extras.wait_select(c)
        equal(cursor.fetchone()[1], 42)

# ---- types ----

psycopg2.extras.register_uuid()
UTC = datetime.timezone.utc
VALUES = {
    'int': (-2147483648, 'int'),
    'bigint': (9223372036854775807, 'bigint'),
    'numeric': (decimal.Decimal('12345678901234567890.1234567890'), 'numeric'),
    'numeric of a thousand digits': (decimal.Decimal('7' * 1000), 'numeric'),
    'double precision': (0.1, 'float8'),
    'infinite double precision': (float('-inf'), 'float8'),
    'boolean': (False, 'bool'),
    'text in many scripts': ('Žluťoučký κόσμε 日本語 🐘 e\u0301 \'"\\\n', 'text'),
    'empty text': ('', 'text'),
    'long text': ('0123456789🐘' * 100_000, 'text'),
    'int array': ([1, None, -3], 'int[]'),
    'text array': (['a,b', '"', '\\', None, 'NULL', '', 'ü'], 'text[]'),
    'two-dimensional array': ([[1, 2], [3, 4]], 'int[]'),
    'timestamp': (datetime.datetime(2024, 2, 29, 23, 59, 59, 123456), 'timestamp'),
    'timestamptz': (datetime.datetime(1899, 12, 31, 23, 0, 0, 1, UTC), 'timestamptz'),
    'date': (datetime.date(1, 1, 1), 'date'),
    'interval': (datetime.timedelta(days=-3, seconds=5, microseconds=7), 'interval'),
    'uuid': (uuid.UUID('6f1ed002-ab5d-4a3c-9d0e-0123456789ab'), 'uuid'),
    'null': (None, 'text'),
}
for name, (sent, kind) in VALUES.items():
    @check(f'types: {name}')
    def _():
        equal(ask(a, f'select (%s)::{kind}, (%s)::{kind} is null', (sent, sent)), [(sent, sent is None)])

@check('types: bytea')
def _():
    every = bytes(range(256)) * 4000
    equal(bytes(value(a, 'select %s', (every,))), every)
    equal(value(a, 'select length(%s::bytea)', (every,)), len(every))

@check('types: json and jsonb')
def _():
    document = {'a': [1, None, 'ü🐘'], 'b': {'c': True}}
    equal(ask(a, 'select %s::json, %s::jsonb', 2 * (psycopg2.extras.Json(document),)), [(document, document)])
    equal(value(a, "select %s::jsonb #>> '{a,2}'", (json.dumps(document),)), 'ü🐘')

@check('types: a large object')
def _():
    a.autocommit = False
    out = a.lobject(0, 'wb')
    out.write(b'0123456789' * 50_000)
    out.close()
    again = a.lobject(out.oid, 'rb')
    again.seek(499_995)
    equal(again.read(), b'56789')
    again.unlink()
    a.commit()
    a.autocommit = True

# ---- prepared ----

@check('prepared: by SQL, 300 times')
def _():
    ask(a, 'prepare twice (int) as select $1 * 2')
    for i in range(300):
        equal(value(a, 'execute twice (%s)', (i,)), 2 * i)
    equal(ask(a, "select parameter_types::text, generic_plans + custom_plans from pg_prepared_statements where name = 'twice'"),
          [('{integer}', 300)])
    ask(a, 'deallocate twice')
    with raises(errors.InvalidSqlStatementName, '26000'):
        ask(a, 'execute twice (1)')

@check('prepared: a cursor of the server reads in parts, and survives its transaction')
def _():
    with contextlib.closing(connect()) as c:
        with c, c.cursor('parts', withhold=True) as cursor:
            cursor.itersize = 1000
            cursor.execute('select i from generate_series(1, 25000) i')
            equal(cursor.fetchmany(3), [(1,), (2,), (3,)])
            c.commit()
            equal(sum(row[0] for row in cursor), 25_000 * 25_001 // 2 - 6)

@check('prepared: many rows in one statement')
def _():
    ask(a, 'create table many (i int, t text)')
    rows = [(i, f'řádek {i}') for i in range(5000)]
    with a.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, 'insert into many values %s', rows, page_size=1000)
    equal(ask(a, 'select * from many order by i'), rows)

# ---- copy ----

ask(a, 'create table copied (i int primary key, v text)')
LINES = ''.join(f'{i}\tůň {i}\n' for i in range(20_000))

@check('copy: in and out')
def _():
    with a.cursor() as cursor:
        cursor.copy_expert('copy copied from stdin', io.StringIO(LINES))
        equal(cursor.rowcount, 20_000)
        out = io.StringIO()
        cursor.copy_expert('copy (select * from copied order by i) to stdout', out)
    equal(out.getvalue(), LINES)

@check('copy: a bad row undoes it')
def _():
    with a.cursor() as cursor, raises(errors.InvalidTextRepresentation, '22P02', context='COPY copied, line 3, column i: "bad"'):
        cursor.copy_expert('copy copied from stdin', io.StringIO('50000\tgood\n50001\tgood\nbad\tline\n'))
    equal(value(a, 'select count(*) from copied'), 20_000)

@check('copy: the client gives up')
def _():
    broken = mock.Mock(**{'read.side_effect': ValueError('enough')})
    with a.cursor() as cursor, raises(errors.QueryCanceled, '57014', 'enough'):
        cursor.copy_expert('copy copied from stdin', broken)
    equal(value(a, 'select count(*) from copied'), 20_000)

# ---- errors ----

ask(a, 'create table strict (i int primary key, n text not null, c int constraint positive check (c > 0))')
ask(a, "insert into strict values (1, 'one', 1)")
ERRORS = {
    'syntax': ('selec 1', errors.SyntaxError, '42601', {'statement_position': '1', 'source_function': 'scanner_yyerror'}),
    'unknown column': ('select nothing from strict', errors.UndefinedColumn, '42703', {'statement_position': '8'}),
    'division by zero': ('select 1 / 0', errors.DivisionByZero, '22012', {'severity': 'ERROR'}),
    'unique': ("insert into strict values (1, 'x', 1)", errors.UniqueViolation, '23505',
               {'constraint_name': 'strict_pkey', 'table_name': 'strict', 'message_detail': 'Key (i)=(1) already exists.'}),
    'not null': ('insert into strict values (2, null, 1)', errors.NotNullViolation, '23502', {'column_name': 'n', 'schema_name': 'public'}),
    'check': ("insert into strict values (2, 'x', 0)", errors.CheckViolation, '23514', {'constraint_name': 'positive'}),
    'raised in plpgsql': ("do $$ begin raise exception 'own' using errcode = 'ZZ001', detail = 'dé', hint = 'hí'; end $$",
                          psycopg2.Error, 'ZZ001', {'message_primary': 'own', 'message_detail': 'dé', 'message_hint': 'hí',
                                                    'context': 'PL/pgSQL function inline_code_block line 1 at RAISE'}),
}
for name, (sql, kind, sqlstate, fields) in ERRORS.items():
    @check(f'errors: {name}')
    def _():
        with raises(kind, sqlstate, **fields):
            ask(a, sql)
        equal(value(a, 'select 1'), 1)

@check('errors: notices')
def _():
    del a.notices[:]
    ask(a, "do $$ begin raise notice 'hear %', 'ye'; end $$")
    equal(a.notices, ['NOTICE:  hear ye\n'])

@check('errors: a session that another one ends')
def _():
    victim = connect()
    timer = threading.Timer(0.3, ask, (a, 'select pg_terminate_backend(%s)', (victim.info.backend_pid,)))
    timer.start()
    with raises(psycopg2.OperationalError):  # this libpq tells no more
        ask(victim, 'select pg_sleep(20)')
    timer.join()
    assert victim.closed

# ---- transactions ----

ask(a, 'create table account (id int primary key, amount int not null)')

def reset():
    ask(a, 'truncate account; insert into account select i, 100 from generate_series(1, 20) i')

def amounts():
    return value(a, 'select array_agg(amount order by id) from account where id <= 2')

def give(connection, account, amount):
    ask(connection, 'update account set amount = amount + %s where id = %s', (amount, account))

@check('transactions: commit, rollback, savepoint')
def _():
    reset()
    with contextlib.closing(connect()) as c:
        with c:
            give(c, 1, 1)
            equal(amounts(), [100, 100])
            ask(c, 'savepoint s')
            with raises(errors.DivisionByZero):
                ask(c, 'select 1 / 0')
            with raises(errors.InFailedSqlTransaction, '25P02'):
                ask(c, 'select 1')
            equal(c.info.transaction_status, extensions.TRANSACTION_STATUS_INERROR)
            ask(c, 'rollback to s')
            give(c, 2, 2)
        equal(amounts(), [101, 102])
        give(c, 1, 50)
        c.rollback()
        equal(amounts(), [101, 102])

@check('transactions: serializable ones that conflict')
def _():
    reset()
    with contextlib.closing(connect()) as c, contextlib.closing(connect()) as d:
        for connection in (c, d):
            connection.set_session(isolation_level='SERIALIZABLE')
            ask(connection, 'select sum(amount) from account')
        give(c, 1, -100)
        give(d, 2, -100)
        c.commit()
        with raises(errors.SerializationFailure, '40001'):
            d.commit()
    equal(amounts(), [0, 100])

@check('transactions: a deadlock')
def _():
    reset()
    outcomes = []
    both = threading.Barrier(2)

    def cross(first, second):
        with contextlib.closing(connect()) as c:
            try:
                ask(c, "set deadlock_timeout = '200ms'")
                give(c, first, 1)
                both.wait(10)
                give(c, second, 1)
                c.commit()
                outcomes.append('done')
            except psycopg2.Error as error:
                outcomes.append(error.pgcode)

    in_threads([lambda: cross(1, 2), lambda: cross(2, 1)])
    equal(sorted(outcomes), ['40P01', 'done'])
    equal(amounts(), [101, 101])

# ---- notifications ----

@check('notifications: to an idle connection')
def _():
    ask(b, 'listen news')
    time.sleep(0.5)
    ask(a, "begin; notify news, 'never'; rollback")
    ask(a, "select pg_notify('news', 'žádné'), pg_notify('other', 'x')")
    assert select.select([b], [], [], 5)[0], 'nothing comes'
    b.poll()
    equal([(n.channel, n.payload, n.pid) for n in b.notifies], [('news', 'žádné', a.info.backend_pid)])
    ask(b, 'unlisten news')
    ask(a, "notify news, 'late'")
    assert not select.select([b], [], [], 0.3)[0], 'something comes'

# ---- cancel ----

for way, address in {'TCP': {}, 'the Unix socket': UNIX}.items():
    for what, sql in {'sleeps': 'select pg_sleep(20)', 'computes': BUSY}.items():
        @check(f'cancel: a query that {what}, by a request over {way}')
        def _():
            with contextlib.closing(connect(**address)) as c:
                timer = threading.Timer(0.3, c.cancel)
                timer.start()
                with raises(errors.QueryCanceled, '57014', 'canceling statement due to user request'):
                    ask(c, sql)
                timer.join()
                c.rollback()
                equal(value(c, 'select 1'), 1)

@check('cancel: statement_timeout')
def _():
    with contextlib.closing(connect(options='-c statement_timeout=300')) as c:
        for sql in ('select pg_sleep(20)', BUSY):
            with raises(errors.QueryCanceled, '57014', 'canceling statement due to statement timeout'):
                ask(c, sql)
            c.rollback()

# ---- pool ----

@check('pool: 20 connections move money and lose none')
def _():
    reset()
    pool = psycopg2.pool.ThreadedConnectionPool(20, 20, options=OPTIONS)
    pids, mistakes = set(), []

    def work(worker):
        try:
            connection = pool.getconn()
            pids.add(connection.info.backend_pid)
            for i in range(20):
                for account, amount in sorted([(1 + (worker + i) % 20, -worker), (1 + (worker * 7 + 3) % 20, worker)]):  # in order: no deadlock
                    give(connection, account, amount)
                if i % 5:
                    connection.commit()
                else:
                    connection.rollback()
            pool.putconn(connection)
        except Exception as error:  # pylint: disable=broad-except
            mistakes.append(error)

    in_threads([lambda n=n: work(n) for n in range(20)])
    equal(mistakes, [])
    equal(len(pids), 20)
    equal(value(a, 'select sum(amount) from account'), 2000)
    assert value(a, 'select sum(abs(amount - 100)) from account') > 0, 'nothing moved'
    pool.closeall()

finish()

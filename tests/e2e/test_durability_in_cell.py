"""PostgreSQL's files in a cell: WAL, checkpoints, databases, rewrites, temporary files, and what a crash leaves."""
import contextlib
import os
import random
import re
import signal
import threading
import time
import unittest

from pgwire import PgError
from server import ServerCase, sql_error

UNITS = {'kB': 1 << 10, 'MB': 1 << 20, 'GB': 1 << 30}


def parse_size(text):
    number, unit = re.match(r'(\d+)(\w+)$', text).groups()
    return int(number) * UNITS[unit]


class WriteAheadLog(ServerCase):
    seconds = 180

    def wal_bytes(self, c):
        return int(c.query('select sum(size) from pg_ls_waldir()').value)

    def test_stays_bounded_under_updates(self):
        c = self.connect(timeout=60)
        limit = 3 * parse_size(c.query('show max_wal_size').value)
        c.query('create table t as select i, 0 as n from generate_series(1, 10000) i')
        start = c.query('select pg_current_wal_lsn()').value
        largest = 0
        for i in range(200):
            c.query('update t set n = n + 1')
            if i % 10 == 9:
                largest = max(largest, self.wal_bytes(c))
                c.query('vacuum t')
        self.assertLess(largest, limit)
        written = int(c.query(f"select pg_current_wal_lsn() - '{start}'").value)
        self.assertGreater(written, limit, 'the test wrote too little to prove anything')
        self.assertEqual(c.query('select count(*), min(n), max(n) from t').rows, [('10000', '200', '200')])
        self.assertLess(self.server.cell_bytes(), 500 << 20)

    def test_stays_bounded_in_one_statement(self):
        c = self.connect(timeout=90)
        limit = 3 * parse_size(c.query('show max_wal_size').value)
        c.query("create table t as select i, repeat(md5(i::text), 10) as v from generate_series(1, 400000) i")
        self.assertGreater(int(c.query("select pg_current_wal_lsn() - '0/0'").value), limit)
        self.assertLess(self.wal_bytes(c), limit)

    def test_stays_bounded_in_one_function(self):
        c = self.connect(timeout=90)
        limit = 3 * parse_size(c.query('show max_wal_size').value)
        c.query('create table t as select i, 0 as n from generate_series(1, 10000) i')
        c.query('do $$ begin for i in 1..100 loop update t set n = n + 1; end loop; end $$')
        self.assertLess(self.wal_bytes(c), limit)

    def test_checkpoint(self):
        c = self.connect()
        c.query('create table t as select generate_series(1, 100000) as i')
        before = c.query('select redo_lsn from pg_control_checkpoint()').value
        c.query('checkpoint')
        after = c.query('select redo_lsn from pg_control_checkpoint()').value
        self.assertEqual(c.query(f"select '{after}'::pg_lsn > '{before}'::pg_lsn").value, 't')
        for _ in range(20):
            c.query('checkpoint')
        self.assertEqual(c.query('select count(*) from t').value, '100000')

    def test_checkpoint_needs_the_right(self):
        with self.connect() as c:
            c.query('create role app login')
        with sql_error(self, '42501'):
            self.connect(user='app').query('checkpoint')

    def test_switch_wal(self):
        c = self.connect()
        c.query('create table t (i int)')
        for i in range(30):
            c.query(f'insert into t values ({i})')
            c.query('select pg_switch_wal()')
        self.assertEqual(c.query('select count(*) from t').value, '30')
        self.assertLess(self.wal_bytes(c), 3 * parse_size(c.query('show max_wal_size').value))
        c.close()
        self.assertEqual(self.connect().query('select count(*) from t').value, '30')

    def test_asynchronous_commit(self):
        with self.connect() as c:
            c.query('set synchronous_commit = off; create table t (i int)')
            c.query('insert into t values (1)')
        self.assertEqual(self.connect().query('select count(*) from t').value, '1')


class Files(ServerCase):
    seconds = 120

    def test_create_and_drop_databases(self):
        c = self.connect()
        c.query('create database warm; drop database warm') if False else c.query('create database warm')
        c.query('drop database warm')
        held = self.server.cell_bytes()
        for i in range(10):
            c.query(f'create database d{i}')
        self.assertEqual(c.query("select count(*) from pg_database where datname ~ '^d\\d'").value, '10')
        for i in range(10):
            c.query(f'drop database d{i}')
        c.query('checkpoint')
        self.assertLess(self.server.cell_bytes(), held + (40 << 20), 'dropped databases keep their memory')
        c.query('create database "with ""quotes"" and spaces"')
        with self.connect(f'with "quotes" and spaces@{self.cell}') as other:
            self.assertEqual(other.query('select 1').value, '1')

    def test_drop_table_and_truncate_give_memory_back(self):
        c = self.connect(timeout=60)
        c.query('checkpoint')
        held = self.server.cell_bytes()
        for _ in range(4):
            c.query("create unlogged table t as select i, repeat('x', 500) as v from generate_series(1, 100000) i")
            c.query('drop table t')
            c.query('create unlogged table u as select i, repeat(\'x\', 500) as v from generate_series(1, 100000) i')
            c.query('truncate u')
            c.query('drop table u')
        c.query('checkpoint')
        self.assertLess(self.server.cell_bytes() - held, 150 << 20)

    def fill(self, c):
        c.query("""create table t (id int primary key, v text, n int);
                   insert into t select i, md5(i::text), i % 100 from generate_series(1, 20000) i;
                   create index t_v on t (v); create index t_n on t (n);
                   delete from t where n = 7; update t set v = v || 'x' where n = 8""")
        return c.query("select count(*), md5(string_agg(t::text, ',' order by id)) from t").rows

    def test_vacuum_full_cluster_and_reindex(self):
        c = self.connect()
        expected = self.fill(c)
        size = int(c.query("select pg_relation_size('t')").value)
        for sql in ('vacuum t', 'vacuum full t', 'vacuum (full, analyze)', 'cluster t using t_v', 'reindex table t', 'reindex (verbose) index t_v',
                    'reindex table concurrently t', 'reindex database postgres', 'reindex system postgres', 'vacuum freeze', 'analyze',
                    'alter table t set unlogged', 'alter table t set logged', 'alter table t alter n type bigint'):
            with self.subTest(sql=sql):
                c.query(sql)
                self.assertEqual(c.query("select count(*), md5(string_agg(t::text, ',' order by id)) from t").rows, expected)
        self.assertLess(int(c.query("select pg_relation_size('t')").value), size * 2)
        c.query('set enable_seqscan = off')
        self.assertEqual(c.query('select count(*) from t where n = 8').value, '200')
        c.close()
        self.assertEqual(self.connect().query("select count(*), md5(string_agg(t::text, ',' order by id)) from t").rows, expected)

    def test_large_objects(self):
        c = self.connect()
        data = os.urandom(3_000_000)
        oid = c.run('select lo_from_bytea(0, $1)', [data], formats=[1]).value
        self.assertEqual(c.run('select lo_get($1)', [oid], result_formats=[1]).value, data)
        self.assertEqual(c.run('select lo_get($1, 1000000, 100)', [oid], result_formats=[1]).value, data[1000000:1000100])
        c.run("select lo_put($1, 10, '\\x414243')", [oid])
        self.assertEqual(c.run('select lo_get($1, 10, 3)', [oid], result_formats=[1]).value, b'ABC')
        c.query('begin')
        fd = c.query(f'select lo_open({oid}, 131072 + 262144)').value
        c.query(f'select lo_lseek64({fd}, 2999000, 0), lo_truncate64({fd}, 2999500)')
        self.assertEqual(len(c.run('select loread($1, 10000)', [fd], result_formats=[1]).value), 500)
        c.query('commit')
        c.query(f'select lo_unlink({oid})')
        self.assertEqual(c.query('select count(*) from pg_largeobject').value, '0')

    def test_temporary_files(self):
        c = self.connect()
        c.query("set work_mem = '64kB'")
        lines = '\n'.join(c.query('''explain (analyze, costs off, timing off, summary off)
            select md5(i::text) from generate_series(1, 200000) i order by 1''').column)
        self.assertIn('external merge', lines)
        self.assertEqual(c.query('''select count(*), min(x) from (select md5(i::text) as x from generate_series(1, 200000) i order by 1) y''').rows,
                         [('200000', '000058f9fce4ba7cc8b4ddc8d6c4a2ab')] if False else
                         c.query('select 200000, min(md5(i::text)) from generate_series(1, 200000) i').rows)
        self.assertEqual(c.query('''select count(*) from (select distinct i % 150000 from generate_series(1, 200000) i) x''').value, '150000')
        self.assertEqual(c.query('''select count(*) from generate_series(1, 100000) a join generate_series(50001, 150000) b on a = b''').value, '50000')
        self.assertEqual(c.query('select count(*) from pg_ls_tmpdir()').value, '0')

    def test_temporary_files_of_a_killed_session_are_removed(self):
        c = self.connect()
        c.query("set work_mem = '64kB'")
        c.send_query('select * from generate_series(1, 10000000) order by 1 desc')
        time.sleep(1)
        self.kill_session(c)
        c.read_to_end()
        self.assertEqual(self.connect().query('select count(*) from pg_ls_tmpdir()').value, '0')

    def test_tablespace_in_place(self):
        c = self.connect()
        c.query('set allow_in_place_tablespaces = on')
        c.query("create tablespace ts location ''")
        c.query('create table t tablespace ts as select generate_series(1, 10000) as i')
        c.query('create index on t (i) tablespace ts')
        c.query('create database d tablespace ts')
        c.close()
        with self.connect(f'd@{self.cell}') as d:
            d.query('create table x as select 1')
        c = self.connect()
        self.assertEqual(c.query('select sum(i) from t').value, '50005000')
        self.assertRegex(c.query("select pg_relation_filepath('t')").value, r'^pg_tblspc/\d+/')
        c.query('alter table t set tablespace pg_default')
        c.query('drop database d')
        with sql_error(self, '55000'):
            c.query('drop tablespace ts')
        c.query('drop table t')
        c.query('checkpoint; drop tablespace ts') if False else c.query('drop tablespace ts')
        self.assertEqual(c.query("select count(*) from pg_tablespace where spcname = 'ts'").value, '0')

    def test_a_tablespace_elsewhere_is_refused(self):
        with self.assertRaises(PgError) as caught:
            self.connect().query("create tablespace ts location '/nonexistent'")
        self.assertIn(caught.exception.sqlstate, ('58P01', '42P17', '0A000'), caught.exception)

    def test_server_side_copy_and_file_functions(self):
        c = self.connect()
        c.query('create table t as select generate_series(1, 1000) as i')
        c.query("copy t to '/data/t.copy'")
        c.query('create table u (i int)')
        self.assertEqual(c.query("copy u from '/data/t.copy'").tag, 'COPY 1000')
        self.assertEqual(c.query("select (pg_stat_file('t.copy')).size").value, '3893')
        self.assertIn('t.copy', c.query('select pg_ls_dir(\'.\')').column)

    def test_checksums_are_on_and_right(self):
        c = self.connect()
        c.query('create table t as select generate_series(1, 100000) as i; create index on t (i)')
        c.query('checkpoint')
        self.assertEqual(c.query('show data_checksums').value, 'on')
        self.assertEqual(c.query('select coalesce(sum(checksum_failures), 0) from pg_stat_database').value, '0')

    def test_a_thousand_tables(self):
        c = self.connect()
        c.query("do $$ begin for i in 1..1000 loop execute format('create table t%s (i int primary key, v text)', i); end loop; end $$")
        c.query("do $$ begin for i in 1..1000 loop execute format('insert into t%s values (%s)', i, i); end loop; end $$")
        c.close()
        c = self.connect()
        self.assertEqual(c.query("select count(*) from pg_class where relname ~ '^t\\d+$'").value, '1000')
        c.query("do $$ begin for i in 1..1000 loop execute format('drop table t%s', i); end loop; end $$")
        self.assertEqual(c.query("select count(*) from pg_class where relname ~ '^t\\d+$'").value, '0')


class Crashes(ServerCase):
    """SIGKILL for the session that writes: what was acknowledged is there, what was not is not half there."""

    seconds = 180

    def write_until_killed(self, sql, delay, acknowledged):
        """acknowledged() is called after each round of statements that the server confirmed."""
        c = self.connect(timeout=20)

        def write():
            with contextlib.suppress(EOFError, OSError):
                while True:
                    for statement in sql:
                        c.query(statement)
                    acknowledged()

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        time.sleep(delay)
        self.kill_session(c)
        thread.join(10)
        self.assertFalse(thread.is_alive())

    def test_acknowledged_commits_survive_ten_kills(self):
        with self.connect() as c:
            c.query('create table counter (n int); insert into counter values (0)')
            c.query('create table log (n int primary key, pad text)')
        count = [0]

        def acknowledged():
            count[0] += 1

        for round_number in range(10):
            self.write_until_killed(
                ["begin; update counter set n = n + 1; insert into log select n, repeat('x', 500) from counter; commit"],
                random.uniform(0.05, 0.4), acknowledged)
            with self.connect(timeout=30) as c:
                n = int(c.query('select n from counter').value)
                self.assertIn(n, (count[0], count[0] + 1), f'round {round_number}')
                count[0] = n  # the last commit may have happened without an answer
                self.assertEqual(c.query('select count(*), coalesce(max(n), 0) from log').rows, [(str(n), str(n))])
                c.query('set enable_seqscan = off')
                self.assertEqual(c.query('select count(*) from log where n > 0').value, str(n))
        self.assertGreater(count[0], 20, 'the test wrote too little to prove anything')

    def test_kills_under_heavy_writing_with_checkpoints(self):
        with self.connect() as c:
            c.query("create table t (id int primary key, n int, v text)")
            c.query("insert into t select i, 0, repeat('x', 200) from generate_series(1, 5000) i")
            c.query('create index on t (n)')
        count = [0]

        def acknowledged():
            count[0] += 1

        for _ in range(5):
            self.write_until_killed(["update t set n = n + 1", 'checkpoint'], random.uniform(0.2, 1), acknowledged)
            with self.connect(timeout=30) as c:
                rows = c.query('select count(*), min(n), max(n) from t').rows[0]
                self.assertEqual(rows[0], '5000')
                self.assertEqual(rows[1], rows[2], 'a transaction is half there')
                self.assertIn(int(rows[1]), (count[0], count[0] + 1))
                count[0] = int(rows[1])
                c.query('vacuum t')

    def test_kills_during_ddl(self):
        with self.connect() as c:
            c.query('create table base as select i, md5(i::text) as v from generate_series(1, 5000) i')
        for sql in (["create table x as select * from base", 'drop table x'], ['create database d', 'drop database d'],
                    ['vacuum full base'], ['create index i on base (v)', 'drop index i'], ['truncate t', 'insert into t select * from base'],
                    ['alter table base add column c int default 1', 'alter table base drop column c'],
                    ["create temp table tt as select * from base", 'drop table tt']):
            with self.subTest(sql=sql):
                with self.connect() as c:
                    c.query('drop table if exists x, t')
                    c.query('drop index if exists i')
                    c.query('drop database if exists d')
                    c.query('create table t as select * from base')
                self.write_until_killed(sql, random.uniform(0.05, 0.5), lambda: None)
                with self.connect(timeout=30) as c:
                    self.assertEqual(c.query('select count(*), count(distinct v) from base').rows, [('5000', '5000')])
                    self.assertIn(c.query('select count(*) from t').value, ('0', '5000'))
        self.assertNotIn('given up', self.log())

    def test_memory_does_not_grow_with_crashes(self):
        with self.connect() as c:
            c.query("create table t as select i, repeat('x', 100) as v from generate_series(1, 10000) i")
        sizes = []
        for _ in range(8):
            self.write_until_killed(["update t set v = v", "vacuum t", "create table x as select * from t", "drop table x"], 0.5, lambda: None)
            with self.connect(timeout=30) as c:
                c.query('drop table if exists x')
                c.query('vacuum t')
                c.query('checkpoint')
            sizes.append(self.server.cell_bytes() >> 20)
        self.assertLess(sizes[-1] - sizes[0], 60, sizes)

    def test_unlogged_tables_are_empty_after_a_crash(self):
        c = self.connect()
        c.query('create unlogged table u as select generate_series(1, 100) as i')
        c.query('create table t as select generate_series(1, 100) as i')
        self.kill_session(c)
        c.read_to_end()
        c = self.connect()
        self.assertEqual(c.query('select count(*) from u').value, '0')
        self.assertEqual(c.query('select count(*) from t').value, '100')

    def test_sequences_do_not_repeat_after_a_crash(self):
        c = self.connect()
        c.query('create sequence s')
        seen = [int(c.query("select nextval('s')").value) for _ in range(10)]
        self.kill_session(c)
        c.read_to_end()
        self.assertGreater(int(self.connect().query("select nextval('s')").value), seen[-1])


if __name__ == '__main__':
    unittest.main()

"""What a cell keeps, what a session does not, and that cells are strangers to one another."""
import os
import re
import threading
import time
import unittest
from datetime import datetime, timezone

from pgwire import Connection, PgError, startup_packet
from server import OwnServerCase, ServerCase, sql_error, wait_until


def parse_time(text):
    return datetime.strptime(re.sub(r'\+00$', '+0000', text), '%Y-%m-%d %H:%M:%S.%f%z' if '.' in text else '%Y-%m-%d %H:%M:%S%z')


class Keeping(ServerCase):
    """What survives the end of a connection, and what does not."""

    def prepare(self, *statements):
        """Runs the statements in a session of their own."""
        with self.connect() as c:
            for sql in statements:
                c.query(sql)

    def again(self, *statements):
        """Runs the statements in one session, ends it, and returns the next one."""
        self.prepare(*statements)
        return self.connect()

    def test_data_survives_reconnecting(self):
        c = self.again('create table t (id serial primary key, v text)', "insert into t (v) values ('one'), ('two')",
                       'create view w as select * from t', 'create function f() returns int return 42')
        self.assertEqual(c.query('select * from w order by id').rows, [('1', 'one'), ('2', 'two')])
        self.assertEqual(c.query('select f()').value, '42')
        self.assertEqual(c.query("insert into t (v) values ('three') returning id").value, '3')

    def test_data_survives_a_hundred_connections(self):
        self.prepare('create table t (i int)')
        for i in range(100):
            with self.connect() as c:
                self.assertEqual(c.query('select count(*) from t').value, str(i))
                c.query(f'insert into t values ({i})')

    def test_an_open_transaction_is_rolled_back(self):
        self.prepare('create table t (i int)')
        c = self.again('begin', 'insert into t values (1)')
        self.assertEqual(c.query('select count(*) from t').value, '0')

    def test_settings_do_not_survive(self):
        c = self.again("set work_mem = '7MB'", "set search_path = 'pg_catalog'", "set timezone = 'Asia/Tokyo'",
                       "set my.setting = 'mine'", 'set session characteristics as transaction read only')
        self.assertEqual(c.query('show work_mem').value, '4MB')
        self.assertEqual(c.query('show search_path').value, '"$user", public')
        self.assertEqual(c.query('show timezone').value, 'UTC')
        self.assertIsNone(c.query("select current_setting('my.setting', true)").value)
        self.assertEqual(c.query('show transaction_read_only').value, 'off')

    def test_prepared_statements_and_cursors_do_not_survive(self):
        c = self.again('prepare p as select 1', "declare h cursor with hold for select generate_series(1, 10)")
        self.assertEqual(c.query('select count(*) from pg_prepared_statements').value, '0')
        self.assertEqual(c.query('select count(*) from pg_cursors').value, '0')
        with sql_error(self, '26000'):
            c.query('execute p')

    def test_temporary_tables_do_not_survive(self):
        c = self.again('create temp table t as select 1', "create function pg_temp.f() returns int language sql as 'select 1'",
                       "create temp sequence s")
        self.assertIsNone(c.query("select to_regclass('pg_temp.t')").value)
        self.assertEqual(c.query("select count(*) from pg_class where relpersistence = 't'").value, '0')
        c.query('create temp table t as select 2 as i')
        self.assertEqual(c.query('select i from t').value, '2')

    def test_role_does_not_survive(self):
        c = self.again('create role other', 'set role other')
        self.assertEqual(c.query('select current_user').value, 'postgres')
        c.close()
        c = self.again('set session authorization other')
        self.assertEqual(c.query('select session_user').value, 'postgres')

    def test_advisory_locks_do_not_survive(self):
        c = self.again('select pg_advisory_lock(1), pg_advisory_lock(2)')
        self.assertEqual(c.query("select count(*) from pg_locks where locktype = 'advisory'").value, '0')
        self.assertEqual(c.query('select pg_try_advisory_lock(1)').value, 't')

    def test_listening_does_not_survive(self):
        c = self.again('listen a')
        self.assertEqual(c.query('select count(*) from pg_listening_channels()').value, '0')
        c.query('notify a')
        c.query('select 1')
        self.assertEqual(c.notifications, [])

    def test_session_local_values_do_not_survive(self):
        c = self.again('create sequence s', "select nextval('s')", 'select setseed(0.5)')
        with sql_error(self, '55000'):
            c.query("select currval('s')")

    def test_settings_of_roles_and_databases_survive(self):
        c = self.again("alter role postgres set work_mem = '9MB'", "alter database postgres set statement_timeout = '50s'")
        self.assertEqual(c.query('show work_mem').value, '9MB')
        self.assertEqual(c.query('show statement_timeout').value, '50s')

    def test_alter_system_survives(self):
        c = self.again("alter system set work_mem = '11MB'", 'select pg_reload_conf()')
        self.assertEqual(c.query('show work_mem').value, '11MB')
        with self.connect(f'{self.database}-2') as other:
            self.assertEqual(other.query('show work_mem').value, '4MB')

    def test_statistics_survive(self):
        c = self.again('create table t as select generate_series(1, 1000)', 'select count(*) from t')
        self.assertEqual(c.query("select n_tup_ins from pg_stat_user_tables where relname = 't'").value, '1000')


class Strangers(ServerCase):
    """Cells do not see one another."""

    def test_ten_cells_hold_ten_contents_at_once(self):
        connections = [self.connect(f'{self.database}-{i}') for i in range(10)]
        for i, c in enumerate(connections):
            c.query(f"create table t as select {i} as n, 'cell {i}' as v from generate_series(1, {100 * (i + 1)})")
        for i, c in enumerate(connections):
            self.assertEqual(c.query('select n, v, count(*) from t group by 1, 2').rows, [(str(i), f'cell {i}', str(100 * (i + 1)))])
        for c in connections:
            c.close()
        for i in range(10):
            with self.connect(f'{self.database}-{i}') as c:
                self.assertEqual(c.query('select count(*), min(v) from t').rows, [(str(100 * (i + 1)), f'cell {i}')])

    def test_plain_database_names_mean_the_default_cell(self):
        with self.connect('postgres') as c:
            c.query('create table in_default (i int)')
        with self.connect('postgres@default') as c:
            self.assertEqual(c.query('select count(*) from in_default').value, '0')
        c = self.connect()
        self.assertIsNone(c.query("select to_regclass('in_default')").value)

    def test_roles_and_databases_belong_to_their_cell(self):
        with self.connect() as c:
            c.query('create role only_here login')
            c.query('create database only_here')
        with sql_error(self, '28000'):
            self.connect(f'{self.database}-2', 'only_here')
        with sql_error(self, '3D000'):
            self.connect(f'only_here@{self.cell}-2')
        self.assertEqual(self.connect(f'only_here@{self.cell}', 'only_here').query('select current_user').value, 'only_here')

    def test_locks_and_notifications_stay_in_their_cell(self):
        a, b = self.connect(f'{self.database}-a'), self.connect(f'{self.database}-b')
        a.query('select pg_advisory_lock(1)')
        self.assertEqual(b.query('select pg_try_advisory_lock(1)').value, 't')
        a.query('listen x')
        b.query('notify x')
        a.query('select 1')
        self.assertEqual(a.notifications, [])

    def test_a_session_sees_only_its_cell_in_pg_stat_activity(self):
        a, b = self.connect(f'{self.database}-a'), self.connect(f'{self.database}-b')
        for c in (a, b):
            self.assertEqual(c.query("select pid from pg_stat_activity where backend_type = 'client backend'").column, [str(c.pid)])

    def test_signals_stay_in_their_cell(self):
        a, b = self.connect(f'{self.database}-a'), self.connect(f'{self.database}-b')
        a.query(f'select pg_terminate_backend({b.pid})')
        a.query(f'select pg_terminate_backend({self.server.process.pid})')
        a.query(f'select pg_cancel_backend({self.server.fork_server().pid})')
        self.assertEqual(b.query('select 1').value, '1')
        self.assert_usable(f'{self.database}-c')

    def test_no_file_of_this_machine_can_be_reached(self):
        c = self.connect()
        for path in ('/etc/passwd', '/proc/self/environ', '../../../../etc/passwd', '/root'):
            with self.subTest(path=path):
                with sql_error(self, '58P01'):
                    c.query(f"select pg_read_file('{path}')")
        with self.assertRaises(PgError):
            c.query("copy (select 1) to '/tmp/pgcell-e2e-escaped'")
        with self.assertRaises(PgError):
            c.query("copy (select 1) to program 'touch /tmp/pgcell-e2e-escaped'")
        with open('/etc/passwd', 'rb') as f:
            self.assertTrue(f.read())

        self.assertFalse(os.path.exists('/tmp/pgcell-e2e-escaped'))
        self.assertEqual(c.query('select 1').value, '1')

    def test_nothing_random_repeats_between_cells(self):
        seen = {}
        for i in range(10):
            with self.connect(f'{self.database}-{i}') as c:
                self.collect_random(c, seen)
        self.assert_all_different(seen, 10)

    def test_nothing_random_repeats_between_sessions(self):
        seen = {}
        for _ in range(20):
            with self.connect() as c:
                self.collect_random(c, seen)
        self.assert_all_different(seen, 20)

    def test_nothing_random_repeats_between_private_cells(self):
        seen = {}
        for _ in range(10):
            with self.connect('postgres@new') as c:
                self.collect_random(c, seen)
        self.assert_all_different(seen, 10)

    def collect_random(self, c, seen):
        """One row of each kind of randomness that a session has."""
        c.query("create role r password 'x'")
        salt = c.query("select split_part(split_part(rolpassword, '$', 2), ':', 2) from pg_authid where rolname = 'r'").value
        c.query('drop role r')
        row = c.query('''
            select gen_random_uuid(), uuidv7(), random(), random(1, 1000000000000), random_normal(),
                   (select string_agg(random()::text, ',') from generate_series(1, 5)),
                   (select string_agg(i::text, ',' order by random()) from generate_series(1, 20) i)
            ''').rows[0]
        values = dict(zip(('uuid', 'uuid7', 'random', 'random int', 'normal', 'sequence', 'shuffle'), row))
        values['scram salt'] = salt
        values['cancel key'] = c.key
        for name, value in values.items():
            seen.setdefault(name, []).append(value)

    def assert_all_different(self, seen, count):
        for name, values in seen.items():
            with self.subTest(name):
                self.assertEqual(len(set(values)), count, values)

    def test_long_cancel_keys_do_not_repeat(self):
        keys = set()
        for _ in range(20):
            with self.connect('postgres@new', minor=2) as c:
                keys.add(c.key)
        self.assertEqual(len(keys), 20)
        self.assertEqual({len(k) for k in keys}, {32})


class PrivateCells(ServerCase):
    def test_each_starts_empty(self):
        for _ in range(5):
            with self.connect('postgres@new') as c:
                self.assertEqual(c.query("select count(*) from pg_class where relname = 'mine'").value, '0')
                c.query('create table mine as select generate_series(1, 1000)')
                self.assertEqual(c.query('select count(*) from mine').value, '1000')

    def test_several_at_once(self):
        connections = [self.connect('postgres@new') for _ in range(5)]
        for i, c in enumerate(connections):
            c.query(f'create table mine as select {i} as i')
        self.assertEqual([c.query('select i from mine').value for c in connections], list('01234'))

    def test_nothing_stays_when_the_connection_ends(self):
        before = self.server.settled_descriptor_count()
        connections = [self.connect('postgres@new') for _ in range(5)]
        for c in connections:
            c.query('create table mine as select generate_series(1, 10000)')
        pids = {c.pid for c in connections}
        self.assertLessEqual(pids, {p.pid for p in self.server.sessions()})
        self.assertGreater(self.server.cell_bytes(), 1 << 20)
        held = self.server.cell_bytes()
        for c in connections[:3]:
            c.close()
        for c in connections[3:]:
            c.vanish()
        self.assertTrue(wait_until(lambda: not pids & {p.pid for p in self.server.sessions()}), 'processes are left')
        self.assertTrue(wait_until(lambda: self.server.descriptor_count() == before), 'descriptors are left')
        self.assertLess(self.server.cell_bytes(), held / 2)

    def test_many_one_after_another_leave_nothing(self):
        with self.connect('postgres@new') as c:
            c.query('select 1')
        before = self.server.settled_descriptor_count()
        for _ in range(100):
            with self.connect('postgres@new') as c:
                c.query('select 1')
        self.assertTrue(wait_until(lambda: self.server.descriptor_count() == before), 'descriptors are left')


class IsolateByConnection(ServerCase):
    options = ('--isolate=connection',)

    def test_every_connection_has_a_cell_of_its_own(self):
        a, b = self.connect('postgres'), self.connect('postgres')
        a.query('create table t as select 1')
        self.assertIsNone(b.query("select to_regclass('t')").value)
        a.close()
        with self.connect('postgres') as c:
            self.assertIsNone(c.query("select to_regclass('t')").value)
        with self.connect() as c:
            c.query('create table t as select 1')
        with self.connect() as c:
            self.assertIsNone(c.query("select to_regclass('t')").value)


class Identity(ServerCase):
    """Databases, users, and what a session knows about itself."""

    def test_create_database_and_connect_to_it(self):
        with self.connect() as c:
            c.query('create table t as select 1 as i')
            c.query('create database db2')
            c.query('create database db3 template template0')
        with self.connect(f'db2@{self.cell}') as c:
            self.assertEqual(c.query('select current_database()').value, 'db2')
            self.assertIsNone(c.query("select to_regclass('t')").value)
            c.query('create table t as select 2 as i')
            self.assertEqual(c.query("select string_agg(datname, ',' order by datname) from pg_database").value,
                             'db2,db3,postgres,template0,template1')
        with self.connect() as c:
            self.assertEqual(c.query('select i from t').value, '1')
            c.query('drop database db3')
        with sql_error(self, '3D000'):
            self.connect(f'db3@{self.cell}')

    def test_a_copy_of_a_database(self):
        with self.connect() as c:
            c.query('create database source')
        with self.connect(f'source@{self.cell}') as c:
            c.query('create table t as select generate_series(1, 10000) as i')
        with self.connect() as c:
            c.query('create database copy1 template source strategy file_copy')
            c.query('create database copy2 template source strategy wal_log')
        for name in ('copy1', 'copy2', 'source'):
            with self.connect(f'{name}@{self.cell}') as c:
                self.assertEqual(c.query('select sum(i) from t').value, '50005000')
                c.query("update t set i = 0")
                self.assertEqual(c.query('select sum(i) from t').value, '0')

    def test_a_database_that_does_not_exist(self):
        for database in (f'nope@{self.cell}', 'nope'):
            with sql_error(self, '3D000') as caught:
                self.connect(database)
            self.assertEqual(caught[0].severity, 'FATAL')
            self.assertEqual(caught[0].message, 'database "nope" does not exist')
        self.assert_usable()

    def test_a_role_that_does_not_exist(self):
        with sql_error(self, '28000') as caught:
            self.connect(user='nobody')
        self.assertEqual(caught[0].message, 'role "nobody" does not exist')
        self.assert_usable()

    def test_no_user_name(self):
        with sql_error(self, '28000'):
            self.connect(user=None)

    def test_the_database_defaults_to_the_users_name(self):
        c = Connection(self.server.tcp, None, 'postgres')
        self.addCleanup(c.vanish)
        self.assertEqual(c.query('select current_database()').value, 'postgres')
        c.close()
        with self.connect(f'@{self.cell}') as c:
            self.assertEqual(c.query('select current_database()').value, 'postgres')
            c.query('create table t as select 1')
        self.assertEqual(self.connect().query('select count(*) from t').value, '1')

    def test_create_role_login_and_connect_as_it(self):
        with self.connect() as c:
            c.query('create role app login')
            c.query('create role nologin')
            c.query('create table secret as select 1; create table open as select 1; grant select on open to app')
        with self.connect(user='app') as c:
            self.assertEqual(c.query('select current_user, session_user, current_database()').rows, [('app', 'app', 'postgres')])
            self.assertEqual(c.parameters['is_superuser'], 'off')
            self.assertEqual(c.query('select count(*) from open').value, '1')
            for sql in ('select * from secret', 'create table t (i int)', 'create role r', 'select pg_read_file(\'PG_VERSION\')',
                        'alter system set work_mem = 1'):
                with self.subTest(sql=sql):
                    with sql_error(self, '42501'):
                        c.query(sql)
        with sql_error(self, '28000'):
            self.connect(user='nologin')

    def test_connection_limits_and_disallowed_databases(self):
        with self.connect() as c:
            c.query('create role limited login connection limit 0; create role app login')
            c.query('create database closed allow_connections false')
            c.query('create database locked')
            c.query('revoke connect on database locked from public')
        for sqlstate, database, user in (('53300', 'postgres', 'limited'), ('55000', 'closed', 'postgres'), ('42501', 'locked', 'app')):
            with self.subTest(database=database):
                with sql_error(self, sqlstate):
                    self.connect(f'{database}@{self.cell}', user)

    def test_what_a_session_knows_about_itself(self):
        c = self.connect(parameters=[('application_name', 'the test')])
        self.assertEqual(c.query('select current_user, session_user, current_database(), current_schema').rows,
                         [('postgres', 'postgres', 'postgres', 'public')])
        self.assertEqual(c.query('select pg_backend_pid()').value, str(c.pid))
        self.assertIn(c.pid, [p.pid for p in self.server.sessions()])
        self.assertRegex(c.query('select version()').value, r'^PostgreSQL 18\.\d+ on wasm32')
        self.assertEqual(c.query('show server_version').value, c.parameters['server_version'])
        for name, value in (('server_encoding', 'UTF8'), ('lc_collate', None), ('data_checksums', 'on'), ('fsync', 'on'),
                            ('max_connections', '100'), ('block_size', '8192'), ('is_superuser', 'on')):
            if value is not None:
                self.assertEqual((name, c.query(f'show {name}').value), (name, value))
        self.assertEqual(c.query('select pg_is_in_recovery()').value, 'f')
        row = c.query('''select pid, datname, usename, application_name, state, backend_type, query like '%who am i%',
                         backend_start <= now(), xact_start = now() from pg_stat_activity /* who am i */ where pid = pg_backend_pid()
                      ''').rows
        self.assertEqual(row, [(str(c.pid), 'postgres', 'postgres', 'the test', 'active', 'client backend', 't', 't', 't')])
        self.assertEqual(c.query("select datcollate, datlocprovider, datlocale from pg_database where datname = 'postgres'").rows,
                         [('C', 'b', 'C.UTF-8')])

    def test_addresses_over_tcp(self):
        c = self.connect()
        address, port = c.sock.getsockname()
        self.assertEqual(c.query('select host(inet_client_addr()), inet_client_port()').rows, [(address, str(port))])
        self.assertEqual(c.query('select client_addr, client_port from pg_stat_activity where pid = pg_backend_pid()').rows,
                         [(address, str(port))])
        self.assertEqual(c.query('select host(inet_server_addr()), inet_server_port()').rows, [('127.0.0.1', str(self.server.port))])

    def test_addresses_over_the_unix_socket(self):
        c = self.connect(unix=True)
        self.assertEqual(c.query('select inet_client_addr(), inet_client_port(), inet_server_addr(), inet_server_port()').rows,
                         [(None,) * 4])
        self.assertEqual(c.query('select client_addr, client_port from pg_stat_activity where pid = pg_backend_pid()').rows,
                         [(None, '-1')])

    def test_clocks_are_current(self):
        before = datetime.now(timezone.utc)
        with self.connect() as c:
            now, started, loaded = c.query('select now(), pg_postmaster_start_time(), pg_conf_load_time()').rows[0]
            first = parse_time(started)
        after = datetime.now(timezone.utc)
        self.assertTrue(before <= parse_time(now) <= after, now)
        self.assertTrue(before <= first <= after, f'this cell started at {started}, it is {before}')
        self.assertTrue(before <= parse_time(loaded) <= after, loaded)
        time.sleep(1.1)
        c = self.connect()
        self.assertEqual(parse_time(c.query('select pg_postmaster_start_time()').value), first, 'a cell starts once')
        self.assertGreater((parse_time(c.query('select now()').value) - first).total_seconds(), 1)
        self.assertGreaterEqual(parse_time(c.query('select backend_start from pg_stat_activity where pid = pg_backend_pid()').value), after)
        self.assertEqual(c.query("select extract(epoch from now())::bigint - extract(epoch from clock_timestamp())::bigint").value, '0')

    def test_a_private_cell_is_young(self):
        before = datetime.now(timezone.utc)
        c = self.connect('postgres@new')
        self.assertGreaterEqual(parse_time(c.query('select pg_postmaster_start_time()').value), before)


class Parallel(ServerCase):
    def in_threads(self, *functions):
        problems = []

        def run(function):
            try:
                function()
            except BaseException as error:  # shown by the assertion below
                problems.append(error)

        threads = [threading.Thread(target=run, args=(f,), daemon=True) for f in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(problems, [])
        self.assertFalse(any(t.is_alive() for t in threads), 'a thread is stuck')

    def test_sleeping_in_one_cell_delays_no_other(self):
        a, b = self.connect(f'{self.database}-a'), self.connect(f'{self.database}-b')
        a.send_query('select pg_sleep(4)')
        started = time.monotonic()
        for _ in range(10):
            b.query('select 1')
        with self.connect(f'{self.database}-c') as c:
            c.query('select 1')
        self.assertLess(time.monotonic() - started, 2)
        a.collect()
        self.assertGreaterEqual(time.monotonic() - started, 3.5)

    def test_two_computations_overlap(self):
        connections = [self.connect(f'{self.database}-{i}') for i in range(2)]
        spans = []

        def compute(c):
            row = c.query("""select extract(epoch from statement_timestamp()), sum(length(md5(i::text))),
                             extract(epoch from clock_timestamp()) from generate_series(1, 1500000) i""").rows[0]
            spans.append((float(row[0]), float(row[2])))

        self.in_threads(*(lambda c=c: compute(c) for c in connections))
        overlap = min(end for _, end in spans) - max(start for start, _ in spans)
        shortest = min(end - start for start, end in spans)
        self.assertGreater(overlap, shortest / 2, spans)

    def test_ten_cells_work_at_once(self):
        def work(i):
            with self.server.connect(f'{self.database}-{i}') as c:
                c.query('create table t (i int primary key, v text)')
                for j in range(100):
                    c.run('insert into t values ($1, $2)', [j, f'cell {i}'])
                rows = c.query('select count(*), min(v), max(v) from t').rows
                assert rows == [('100', f'cell {i}', f'cell {i}')], rows

        self.in_threads(*(lambda i=i: work(i) for i in range(10)))


class WaitingForACell(OwnServerCase):
    def test_a_second_session_is_refused_after_the_wait(self):
        server = self.serve('--sessions-per-cell', '1', '--session-wait', '700')
        with server.connect('postgres@busy') as first:
            started = time.monotonic()
            with sql_error(self, '53300') as caught:
                server.connect('postgres@busy')
            waited = time.monotonic() - started
            self.assertTrue(0.6 <= waited <= 4, waited)
            self.assertEqual(caught[0].severity, 'FATAL')
            self.assertIn('busy', caught[0].message)
            self.assertIn('in use by another session', caught[0].message)
            self.assertIn('--session-wait', caught[0].hint)
            self.assertEqual(first.query('select 1').value, '1')
        with server.connect('postgres@busy') as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_no_wait_at_all(self):
        server = self.serve('--sessions-per-cell', '1', '--session-wait', '0')
        with server.connect():
            started = time.monotonic()
            with sql_error(self, '53300'):
                server.connect()
            self.assertLess(time.monotonic() - started, 1)

    def test_a_second_session_is_served_when_the_first_leaves(self):
        server = self.serve('--sessions-per-cell', '1', '--session-wait', '10000')
        first = server.connect()
        first.query('create table t as select 1 as i')
        leave = threading.Timer(1, first.close)
        leave.start()
        started = time.monotonic()
        with server.connect() as second:
            self.assertEqual(second.query('select i from t').value, '1')
        self.assertTrue(0.9 <= time.monotonic() - started <= 4)
        leave.join()

    def test_who_waits_is_served_in_order(self):
        server = self.serve('--sessions-per-cell', '1', '--session-wait', '10000')
        first = server.connect()
        order = []

        def client(name):
            with server.connect() as c:
                order.append(name)
                c.query('select 1')

        threads = []
        for name in 'abc':
            threads.append(threading.Thread(target=client, args=(name,), daemon=True))
            threads[-1].start()
            time.sleep(0.3)
        first.close()
        for thread in threads:
            thread.join(10)
        self.assertEqual(order, list('abc'))

    def test_a_waiting_client_that_gives_up_is_forgotten(self):
        server = self.serve('--sessions-per-cell', '1', '--session-wait', '10000')
        first = server.connect()
        waiting = [Connection(server.tcp, start=False) for _ in range(3)]
        for c in waiting:
            c.sock.sendall(startup_packet([('user', 'postgres'), ('database', 'postgres')]))
        time.sleep(0.3)
        for c in waiting:
            c.vanish()
        time.sleep(0.2)
        first.close()
        with server.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_a_cancel_request_does_not_wait(self):
        """It needs no session of the cell: whoever fills the cell can be cancelled."""
        server = self.serve('--sessions-per-cell', '1', '--session-wait', '5000')
        c = server.connect()
        self.addCleanup(c.vanish)
        c.send_query('select pg_sleep(20)')
        time.sleep(0.5)
        started = time.monotonic()
        c.cancel()
        with sql_error(self, '57014'):
            c.collect()
        self.assertLess(time.monotonic() - started, 3)


if __name__ == '__main__':
    unittest.main()

"""The wire protocol, message by message."""
import hashlib
import os
import random
import struct
import threading
import time
import unittest

from pgwire import (BINARY, GSSENC_REQUEST, SSL_REQUEST, Connection, PgError, dial, errors_of, kinds, message, parameter_oids,
                    results_of, row_description, startup_packet)
from server import ServerCase, sql_error, wait_until

INT4, TEXT_TYPE = 23, 25
MEBI = 1 << 20


class StartUp(ServerCase):
    def test_parameters_that_drivers_rely_on(self):
        c = self.connect(parameters=[('application_name', 'e2e')])
        expected = {'server_encoding': 'UTF8', 'client_encoding': 'UTF8', 'integer_datetimes': 'on', 'is_superuser': 'on',
                    'session_authorization': 'postgres', 'standard_conforming_strings': 'on', 'TimeZone': 'UTC',
                    'DateStyle': 'ISO, MDY', 'IntervalStyle': 'postgres', 'application_name': 'e2e', 'in_hot_standby': 'off',
                    'default_transaction_read_only': 'off'}
        self.assertEqual({k: c.parameters.get(k) for k in expected}, expected)
        self.assertRegex(c.parameters['server_version'], r'^18\.')
        self.assertEqual(c.status, 'I')

    def test_a_changed_parameter_is_reported(self):
        c = self.connect()
        c.query("set timezone = 'Europe/Berlin'; set application_name = 'other'")
        self.assertEqual(c.parameters['TimeZone'], 'Europe/Berlin')
        self.assertEqual(c.parameters['application_name'], 'other')
        c.query('begin; set local timezone = 5')
        c.query('rollback')
        self.assertEqual(c.parameters['TimeZone'], 'Europe/Berlin')

    def test_startup_parameters_set_settings(self):
        c = self.connect(parameters=[('options', '-c work_mem=3MB --enable-seqscan=off'), ('DateStyle', 'German'),
                                     ('search_path', 'pg_catalog')])
        self.assertEqual(c.query('show work_mem').value, '3MB')
        self.assertEqual(c.query('show enable_seqscan').value, 'off')
        self.assertEqual(c.query('show search_path').value, 'pg_catalog')
        self.assertEqual(c.parameters['DateStyle'], 'German, DMY')

    def test_an_unknown_setting_is_refused(self):
        with sql_error(self, '42704'):
            self.connect(parameters=[('no_such_setting', '1')])
        self.assert_usable()

    def test_ssl_and_gssapi_requests_are_declined(self):
        for requests in ((SSL_REQUEST,), (GSSENC_REQUEST,), (GSSENC_REQUEST, SSL_REQUEST)):
            with self.subTest(requests=len(requests)), Connection(self.server.tcp, start=False) as c:
                for request in requests:
                    c.sock.sendall(request)
                    self.assertEqual(c.sock.recv(1), b'N')
                c.sock.sendall(startup_packet([('user', 'postgres'), ('database', self.database)]))
                c.finish_startup()
                self.assertEqual(c.query('select 1').value, '1')

    def test_protocol_3_2_has_a_long_cancel_key(self):
        c = self.connect(minor=2)
        self.assertIsNone(c.negotiated)
        self.assertEqual(len(c.key), 32)
        with self.connect(f'{self.database}-0') as old:
            self.assertEqual(len(old.key), 4)

    def test_newer_minor_versions_and_options_are_negotiated(self):
        c = self.connect(minor=9, parameters=[('_pq_.no_such_thing', '1')])
        minor, count = struct.unpack_from('!II', c.negotiated)
        self.assertEqual((minor & 0xffff, count), (2, 1))
        self.assertIn(b'_pq_.no_such_thing\0', c.negotiated)
        self.assertEqual(c.query('select 1').value, '1')

    def test_startup_packet_in_single_bytes(self):
        c = Connection(self.server.tcp, start=False)
        self.addCleanup(c.vanish)
        for byte in startup_packet([('user', 'postgres'), ('database', self.database)]):
            c.sock.sendall(bytes([byte]))
            time.sleep(0.001)
        c.finish_startup()
        self.assertEqual(c.query('select 1').value, '1')

    def test_queries_in_the_same_write_as_the_startup_packet(self):
        c = Connection(self.server.tcp, start=False)
        self.addCleanup(c.vanish)
        c.sock.sendall(startup_packet([('user', 'postgres'), ('database', self.database)]) +
                       message(b'Q', b'select 1\0') + message(b'Q', b'select 2\0'))
        c.finish_startup()
        self.assertEqual([c.collect()[0].value, c.collect()[0].value], ['1', '2'])


class SimpleQueries(ServerCase):
    def test_several_statements_in_one_message(self):
        results = self.connect().query_all('create table t (i int); insert into t values (1), (2); select * from t; drop table t')
        self.assertEqual([r.tag for r in results], ['CREATE TABLE', 'INSERT 0 2', 'SELECT 2', 'DROP TABLE'])
        self.assertEqual(results[2].rows, [('1',), ('2',)])

    def test_several_statements_are_one_transaction(self):
        c = self.connect()
        c.query('create table t (i int)')
        with sql_error(self, '22012'):
            c.query_all('insert into t values (1); select 1/0; insert into t values (2)')
        self.assertEqual(c.status, 'I')
        self.assertEqual(c.query('select count(*) from t').value, '0')

    def test_empty_query(self):
        c = self.connect()
        c.send_query('')
        self.assertEqual(kinds(c.read_batch()), 'IZ')
        c.send_query(' ;  ; -- nothing')
        self.assertEqual(kinds(c.read_batch()), 'IZ')

    def test_transaction_status_bytes(self):
        c = self.connect()
        c.query('begin')
        self.assertEqual(c.status, 'T')
        with self.assertRaises(PgError):
            c.query('select 1/0')
        self.assertEqual(c.status, 'E')
        with sql_error(self, '25P02'):
            c.query('select 1')
        self.assertEqual(c.query('commit').tag, 'ROLLBACK')
        self.assertEqual(c.status, 'I')

    def test_types_and_null_in_text_format(self):
        row = self.connect().query("""
            select 1::int2, 2::int8, 1.5::float8, 'NaN'::numeric, true, null, 'ä€𝄞'::text, '\\x00ff'::bytea,
                   '2024-02-29 12:00+00'::timestamptz, '{1,NULL,"a b"}'::text[], '{"a": [1]}'::jsonb, '[1,5)'::int4range,
                   row(1, 'x'), 'Infinity'::float4, '1 year 2 days'::interval, '192.168.0.0/16'::cidr
            """).rows[0]
        self.assertEqual(row, ('1', '2', '1.5', 'NaN', 't', None, 'ä€𝄞', '\\x00ff', '2024-02-29 12:00:00+00', '{1,NULL,"a b"}',
                               '{"a": [1]}', '[1,5)', '(1,x)', 'Infinity', '1 year 2 days', '192.168.0.0/16'))

    def test_other_client_encodings(self):
        c = self.connect(parameters=[('client_encoding', 'LATIN1')])
        c.sock.sendall(message(b'Q', b"select 'caf\xe9', length('caf\xe9')\0"))
        batch = c.read_batch()
        row = [body for kind, body in batch if kind == 'D'][0]
        self.assertIn(b'caf\xe9', row)
        self.assertTrue(row.endswith(b'4'))
        for encoding in ('WIN1252', 'EUC_JP', 'SJIS', 'BIG5', 'GBK', 'KOI8R', 'ISO_8859_5', 'UHC'):
            with self.subTest(encoding=encoding):
                c.query(f"set client_encoding = '{encoding}'")
                self.assertEqual(c.query("select 'plain'").value, 'plain')
        c.query("set client_encoding = 'LATIN1'")
        with sql_error(self, '22P05'):
            c.query("select chr(8364)")

    def test_invalid_utf8_is_refused(self):
        c = self.connect()
        c.sock.sendall(message(b'Q', b"select 'caf\xe9'\0"))
        self.assertEqual(errors_of(c.read_batch())[0].sqlstate, '22021')
        self.assertEqual(c.query('select 1').value, '1')


class ExtendedQueries(ServerCase):
    def test_prepared_statement(self):
        c = self.connect()
        c.parse('s', 'select $1::int + $2, $3::text', [INT4, INT4])
        c.describe_statement('s')
        c.sync()
        c.send()
        batch = c.read_batch()
        self.assertEqual(kinds(batch), '1tTZ')
        self.assertEqual(parameter_oids(batch[1][1]), [INT4, INT4, TEXT_TYPE])
        self.assertEqual([col.type_oid for col in row_description(batch[2][1])], [INT4, TEXT_TYPE])
        for a, b in ((1, 2), (30, 12)):
            c.bind('', 's', [a, b, None])
            c.execute()
            c.sync()
            c.send()
            batch = c.read_batch()
            self.assertEqual(kinds(batch), '2DCZ')
            self.assertEqual(results_of(batch)[0].rows, [(str(a + b), None)])
        c.close_statement('s')
        c.bind('', 's')
        c.sync()
        c.send()
        batch = c.read_batch()
        self.assertEqual(kinds(batch), '3EZ')
        self.assertEqual(errors_of(batch)[0].sqlstate, '26000')

    def test_run_with_text_parameters(self):
        c = self.connect()
        c.run('create table t (i int, v text)')
        for i in range(3):
            self.assertEqual(c.run('insert into t values ($1, $2)', [i, f'v{i}']).tag, 'INSERT 0 1')
        self.assertEqual(c.run('select v from t where i > $1 order by i', [0]).column, ['v1', 'v2'])

    def test_binary_parameters_and_results(self):
        c = self.connect()
        result = c.run('select $1::int4 + 1, $2::text, $3::float8, $4::bytea, $5::bool, $6::int8',
                       [struct.pack('!i', 41), 'ü'.encode(), struct.pack('!d', 1.5), b'\0\xff', b'\1', struct.pack('!q', -5)],
                       formats=[BINARY], result_formats=[BINARY])
        self.assertEqual(result.rows[0], (struct.pack('!i', 42), 'ü'.encode(), struct.pack('!d', 1.5), b'\0\xff', b'\1',
                                          struct.pack('!q', -5)))
        mixed = c.run('select 7, 7', result_formats=[BINARY, 0]).rows[0]
        self.assertEqual(mixed, (struct.pack('!i', 7), '7'))

    def test_bad_binary_parameter(self):
        c = self.connect()
        with sql_error(self, '08P01'):
            c.run('select $1::int4', [b'\0\0'], formats=[BINARY])
        with sql_error(self, '22P03'):
            c.run('select $1::int4', [b'\0\0\0\0\0'], formats=[BINARY])
        self.assertEqual(c.query('select 1').value, '1')

    def test_portal_with_row_limit(self):
        c = self.connect()
        c.parse('', 'select generate_series(1, 10)')
        c.bind('p', '')
        c.execute('p', 4)
        c.execute('p', 4)
        c.execute('p', 4)
        c.close_portal('p')
        c.sync()
        c.send()
        batch = c.read_batch()
        self.assertEqual(kinds(batch), '12' + 'DDDDs' + 'DDDDs' + 'DDC' + '3Z')
        self.assertEqual([r.column for r in results_of(batch)], [['1', '2', '3', '4'], ['5', '6', '7', '8'], ['9', '10']])

    def test_two_portals_at_once(self):
        c = self.connect()
        c.query('begin')
        c.parse('s', 'select generate_series($1::int, $1 + 3)')
        c.bind('a', 's', [10])
        c.bind('b', 's', [20])
        for portal in 'abab':
            c.execute(portal, 2)
        c.sync()
        c.send()
        self.assertEqual([r.column for r in results_of(c.read_batch())],
                         [['10', '11'], ['20', '21'], ['12', '13'], ['22', '23']])

    def test_a_portal_ends_with_its_transaction(self):
        c = self.connect()
        c.parse('', 'select generate_series(1, 10)')
        c.bind('p', '')
        c.execute('p', 1)
        c.sync()
        c.send()
        c.read_batch()
        c.execute('p', 1)
        c.sync()
        c.send()
        self.assertEqual(errors_of(c.read_batch())[0].sqlstate, '34000')

    def test_describe_unnamed_statement_and_portal(self):
        c = self.connect()
        c.parse('', 'select 1 as one, $1::text as two')
        c.describe_statement('')
        c.bind('', '', ['x'])
        c.describe_portal('')
        c.execute('')
        c.sync()
        c.send()
        batch = c.read_batch()
        self.assertEqual(kinds(batch), '1tT2TDCZ')
        self.assertEqual([col.name for col in row_description(batch[4][1])], ['one', 'two'])
        c.parse('', 'create table t ()')
        c.describe_statement('')
        c.sync()
        c.send()
        self.assertEqual(kinds(c.read_batch()), '1tnZ')

    def test_error_in_the_middle_of_a_batch_skips_to_sync(self):
        c = self.connect()
        c.query('create table t (i int primary key)')
        for value in (1, 2, 1, 3):
            c.parse('', 'insert into t values ($1)')
            c.bind('', '', [value])
            c.execute('')
        c.sync()
        c.parse('', 'select count(*) from t')
        c.bind()
        c.execute()
        c.sync()
        c.send()
        batch = c.read_batch()
        self.assertEqual(kinds(batch), '12C' '12C' '12E' 'Z')
        self.assertEqual(errors_of(batch)[0].sqlstate, '23505')
        self.assertEqual(results_of(c.read_batch())[0].value, '0')

    def test_pipeline_of_many_batches(self):
        c = self.connect()
        c.query('create table t (i int primary key)')
        for i in range(500):
            c.parse('', 'insert into t values ($1) returning i')
            c.bind('', '', [i // 2])  # every second one fails
            c.execute()
            c.sync()
        sending = c.send_in_background()
        outcomes = [kinds(c.read_batch()) for _ in range(500)]
        sending.join(10)
        self.assertEqual(outcomes, ['12DCZ', '12EZ'] * 250)
        self.assertEqual(c.query('select count(*) from t').value, '250')

    def test_mistakes_of_clients(self):
        c = self.connect()
        for sqlstate, mistake in (
                ('42P05', lambda: (c.parse('same', 'select 1'), c.parse('same', 'select 1'))),
                ('42P03', lambda: (c.parse('', 'select 1'), c.bind('p', ''), c.bind('p', ''))),
                ('26000', lambda: c.bind('', 'no such statement')),
                ('34000', lambda: c.execute('no such portal')),
                ('26000', lambda: c.describe_statement('no such statement')),
                ('34000', lambda: c.describe_portal('no such portal')),
                ('08P01', lambda: (c.parse('', 'select $1::int'), c.bind('', '', []))),
                ('42601', lambda: c.parse('', 'selekt 1')),
                ('42601', lambda: c.parse('', 'select 1; select 2')),
                ('42P18', lambda: c.parse('', 'select $2::int')),
                ('22P02', lambda: (c.parse('', 'select $1::int'), c.bind('', '', ['x'])))):
            with self.subTest(sqlstate=sqlstate):
                mistake()
                c.sync()
                c.send()
                errors = errors_of(c.read_batch())
                self.assertEqual([e.sqlstate for e in errors], [sqlstate])
        self.assertEqual(c.query('select 1').value, '1')

    def test_flush_sends_what_is_there(self):
        c = self.connect()
        c.parse('', 'select generate_series(1, 3)')
        c.flush()
        c.send()
        self.assertEqual(c.read_message()[0], '1')
        c.bind()
        c.flush()
        c.send()
        self.assertEqual(c.read_message()[0], '2')
        c.execute('', 2)
        c.flush()
        c.send()
        self.assertEqual(''.join(c.read_message()[0] for _ in range(3)), 'DDs')
        c.sync()
        c.send()
        self.assertEqual(c.read_batch()[-1], ('Z', b'I'))

    def test_sync_alone(self):
        c = self.connect()
        for _ in range(3):
            c.sync()
        c.send()
        self.assertEqual(kinds(c.read_batch() + c.read_batch() + c.read_batch()), 'ZZZ')

    def test_a_statement_is_planned_anew_after_ddl(self):
        c = self.connect()
        c.query('create table t (i int); insert into t values (1)')
        c.parse('s', 'select * from t')
        c.bind('', 's')
        c.execute()
        c.sync()
        c.send()
        c.read_batch()
        c.query('create index on t (i); analyze t')
        c.bind('', 's')
        c.execute()
        c.sync()
        c.send()
        self.assertEqual(results_of(c.read_batch())[0].rows, [('1',)])
        c.query('alter table t add column j int')
        c.bind('', 's')
        c.execute()
        c.sync()
        c.send()
        error = errors_of(c.read_batch())[0]
        self.assertEqual((error.sqlstate, error.message), ('0A000', 'cached plan must not change result type'))


class Copy(ServerCase):
    def test_in_and_out(self):
        c = self.connect()
        c.query('create table t (i int, v text)')
        rows = [f'{i}\tvalue {i}\n'.encode() for i in range(10000)]
        self.assertEqual(c.copy_in('copy t from stdin', rows), 'COPY 10000')
        self.assertEqual(c.copy_out('copy (select * from t order by i) to stdout'), b''.join(rows))
        self.assertEqual(c.query('select sum(i) from t').value, str(sum(range(10000))))

    def test_messages_cut_anywhere(self):
        c = self.connect()
        c.query('create table t (i int, v text)')
        data = b''.join(f'{i}\tvalue {i}\n'.encode() for i in range(300))
        for size in (1, 7, 1000):
            c.query('delete from t')
            tag = c.copy_in('copy t from stdin', [data[i:i + size] for i in range(0, len(data), size)])
            self.assertEqual((size, tag), (size, 'COPY 300'))
            self.assertEqual(c.copy_out('copy t to stdout'), data)

    def test_binary_and_csv(self):
        c = self.connect()
        c.query("create table t (i int, v text); insert into t values (1, 'a,\"b'), (2, null)")
        binary = c.copy_out('copy t to stdout (format binary)')
        self.assertTrue(binary.startswith(b'PGCOPY\n\xff\r\n\0'))
        self.assertEqual(c.copy_out('copy t to stdout (format csv, header)'), b'i,v\n1,"a,""b"\n2,\n')
        c.query('create table u (like t)')
        self.assertEqual(c.copy_in('copy u from stdin (format binary)', [binary]), 'COPY 2')
        self.assertEqual(c.query('select count(*) from t join u using (i)').value, '2')

    def test_copy_fail(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.send_query('copy t from stdin')
        self.assertEqual(c.read_message()[0], 'G')
        c.sock.sendall(message(b'd', b'1\n') + message(b'f', b'changed my mind\0'))
        with sql_error(self, '57014') as caught:
            c.collect()
        self.assertEqual(caught[0].message, 'COPY from stdin failed: changed my mind')
        self.assertEqual(c.query('select count(*) from t').value, '0')

    def test_bad_row(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.send_query('copy t from stdin')
        c.read_message()
        c.sock.sendall(message(b'd', b'1\n2\nthree\n4\n') + message(b'd', b'5\n') + message(b'c'))
        with sql_error(self, '22P02') as caught:
            c.collect()
        self.assertEqual(caught[0].fields['W'], 'COPY t, line 3, column i: "three"')
        self.assertEqual(c.query('select count(*) from t').value, '0')

    def test_a_query_in_the_middle_of_copy_in(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.send_query('copy t from stdin')
        c.read_message()
        c.sock.sendall(message(b'd', b'1\n') + message(b'Q', b'select 1\0'))
        errors = errors_of(c.read_to_end())
        self.assertEqual([(e.severity, e.sqlstate) for e in errors], [('ERROR', '08P01'), ('FATAL', '08P01')])
        self.assertEqual(self.connect().query('select count(*) from t').value, '0')

    def test_extended_protocol(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.parse('', 'copy t from stdin')
        c.bind()
        c.execute()
        c.flush()
        c.send()
        self.assertEqual(''.join(c.read_message()[0] for _ in range(3)), '12G')
        c.sock.sendall(message(b'd', b'1\n2\n') + message(b'c'))
        c.sync()
        c.send()
        self.assertEqual(kinds(c.read_batch()), 'CZ')
        c.parse('', 'copy t to stdout')
        c.bind()
        c.execute()
        c.sync()
        c.send()
        self.assertEqual(kinds(c.read_batch()), '12HddcCZ')

    def test_a_client_that_reads_slowly(self):
        """Output that the client does not take must not spin, be lost or stop the rest."""
        c = self.connect()
        c.send_query("copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout")
        time.sleep(1)
        ticks_before = self.cpu_ticks(c.pid)
        time.sleep(1)
        spent = self.cpu_ticks(c.pid) - ticks_before
        batch = c.read_batch()
        self.assertEqual(sum(len(body) for kind, body in batch if kind == 'd'), 20000 * 1001)
        self.assertLess(spent, 30, 'the session span while its client did not read')

    def cpu_ticks(self, pid):
        with open(f'/proc/{pid}/stat', encoding='ascii') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return int(fields[11]) + int(fields[12])


class NoticesAndErrors(ServerCase):
    def test_a_notice_with_every_field(self):
        c = self.connect()
        c.query("""do $$ begin
            raise warning 'the message' using errcode = '01ABC', detail = 'the detail', hint = 'the hint', column = 'col',
                constraint = 'con', datatype = 'typ', table = 'tab', schema = 'sch';
            end $$""")
        notice = c.notices[0]
        expected = {'S': 'WARNING', 'V': 'WARNING', 'C': '01ABC', 'M': 'the message', 'D': 'the detail', 'H': 'the hint',
                    'c': 'col', 'n': 'con', 'd': 'typ', 't': 'tab', 's': 'sch'}
        self.assertEqual({k: notice.get(k) for k in expected}, expected)
        self.assertIn('PL/pgSQL function inline_code_block line 2 at RAISE', notice['W'])
        self.assertEqual((notice['F'], notice['R']), ('pl_exec.c', 'exec_stmt_raise'))
        self.assertTrue(notice['L'].isdigit())

    def test_notices_arrive_in_order_and_while_the_query_runs(self):
        c = self.connect()
        c.send_query("do $$ begin raise notice 'one'; perform pg_sleep(2); raise notice 'two'; end $$")
        started = time.monotonic()
        kind, _ = c.read_raw()
        self.assertEqual(kind, 'N')
        self.assertLess(time.monotonic() - started, 1.5)
        c.collect()
        self.assertEqual([n['M'] for n in c.notices], ['two'])

    def test_client_min_messages(self):
        c = self.connect()
        c.query("set client_min_messages = warning; do $$ begin raise notice 'quiet'; end $$")
        self.assertEqual(c.notices, [])

    def test_position_of_a_syntax_error(self):
        c = self.connect()
        with sql_error(self, '42601') as caught:
            c.query('select 1 form t')
        self.assertEqual(caught[0].fields['P'], '15')
        self.assertEqual(caught[0].message, 'syntax error at or near "t"')

    def test_position_inside_an_internal_query(self):
        c = self.connect()
        c.query("create function f() returns void language plpgsql as $$ begin execute 'select nonsense'; end $$")
        with sql_error(self, '42703') as caught:
            c.query('select f()')
        self.assertEqual((caught[0].fields['q'], caught[0].fields['p']), ('select nonsense', '8'))

    def test_fields_of_constraint_violations(self):
        c = self.connect()
        c.query('create table t (i int primary key, j int not null check (j > 0)); insert into t values (1, 1)')
        for sqlstate, values, field, value in (('23505', '1, 1', 'n', 't_pkey'), ('23502', '2, null', 'c', 'j'),
                                               ('23514', '2, 0', 'n', 't_j_check')):
            with self.subTest(sqlstate=sqlstate):
                with sql_error(self, sqlstate) as caught:
                    c.query(f'insert into t values ({values})')
                fields = caught[0].fields
                self.assertEqual((fields['s'], fields['t'], fields[field]), ('public', 't', value))

    def test_the_session_goes_on_after_a_thousand_errors(self):
        c = self.connect()
        for i in range(1000):
            with self.assertRaises(PgError):
                c.query('select 1/0' if i % 2 else 'select nonsense')
        self.assertEqual(c.query('select 1').value, '1')


class Notifications(ServerCase):
    def test_listen_and_notify_to_oneself(self):
        c = self.connect()
        c.query('listen a; notify a, \'payload\'; notify b')
        self.assertEqual(c.notifications or [c.wait_notification()], [(c.pid, 'a', 'payload')])
        c.notifications.clear()
        c.query("begin; select pg_notify('a', '1'); select pg_notify('a', '2'); select pg_notify('a', '1')")
        self.assertEqual(c.notifications, [])
        c.query('commit')
        self.assertEqual(c.notifications, [(c.pid, 'a', '1'), (c.pid, 'a', '2')])
        c.query('begin; notify a; rollback')
        c.query('unlisten *; notify a')
        self.assertEqual(len(c.notifications), 2)

    def test_a_large_payload(self):
        c = self.connect()
        c.query('listen a')
        c.query(f"notify a, '{'x' * 7999}'")
        self.assertEqual(len((c.notifications or [c.wait_notification()])[0][2]), 7999)
        with sql_error(self, '22023'):
            c.query(f"notify a, '{'x' * 8000}'")

    def test_many_notifications(self):
        """More than the queue's pages in memory."""
        c = self.connect()
        c.query('listen a')
        for batch in range(10):
            c.query(f"select pg_notify('a', repeat('x', 900) || i) from generate_series(1, 500) i")
        self.assertTrue(wait_until(lambda: c.query('select 1') and len(c.notifications) == 5000, 5), len(c.notifications))


class Timeouts(ServerCase):
    def test_statement_timeout_while_sleeping(self):
        c = self.connect()
        c.query('set statement_timeout = 300')
        started = time.monotonic()
        with sql_error(self, '57014') as caught:
            c.query('select pg_sleep(20)')
        self.assertLess(time.monotonic() - started, 5)
        self.assertEqual(caught[0].message, 'canceling statement due to statement timeout')
        self.assertEqual(c.query('select 1').value, '1')

    def test_statement_timeout_while_computing(self):
        c = self.connect()
        for sql in ('select count(*) from generate_series(1, 100000000000)', 'do $$ begin loop end loop; end $$',
                    'with recursive r(i) as (select 1 union all select i + 1 from r) select count(*) from r where i < 0',
                    "select count(*) from (select md5(i::text) from generate_series(1, 100000) i, generate_series(1, 10000)) x"):
            with self.subTest(sql=sql[:40]):
                c.query('set statement_timeout = 300')
                started = time.monotonic()
                with sql_error(self, '57014'):
                    c.query(sql)
                self.assertLess(time.monotonic() - started, 5)
                c.query('set statement_timeout = 0')
        self.assertEqual(c.query('select 1').value, '1')

    def test_statement_timeout_in_a_transaction(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.query("begin; insert into t values (1); set local statement_timeout = 200")
        with sql_error(self, '57014'):
            c.query('select pg_sleep(10)')
        self.assertEqual(c.status, 'E')
        c.query('rollback')
        self.assertEqual(c.query('select count(*) from t').value, '0')
        c.query('select pg_sleep(0.4)')

    def test_idle_in_transaction_session_timeout(self):
        c = self.connect()
        c.query('set idle_in_transaction_session_timeout = 300')
        time.sleep(0.6)
        c.query('create table t (i int)')
        c.query('begin; insert into t values (1)')
        c.set_timeout(5)
        error = c.read_fatal()
        self.assertEqual((error.severity, error.sqlstate), ('FATAL', '25P03'))
        with self.connect() as again:
            self.assertEqual(again.query('select count(*) from t').value, '0')

    def test_idle_session_timeout(self):
        c = self.connect()
        c.query('set idle_session_timeout = 300')
        c.set_timeout(5)
        error = c.read_fatal()
        self.assertEqual((error.severity, error.sqlstate), ('FATAL', '57P05'))
        self.assert_usable()

    def test_transaction_timeout(self):
        c = self.connect()
        c.query('set transaction_timeout = 300')
        c.query('begin')
        c.set_timeout(5)
        error = c.read_fatal()
        self.assertEqual((error.severity, error.sqlstate), ('FATAL', '25P04'))
        self.assert_usable()

    def test_lock_timeout_spares_who_holds_the_lock(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.query('set lock_timeout = 200')
        c.query('begin; lock table t')
        c.query('select pg_sleep(0.5)')
        c.query('insert into t values (1)')
        self.assertEqual(c.query('commit').tag, 'COMMIT')

    def test_sleep_takes_its_time(self):
        c = self.connect()
        started = time.monotonic()
        row = c.query('select clock_timestamp() as a, pg_sleep(0.5), clock_timestamp() - statement_timestamp()').rows[0]
        self.assertGreaterEqual(time.monotonic() - started, 0.5)
        self.assertRegex(row[2], r'^00:00:00\.[5-9]|^00:00:0[1-3]')

    def test_an_idle_session_uses_no_processor(self):
        c = self.connect()
        c.query('select 1')
        before = self.cpu_ticks(c.pid)
        time.sleep(2)
        self.assertLessEqual(self.cpu_ticks(c.pid) - before, 2)

    def cpu_ticks(self, pid):
        with open(f'/proc/{pid}/stat', encoding='ascii') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return int(fields[11]) + int(fields[12])


class Cancel(ServerCase):
    def cancelled(self, c, sql):
        """The seconds that the cancel took."""
        c.send_query(sql)
        time.sleep(0.5)
        started = time.monotonic()
        c.cancel()
        c.set_timeout(10)
        with sql_error(self, '57014') as caught:
            c.collect()
        self.assertEqual(caught[0].message, 'canceling statement due to user request')
        return time.monotonic() - started

    def test_while_sleeping(self):
        c = self.connect()
        self.assertLess(self.cancelled(c, 'select pg_sleep(20)'), 3)
        self.assertEqual(c.query('select 1').value, '1')

    def test_while_computing(self):
        c = self.connect()
        self.assertLess(self.cancelled(c, 'select count(*) from generate_series(1, 100000000000)'), 3)
        self.assertLess(self.cancelled(c, 'do $$ begin loop end loop; end $$'), 3)
        self.assertEqual(c.query('select 1').value, '1')

    def test_over_the_unix_socket(self):
        c = self.connect(unix=True)
        self.assertLess(self.cancelled(c, 'select pg_sleep(20)'), 3)

    def test_with_protocol_3_2(self):
        c = self.connect(minor=2)
        self.assertLess(self.cancelled(c, 'select pg_sleep(20)'), 3)

    def test_during_copy_in(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.send_query('copy t from stdin')
        self.assertEqual(c.read_message()[0], 'G')
        c.sock.sendall(message(b'd', b'1\n'))
        time.sleep(0.3)
        c.cancel()
        time.sleep(0.3)
        # PostgreSQL does not interrupt the wait for the client's data (ProcessClientReadInterrupt): it notices with the next row
        c.sock.sendall(message(b'd', b'2\n') * 2)
        c.set_timeout(10)
        with sql_error(self, '57014'):
            c.collect()
        self.assertEqual(c.query('select count(*) from t').value, '0')

    def test_a_wrong_key_cancels_nothing(self):
        c = self.connect()
        c.send_query('select pg_sleep(1.5)')
        time.sleep(0.3)
        c.cancel(bytes(b ^ 0xff for b in c.key))
        c.cancel(b'\0\0\0\0')
        self.assertEqual(len(c.collect()[0].rows), 1)

    def test_an_idle_session_takes_no_harm(self):
        c = self.connect()
        for _ in range(5):
            c.cancel()
        time.sleep(0.3)
        self.assertEqual(c.query('select 1').value, '1')
        self.assertEqual(c.query('select 2').value, '2')

    def test_pg_cancel_backend_of_oneself(self):
        c = self.connect()
        with sql_error(self, '57014'):
            c.query('select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)')
        self.assertEqual(c.query('select 1').value, '1')

    def test_pg_terminate_backend_of_oneself(self):
        c = self.connect()
        c.send_query('select pg_terminate_backend(pg_backend_pid()), pg_sleep(5)')
        self.assertEqual(c.read_fatal().sqlstate, '57P01')
        self.assert_usable()


class Messages(ServerCase):
    seconds = 120

    def test_64_mib_both_ways_as_parameter(self):
        c = self.connect(timeout=90)
        text = os.urandom(32 * MEBI).hex()
        result = c.run('select md5($1::text), length($1), $1', [text])
        md5, length, echo = result.rows[0]
        self.assertEqual((md5, length), (hashlib.md5(text.encode()).hexdigest(), str(64 * MEBI)))
        self.assertTrue(echo == text, 'what came back differs')

    def test_64_mib_both_ways_in_a_simple_query(self):
        c = self.connect(timeout=90)
        text = os.urandom(32 * MEBI).hex()
        self.assertTrue(c.query(f"select '{text}'").value == text, 'what came back differs')
        self.assertEqual(c.query('select 1').value, '1')

    def test_a_message_in_single_bytes(self):
        c = self.connect()
        for byte in message(b'Q', b"select 'one byte at a time'\0"):
            c.sock.sendall(bytes([byte]))
            time.sleep(0.001)
        self.assertEqual(c.collect()[0].value, 'one byte at a time')

    def test_many_small_messages_in_one_write(self):
        c = self.connect()
        for i in range(3000):
            c.queue_query(f'select {i}')
        sending = c.send_in_background()
        self.assertEqual([c.collect()[0].value for i in range(3000)], [str(i) for i in range(3000)])
        sending.join(10)

    def test_messages_of_every_size_around_the_buffers(self):
        c = self.connect()
        for size in [8192 * k + d for k in (1, 2, 8) for d in range(-20, 21, 4)]:
            text = 'x' * size
            self.assertEqual(len(c.query(f"select '{text}'").value), size)

    def test_wide_and_long_results(self):
        c = self.connect()
        self.assertEqual(len(c.query('select ' + ', '.join(map(str, range(1600)))).rows[0]), 1600)
        self.assertEqual(len(c.query('select * from generate_series(1, 300000)').rows), 300000)

    def test_function_call(self):
        c = self.connect()
        oid = int(c.query("select 'int4pl'::regproc::oid").value)
        c.sock.sendall(message(b'F', struct.pack('!IHHHi2si2sH', oid, 1, 0, 2, 2, b'40', 2, b'02', 0)))
        batch = c.read_batch()
        self.assertEqual(kinds(batch), 'VZ')
        self.assertEqual(batch[0][1], struct.pack('!I', 2) + b'42')
        c.sock.sendall(message(b'F', struct.pack('!IHHHH', 0xfffffff, 0, 0, 0, 0)))
        self.assertEqual(errors_of(c.read_batch())[0].sqlstate, '42883')
        self.assertEqual(c.query('select 1').value, '1')

    def test_terminate_ends_the_session(self):
        c = self.connect()
        pid = c.pid
        self.assertIn(pid, [p.pid for p in self.server.sessions()])
        c.close()
        self.assertTrue(wait_until(lambda: pid not in [p.pid for p in self.server.sessions()]))


class ProtocolViolations(ServerCase):
    """Each ends as it does in PostgreSQL, and the cell stays usable."""

    def send(self, data):
        c = self.connect(timeout=10)
        try:
            c.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server did not wait for the rest
        return c

    def assert_closed_without_a_word(self, data):
        """PostgreSQL only logs lengths that cannot be: the client has lost its way and would not understand."""
        c = self.send(data)
        self.assertEqual(kinds(c.read_to_end()), '')
        self.assertIn('invalid message length', self.log())
        self.assert_usable()

    def test_unknown_message_type(self):
        error = self.send(message(b'!', b'what')).read_fatal()
        self.assert_usable()
        self.assertEqual((error.severity, error.sqlstate), ('FATAL', '08P01'))
        self.assertEqual(error.message, 'invalid frontend message type 33')

    def test_length_below_the_minimum(self):
        for length in (0, 3):
            self.assert_closed_without_a_word(b'Q' + struct.pack('!I', length) + b'select 1\0')

    def test_length_beyond_the_maximum(self):
        for length in (0x7fffffff, 0xffffffff, 0x40000000):
            self.assert_closed_without_a_word(b'Q' + struct.pack('!I', length) + b'select 1\0')

    def test_sync_with_a_length_that_lies(self):
        self.assert_closed_without_a_word(b'S' + struct.pack('!I', 100000) + b'x' * 99996)

    def test_a_message_cut_short_by_the_end(self):
        c = self.connect()
        c.sock.sendall(b'Q' + struct.pack('!I', 1000) + b'select 1')
        time.sleep(0.2)
        c.vanish()
        self.assert_usable()

    def test_inner_lengths_that_lie(self):
        """The message's frame is right, so the session goes on after Sync."""
        c = self.connect()
        for name, data in (
                ('query without terminator', message(b'Q', b'select 1')),
                ('query with something behind it', message(b'Q', b'select 1\0more')),
                ('empty query body', message(b'Q', b'')),
                ('parse without its counts', message(b'P', b'\0select 1\0')),
                ('bind whose value is longer than the message', message(b'B', b'\0\0' + struct.pack('!HHI', 0, 1, 1000) + b'x')),
                ('bind with a negative length', message(b'B', b'\0\0' + struct.pack('!HHi', 0, 1, -2))),
                ('bind with 65535 formats', message(b'B', b'\0\0' + struct.pack('!H', 65535))),
                ('execute without limit', message(b'E', b'\0')),
                ('describe of an unknown kind', message(b'D', b'X\0')),
                ('close of an unknown kind', message(b'C', b'X\0'))):
            with self.subTest(name):
                c.sock.sendall(message(b'P', b'\0select $1::int\0\0\0') + data + message(b'S'))
                batch = c.read_batch()
                if data[:1] == b'Q':  # has a ReadyForQuery of its own, unless the error skips to Sync
                    errors = errors_of(batch) or errors_of(c.read_batch())
                else:
                    errors = errors_of(batch)
                self.assertEqual([e.sqlstate for e in errors], ['08P01'], kinds(batch))
                self.drain(c)
        self.assertEqual(c.query('select 1').value, '1')

    def drain(self, c):
        """Up to the answer of a query of ours: how many ReadyForQuery came before does not matter."""
        c.send_query("select 'drained'")
        while True:
            kind, body = c.read_message()
            if kind == 'D' and body.endswith(b'drained'):
                c.read_batch()
                return

    def test_copy_data_without_copy_is_ignored(self):
        c = self.connect()
        c.sock.sendall(message(b'd', b'1\n') + message(b'c') + message(b'f', b'no\0'))
        self.assertEqual(c.query('select 1').value, '1')

    def test_random_messages(self):
        """Valid frames, random contents: never more than an error or an orderly end."""
        generator = random.Random(20241121)
        for _ in range(40):
            c = self.connect(timeout=10)
            data = b''.join(message(bytes([generator.choice(b'QPBEDCSHFpdcf')]), generator.randbytes(generator.randrange(60)))
                            for _ in range(20))
            try:
                c.sock.sendall(data + message(b'X'))
                c.read_to_end()
            except (ConnectionResetError, BrokenPipeError):
                pass
            c.vanish()
        self.assert_usable()
        self.assertNotIn('abnormally', self.log())


class Concurrency(ServerCase):
    def test_fifty_clients_start_at_once(self):
        problems = []

        def client(number):
            try:
                with self.server.connect(f'{self.database}-{number}') as c:
                    c.query(f'create table t as select {number} as n')
                    if c.query('select n from t').value != str(number):
                        problems.append(f'{number}: wrong content')
            except Exception as error:  # reported below
                problems.append(f'{number}: {error!r}')

        threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(problems, [])
        self.assertFalse(any(t.is_alive() for t in threads))

    def test_half_open_connections_hinder_nobody(self):
        silent = [dial(self.server.tcp) for _ in range(50)]
        self.assert_usable()
        for sock in silent:
            sock.close()
        self.assert_usable()


if __name__ == '__main__':
    unittest.main()

"""Bad input, everywhere: a clear error, nothing lost, nothing leaked, and the next request works."""
import contextlib
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

from image import FIELDS, HEADER_BYTES, PAGE, ImageCopy
from pgwire import Connection, PgError, cancel_packet, dial, errors_of, message, parse_fields, startup_packet
from server import IMAGE, OwnServerCase, ServerCase, sql_error, wait_until


class RefusedStart(OwnServerCase):
    """Servers that must not start: one line that says why, a status that is not 0, nothing left."""

    def assert_refused(self, expected, *options, **kwargs):
        server = self.make(*options, **kwargs).launch()
        try:
            status = server.wait(10)
        except subprocess.TimeoutExpired:
            self.fail(f'it runs; expected {expected!r}\n{server.stderr()}')
        said = server.stderr()
        self.assertEqual(server.process.stdout.read(), '')
        self.assertIn(status, (1, 2), said)
        self.assertIn(expected, said)
        self.assertEqual(said.count('\n'), 1, said)
        self.assertRegex(said, r'^pgcell')
        server.assert_nothing_left(self)
        server.release()
        return said

    # ---- addresses ----

    def test_a_tcp_port_in_use(self):
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen()
            port = other.getsockname()[1]
            said = self.assert_refused('is in use by another program', listen=f'127.0.0.1:{port}')
            self.assertIn(str(port), said)
            self.assertIn('--listen', said)

    def test_two_servers_on_one_tcp_port(self):
        first = self.serve()
        self.assert_refused('in use', listen=f'127.0.0.1:{first.port}')
        with first.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_a_socket_in_use(self):
        first = self.serve(listen='none')
        self.assert_refused('is in use by another server', listen='none', socket_dir=first.socket_dir)
        with first.connect(unix=True) as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_something_else_in_the_sockets_place(self):
        folder = self.private_folder()
        with open(os.path.join(folder, '.s.PGSQL.5432'), 'w', encoding='ascii') as f:
            f.write('precious')
        self.assert_refused('is in the way', listen='none', socket_dir=folder)
        with open(f.name, encoding='ascii') as f:
            self.assertEqual(f.read(), 'precious')

    def private_folder(self):
        server = self.make()
        os.mkdir(server.socket_dir, 0o700)
        return server.socket_dir

    def test_a_socket_folder_that_others_can_enter(self):
        folder = self.private_folder()
        os.chmod(folder, 0o755)
        self.assert_refused('open to other users', socket_dir=folder)

    def test_a_socket_folder_that_is_a_file_or_a_link(self):
        folder = self.private_folder()
        os.symlink(folder, folder + '-link')
        self.assert_refused('is not a folder', socket_dir=folder + '-link')
        with open(folder + '-file', 'w', encoding='ascii'):
            pass
        self.assert_refused('is not a folder', socket_dir=folder + '-file')

    def test_a_socket_folder_whose_parent_is_not_there(self):
        self.assert_refused('cannot create the socket folder', socket_dir='/nonexistent/pgcell')

    def test_a_socket_path_that_is_too_long(self):
        self.assert_refused('too long', socket_dir='/tmp/' + 'x' * 150)

    def test_addresses_of_other_machines(self):
        self.assert_refused('other machines could connect', listen='0.0.0.0:0')

    # ---- images ----

    def copy(self):
        server = self.make()
        return ImageCopy(IMAGE, os.path.join(server.folder, 'copy.img'))

    def test_the_tests_know_the_images_layout(self):
        good = self.copy()
        self.assertEqual(good.checksum(), good.get('checksum'))
        self.assertEqual(good.get('file_bytes'), len(good.data))
        good.fix_checksum()
        good.save()
        self.serve(image=good.path)

    def test_no_image(self):
        self.assert_refused('No such file or directory', image='/nonexistent/pgcell.img')

    def test_an_image_that_is_a_folder(self):
        self.assert_refused('/tmp', image='/tmp')

    def test_an_unreadable_image(self):
        copy = self.copy()
        os.symlink(copy.path, copy.path)  # a loop: root cannot read that either
        self.assert_refused("can't open the image", image=copy.path)
        os.unlink(copy.path)
        if os.geteuid() != 0:
            copy.save()
            os.chmod(copy.path, 0)
            self.assert_refused('Permission denied', image=copy.path)

    def test_files_that_are_no_image(self):
        copy = self.copy()
        for name, data in (('empty', b''), ('one byte', b'p'), ('random', os.urandom(1 << 20)), ('text', b'hello\n' * 10000),
                           ('zeros', bytes(1 << 20))):
            with self.subTest(name):
                copy.data = data
                copy.save()
                self.assert_refused('is not a pgcell image', image=copy.path)
        self.assert_refused('is not a pgcell image', image='/bin/sh')

    def test_a_truncated_image(self):
        copy = self.copy()
        whole = bytes(copy.data)
        for length in (100, HEADER_BYTES, PAGE, PAGE + 8, len(whole) // 2, len(whole) - 1):
            with self.subTest(length=length):
                copy.data = whole[:length]
                copy.save()
                said = self.assert_refused('image', image=copy.path)
                self.assertRegex(said, 'is damaged|is not a pgcell image')

    def test_an_image_that_grew(self):
        copy = self.copy()
        copy.data += bytes(PAGE)
        copy.save()
        self.assert_refused('is damaged', image=copy.path)

    def test_one_byte_flipped_in_the_header(self):
        copy = self.copy()
        for offset in list(range(0, HEADER_BYTES, 5)) + [PAGE, PAGE + 9]:
            copy.data[offset] ^= 0x41
            copy.save()
            self.assert_refused('image', image=copy.path)
            copy.data[offset] ^= 0x41

    def test_an_image_of_another_build(self):
        copy = self.copy()
        copy.put('build_id', b'0123456789abcdef' * 4)
        copy.fix_checksum()
        copy.save()
        said = self.assert_refused('belongs to another build', image=copy.path)
        self.assertIn('0123456789ab', said)

    def test_an_image_of_another_format_or_contract(self):
        for field in ('format_version', 'contract_version'):
            with self.subTest(field):
                copy = self.copy()
                copy.put(field, 999)
                copy.fix_checksum()
                copy.save()
                self.assert_refused('another' if field == 'contract_version' else 'another build', image=copy.path)

    def test_an_image_whose_parts_lie(self):
        copy = self.copy()
        for field in [f for f in FIELDS if f.startswith('part')] + ['total_runs', 'file_bytes']:
            good = copy.get(field)
            for bad in (good + 1, good ^ 0x80000000, 0xfffff000):
                with self.subTest(field=field, bad=hex(bad)):
                    copy.put(field, bad)
                    if copy.get('total_runs') < 1000000:
                        copy.fix_checksum()
                    copy.save()
                    if field.endswith('first_run') and field < 'part2':
                        continue  # without a meaning there
                    if field.endswith('.runs') and field < 'part2':
                        continue
                    self.assert_refused('image', image=copy.path)
            copy.put(field, good)


class StartUpPackets(ServerCase):
    """Before there is a session. Each ends at once or in time, and the server goes on."""

    options = ('--startup-timeout', '1000', '--verbose')

    def tearDown(self):
        self.assert_usable()
        self.assertNotIn('abnormally', self.log())

    def answer(self, data, seconds=5):
        """What the server says to these bytes, until it closes the connection."""
        with dial(self.server.tcp, seconds) as sock:
            sock.sendall(data)
            answer = b''
            with contextlib.suppress(ConnectionResetError):
                while chunk := sock.recv(65536):
                    answer += chunk
            return answer

    def refused(self, data):
        """The error in the answer."""
        answer = self.answer(data)
        self.assertEqual(answer[:1], b'E', answer)
        self.assertEqual(len(answer), 1 + struct.unpack_from('!I', answer, 1)[0])
        return PgError(parse_fields(answer[5:]))

    def test_lengths_that_cannot_be(self):
        for length in (0, 3, 4, 7, 10005, 0x7fffffff, 0xffffffff):
            with self.subTest(length=length):
                started = time.monotonic()
                self.assertEqual(self.answer(struct.pack('!II', length, 3 << 16) + b'user\0postgres\0\0'), b'')
                self.assertLess(time.monotonic() - started, 0.9, 'it waited for the time-out')

    def test_a_length_that_promises_more(self):
        started = time.monotonic()
        packet = struct.pack('!II', 100, 3 << 16) + b'user\0postgres\0\0'
        self.assertEqual(self.answer(packet), b'')
        self.assertTrue(0.8 <= time.monotonic() - started <= 4)

    def test_a_length_that_promises_more_and_a_hang_up(self):
        with dial(self.server.tcp) as sock:
            sock.sendall(struct.pack('!II', 100, 3 << 16) + b'user\0post')
        self.assertTrue(wait_until(lambda: 'incomplete startup packet' in self.log()))

    def test_a_packet_without_its_terminator(self):
        for body in (b'user\0postgres\0', b'user\0postgres', b'user\0', b'x' * 50, b'\0\0', b'user\0postgres\0\0\0'):
            with self.subTest(body=body):
                error = self.refused(struct.pack('!II', len(body) + 8, 3 << 16) + body)
                self.assertEqual((error.severity, error.sqlstate), ('FATAL', '08P01'))

    def test_the_longest_packet(self):
        parameters = [('user', 'postgres'), ('database', self.database)]
        room = 10004 - len(startup_packet(parameters + [('application_name', '')]))
        c = Connection(self.server.tcp, start=False)
        self.addCleanup(c.vanish)
        packet = startup_packet(parameters + [('application_name', 'x' * room)])
        self.assertEqual(len(packet), 10004)
        c.sock.sendall(packet)
        c.finish_startup()
        self.assertEqual(c.query('select 1').value, '1')
        c.close()
        self.assertEqual(self.answer(startup_packet(parameters + [('application_name', 'x' * (room + 1))])), b'')

    def test_unknown_protocol_versions(self):
        for major, minor in ((2, 0), (1, 0), (4, 0), (0, 0), (1234, 5000), (65535, 65535)):
            with self.subTest(major=major):
                error = self.refused(startup_packet([('user', 'postgres')], minor, major))
                self.assertEqual((error.severity, error.sqlstate), ('FATAL', '0A000'))
                self.assertIn(f'unsupported frontend protocol {major}.{minor}', error.message)

    def test_other_protocols(self):
        for data in (b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + bytes(500),
                     b'SSH-2.0-OpenSSH_9.2\r\n', b'\0' * 1000, b'\xff' * 1000, b'\n'):
            with self.subTest(data=data[:10]):
                self.answer(data)

    def test_random_bytes(self):
        generator = random.Random(1)
        for _ in range(200):
            with dial(self.server.tcp, 5) as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(generator.randbytes(generator.randrange(1, 2000)))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

    def test_random_changes_of_a_good_packet(self):
        generator = random.Random(2)
        good = startup_packet([('user', 'postgres'), ('database', self.database), ('application_name', 'x')])
        for _ in range(200):
            packet = bytearray(good)
            for _ in range(generator.randrange(1, 4)):
                packet[generator.randrange(4, len(packet))] = generator.randrange(256)
            with dial(self.server.tcp, 5) as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(packet + message(b'X'))
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass

    def test_a_client_that_says_nothing(self):
        started = time.monotonic()
        with dial(self.server.tcp, 5) as sock:
            self.assertEqual(sock.recv(1), b'')
        self.assertTrue(0.8 <= time.monotonic() - started <= 4)
        self.assertIn('the client did not say in time what it wants', self.log())

    def test_a_client_that_dribbles(self):
        """The time-out is for the whole packet."""
        packet = startup_packet([('user', 'postgres'), ('database', self.database)] + [('application_name', 'x' * 100)])
        started = time.monotonic()
        with dial(self.server.tcp, 5) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for byte in packet:
                    sock.sendall(bytes([byte]))
                    time.sleep(0.1)
        self.assertTrue(0.8 <= time.monotonic() - started <= 4)

    def test_the_timeout_ends_with_the_packet(self):
        c = self.connect()
        time.sleep(1.5)
        self.assertEqual(c.query('select 1').value, '1')

    def test_cancel_requests_for_nobody(self):
        for packet in (cancel_packet(1, b'abcd'), cancel_packet(0, b'abcd'), cancel_packet(0xffffffff, b'abcd'),
                       cancel_packet(self.server.process.pid, b'\0' * 4), cancel_packet(12345678, b'x' * 256),
                       cancel_packet(1, b''), cancel_packet(1, b'x' * 257)):
            self.assertEqual(self.answer(packet), b'')

    def test_a_replication_connection_does_no_harm(self):
        for value in ('true', 'database', 'nonsense'):
            with self.subTest(value=value):
                try:
                    c = self.connect(parameters=[('replication', value)], timeout=10)
                    c.close()
                except PgError as error:
                    self.assertIn(error.sqlstate, ('53300', '55000', '42501', '22023'), error)

    def test_bytes_behind_an_ssl_request(self):
        error_answer = self.answer(struct.pack('!II', 8, 80877103) + startup_packet([('user', 'postgres')]))
        self.assertEqual(error_answer[:2], b'NE')
        self.assertIn(b'received unencrypted data after SSL request', error_answer)


class CellNames(ServerCase):
    def test_names_that_are_allowed(self):
        for name in ('a', 'A', '0', 'a.b-c_D', 'x' * 63, 'news', '-', '..', '_'):
            with self.subTest(name=name):
                with self.connect(f'postgres@{name}') as c:
                    self.assertEqual(c.query('select current_database()').value, 'postgres')

    def test_names_that_are_not(self):
        for name in ('', 'x' * 64, 'a b', 'a/b', '../../etc', 'ä', 'a\nb', "a'b", 'a;b', '~1', 'x' * 9000, '%s%n'):
            with self.subTest(name=name[:20]):
                with sql_error(self, '3D000') as caught:
                    self.connect(f'postgres@{name}')
                self.assertEqual(caught[0].severity, 'FATAL')
                self.assertIn('invalid cell name', caught[0].message)
                self.assertIn('1 to 63', caught[0].hint)
        self.assert_usable()

    def test_the_last_at_sign_counts(self):
        with self.connect() as c:
            c.query('create database "odd@name"')
        with self.connect(f'odd@name@{self.cell}') as c:
            self.assertEqual(c.query('select current_database()').value, 'odd@name')

    def test_very_long_database_and_user_names(self):
        for sqlstates, database, user in ((('3D000',), 'd' * 5000 + f'@{self.cell}', 'postgres'),
                                          (('28000',), self.database, 'u' * 5000)):
            with self.assertRaises(PgError) as caught:
                self.connect(database, user)
            self.assertIn(caught.exception.sqlstate, sqlstates)
        self.assert_usable()


class Limits(OwnServerCase):
    def test_too_many_cells(self):
        server = self.serve('--max-cells', '3')
        open_ones = []
        for name in 'abc':
            open_ones.append(server.connect(f'postgres@{name}'))
            self.addCleanup(open_ones[-1].vanish)
        for name in ('d', 'new'):
            with sql_error(self, '53400') as caught:
                server.connect(f'postgres@{name}')
            self.assertEqual(caught[0].message, 'too many cells')
            self.assertIn('--max-cells', caught[0].hint)
        for c in open_ones:
            self.assertEqual(c.query('select 1').value, '1')
        open_ones[0].close()
        with server.connect('postgres@a') as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_private_cells_make_room(self):
        server = self.serve('--max-cells', '2')
        before = server.settled_descriptor_count()
        for _ in range(3):
            a, b = server.connect('postgres@new'), server.connect('postgres@new')
            with sql_error(self, '53400'):
                server.connect('postgres@new')
            a.close()
            b.close()
            # the supervisor knows a moment after the processes are gone
            self.assertTrue(wait_until(lambda: server.descriptor_count() == before))
        with server.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_a_cell_that_was_never_made_takes_no_room(self):
        server = self.serve('--max-cells', '1')
        with sql_error(self, '28000'):
            server.connect('postgres@new', 'nobody')
        self.assertTrue(wait_until(lambda: not server.sessions()))
        with server.connect('postgres@first') as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_too_many_sessions(self):
        server = self.serve('--max-sessions', '2')
        with server.connect('postgres@a') as a, server.connect('postgres@b') as b:
            with sql_error(self, '53300') as caught:
                server.connect('postgres@c')
            self.assertEqual(caught[0].message, 'sorry, too many clients already')
            self.assertEqual([a.query('select 1').value, b.query('select 1').value], ['1', '1'])
        self.assertTrue(wait_until(lambda: not server.sessions()))
        with server.connect('postgres@c') as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_out_of_file_descriptors(self):
        server = self.serve()
        used = server.settled_descriptor_count()[server.process.pid]
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + 6, used + 6))
        waiting = []
        with contextlib.suppress(OSError):
            for _ in range(30):
                waiting.append(dial(server.tcp, 2))
        time.sleep(0.5)
        for sock in waiting:
            sock.close()
        self.assertTrue(wait_until(lambda: server.descriptor_count()[server.process.pid] <= used + 1))
        with server.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')
        self.assertIn('out of file descriptors', server.stderr())

    def test_a_small_session_memory_is_enough_for_small_things(self):
        server = self.serve('--session-memory', '16')
        with server.connect(timeout=10) as c:
            self.assertEqual(c.query('select count(*) from generate_series(1, 1000)').value, '1000')
            c.query('create table t as select generate_series(1, 10000) as i')
            c.query('create index on t (i)')


class VanishingClients(ServerCase):
    """The cell must be free again within the time that others wait for it."""

    seconds = 90
    options = ('--drain-timeout', '1000')  # what a client has left behind may still run

    def vanish(self, sql, prepare=None, reset=False):
        with self.connect() as c:
            c.query('create table t (i int)')
            if prepare:
                c.query(prepare)
        c = self.connect()
        c.query('begin; insert into t values (1)')
        c.send_query(sql)
        time.sleep(0.5)
        if reset:
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        c.vanish()
        started = time.monotonic()
        with self.connect() as again:  # waits for up to --session-wait
            self.assertEqual(again.query('select count(*) from t').value, '0')
        self.assertNotIn('abnormally', self.log())
        return time.monotonic() - started

    def test_while_it_sleeps(self):
        self.assertLess(self.vanish('select pg_sleep(60)'), 9)

    def test_while_it_computes(self):
        self.assertLess(self.vanish('select count(*) from generate_series(1, 100000000000)'), 9)

    def test_while_it_loops(self):
        self.assertLess(self.vanish('do $$ begin loop end loop; end $$'), 9)

    def test_with_a_reset(self):
        self.assertLess(self.vanish('select pg_sleep(60)', reset=True), 9)

    def test_while_rows_are_on_their_way(self):
        self.assertLess(self.vanish("select repeat('x', 1000) from generate_series(1, 10000000)"), 9)

    def test_in_the_middle_of_copy_in(self):
        with self.connect() as c:
            c.query('create table t (i int)')
        c = self.connect()
        c.send_query('copy t from stdin')
        self.assertEqual(c.read_message()[0], 'G')
        c.sock.sendall(message(b'd', b'1\n2\n'))
        c.vanish()
        self.assertEqual(self.connect().query('select count(*) from t').value, '0')

    def test_while_idle_and_in_a_transaction(self):
        with self.connect() as c:
            c.query('create table t (i int)')
        c = self.connect()
        c.query('begin; insert into t values (1)')
        c.vanish()
        self.assertEqual(self.connect().query('select count(*) from t').value, '0')

    def test_at_once_after_connecting(self):
        for _ in range(30):
            c = Connection(self.server.tcp, start=False)
            c.sock.sendall(startup_packet([('user', 'postgres'), ('database', self.database)]))
            c.vanish()
        self.assert_usable()

    def test_half_closed(self):
        """Like `psql < file` through a tunnel: everything sent, then the sending side closes; the answers still come."""
        c = self.connect()
        c.send_query("select 'answer'")
        c.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(c.collect()[0].value, 'answer')
        self.assertEqual(c.read_to_end(), [])
        self.assert_usable()


class Memory(ServerCase):
    """Queries that want more than a session may have: an error, and the session goes on."""

    options = ('--session-memory', '64')
    seconds = 90

    def setUp(self):
        super().setUp()
        self.bystander = self.connect(f'{self.database}-bystander')
        self.bystander.query('create table t as select 1 as i')

    def assert_out_of_memory(self, sql, sqlstates=('53200',), c=None):
        c = c or self.connect(timeout=40)
        with self.assertRaises(PgError) as caught:
            c.query(sql)
        self.assertIn(caught.exception.sqlstate, sqlstates, caught.exception)
        self.assertEqual(c.query('select 6 * 7').value, '42')
        self.assertEqual(c.query('select count(*) from generate_series(1, 10000)').value, '10000')
        self.assertEqual(self.bystander.query('select i from t').value, '1')
        self.assertNotIn('abnormally', self.log())
        c.close()

    def test_one_large_value(self):
        self.assert_out_of_memory("select repeat('x', 500000000)")

    def test_string_concatenation(self):
        self.assert_out_of_memory("""do $$ declare s text := 'x'; begin loop s := s || s; end loop; end $$""")

    def test_string_aggregation(self):
        self.assert_out_of_memory("select length(string_agg(repeat('x', 1000), '')) from generate_series(1, 1000000)")

    def test_a_large_array(self):
        self.assert_out_of_memory('select array_length(array_agg(i), 1) from generate_series(1, 100000000) i')

    def test_a_large_hash_table(self):
        self.assert_out_of_memory("""set work_mem = '2097151kB'; set hash_mem_multiplier = 10;
            select count(*) from (select distinct md5(i::text) from generate_series(1, 3000000) i) x""")

    def test_a_large_sort_in_memory(self):
        self.assert_out_of_memory("""set work_mem = '2097151kB';
            select count(*) from (select md5(i::text) from generate_series(1, 3000000) i order by 1) x""")

    def test_a_large_json_value(self):
        self.assert_out_of_memory('select length(jsonb_agg(i)::text) from generate_series(1, 20000000) i')

    def test_a_large_plpgsql_array(self):
        self.assert_out_of_memory('do $$ declare a int[] := array_fill(1, array[1000]); begin loop a := a || a; end loop; end $$',
                                  ('53200', '54000'))

    def test_a_large_query_text(self):
        c = self.connect(timeout=40)
        self.assert_out_of_memory("select '" + 'x' * 80_000_000 + "'", c=c)

    def test_a_large_parameter(self):
        c = self.connect(timeout=40)
        with sql_error(self, '53200'):
            c.run('select length($1::text)', ['x' * 80_000_000])
        self.assertEqual(c.query('select 1').value, '1')

    def test_a_large_copy_line(self):
        c = self.connect(timeout=40)
        c.query('create table t (v text)')
        with sql_error(self, '53200'):
            c.copy_in('copy t from stdin', [b'x' * 1_000_000] * 100)
        self.assertEqual(c.query('select count(*) from t').value, '0')

    def test_in_a_transaction(self):
        c = self.connect()
        c.query('create table t (i int)')
        c.query('begin; insert into t values (1); savepoint s')
        with sql_error(self, '53200'):
            c.query("select repeat('x', 500000000)")
        c.query('rollback to s')
        c.query('insert into t values (2); commit')
        self.assertEqual(c.query('select sum(i) from t').value, '3')

    def test_caught_in_plpgsql(self):
        c = self.connect()
        c.query("""create function f() returns text language plpgsql as $$ begin
                       perform repeat('x', 500000000); return 'not reached';
                   exception when out_of_memory then return 'caught'; end $$""")
        for _ in range(5):
            self.assertEqual(c.query('select f()').value, 'caught')

    def test_again_and_again(self):
        """Memory that an error gives back can be used again."""
        c = self.connect(timeout=40)
        for _ in range(10):
            with sql_error(self, '53200'):
                c.query("select length(string_agg(repeat('x', 1000), '')) from generate_series(1, 1000000)")
            self.assertEqual(c.query("select length(repeat('x', 10000000))").value, '10000000')

    def test_a_value_that_postgresql_never_allows(self):
        self.assert_out_of_memory("select repeat('x', 1100000000)", ('54000', '53200'))


class StackDepth(ServerCase):
    """Endless recursion and deep nesting: 54001, and the session goes on."""

    def assert_too_deep(self, sql, sqlstates=('54001',), c=None):
        c = c or self.connect()
        with self.assertRaises(PgError) as caught:
            c.query(sql)
        self.assertIn(caught.exception.sqlstate, sqlstates, caught.exception)
        self.assertEqual(c.query('select 6 * 7').value, '42')
        self.assertNotIn('abnormally', self.log())

    def test_endless_recursion_in_sql(self):
        c = self.connect()
        c.query("create function f(i int) returns int language sql volatile as 'select f(i + 1)'")
        self.assert_too_deep('select f(1)', c=c)

    def test_endless_recursion_in_plpgsql(self):
        c = self.connect()
        c.query('create function f(i int) returns int language plpgsql as $$ begin return f(i + 1); end $$')
        for _ in range(3):
            self.assert_too_deep('select f(1)', c=c)

    def test_endless_recursion_with_subtransactions(self):
        c = self.connect()
        c.query("""create function f(i int) returns int language plpgsql as $$ begin
                       return f(i + 1);
                   exception when division_by_zero then return 0; end $$""")
        self.assert_too_deep('select f(1)', c=c)

    def test_endless_recursion_in_a_trigger(self):
        c = self.connect()
        c.query("""create table t (i int);
                   create function f() returns trigger language plpgsql as $$ begin insert into t values (new.i + 1); return new; end $$;
                   create trigger tr before insert on t for each row execute function f()""")
        self.assert_too_deep('insert into t values (1)', c=c)
        self.assertEqual(c.query('select count(*) from t').value, '0')

    def test_endless_recursion_between_functions(self):
        c = self.connect()
        c.query("""create function a(i int) returns int language plpgsql as $$ begin return b(i); end $$;
                   create function b(i int) returns int language sql as 'select a(i + 1)'""")
        self.assert_too_deep('select a(1)', c=c)

    def test_recursion_that_ends_is_allowed(self):
        c = self.connect()
        c.query("""create function f(i int) returns int language plpgsql as $$ begin
                       if i = 0 then return 0; end if; return 1 + f(i - 1); end $$""")
        self.assertEqual(c.query('select f(100)').value, '100')

    def test_nested_parentheses_in_a_regular_expression(self):
        c = self.connect()
        for depth in (5000, 100000):
            with self.subTest(depth=depth):
                try:  # fits, or not: but nothing else
                    self.assertEqual(c.query(f"select 'a' ~ (repeat('(', {depth}) || 'a' || repeat(')', {depth}))").value, 't')
                except PgError as error:
                    self.assertIn(error.sqlstate, ('54001', '2201B'), error)
                self.assertEqual(c.query('select 1').value, '1')

    def test_nested_json(self):
        c = self.connect()
        for sql in ("select repeat('[', 1000000)::json", "select (repeat('[', 1000000) || repeat(']', 1000000))::jsonb",
                    """select (repeat('{"a":', 300000) || '1' || repeat('}', 300000))::jsonb"""):
            with self.subTest(sql=sql):
                self.assert_too_deep(sql, c=c)

    def test_nested_expressions(self):
        c = self.connect(timeout=40)
        for name, sql, sqlstates in (
                ('sum', 'select ' + '+'.join(['1'] * 200000), ('54001',)),
                ('parentheses', 'select ' + '(' * 200000 + '1' + ')' * 200000, ('54001', '42601')),
                ('not', 'select ' + 'not ' * 200000 + 'true', ('54001', '42601')),
                ('functions', 'select ' + 'abs(' * 100000 + '1' + ')' * 100000, ('54001', '42601')),
                ('case', 'select ' + 'case when true then ' * 50000 + '1' + ' end' * 50000, ('54001', '42601')),
                ('subselects', 'select ' + '(select ' * 20000 + '1' + ')' * 20000, ('54001', '42601')),
                ('from', 'select 1 from ' + '(select 1 from ' * 20000 + 'pg_class' + ') x' * 20000, ('54001', '42601')),
                ('unions', ' union all '.join(['select 1'] * 50000), ('54001', '42601')),
                ('concatenations', 'select ' + '||'.join(["'x'"] * 100000), ('54001',))):
            with self.subTest(name):
                self.assert_too_deep(sql, sqlstates, c)

    def test_nested_text_search_query(self):
        self.assert_too_deep("select to_tsquery(repeat('(', 1000000) || 'a' || repeat(')', 1000000))")

    def test_nested_json_path(self):
        self.assert_too_deep("select (repeat('(', 100000) || '1' || repeat(')', 100000))::jsonpath", ('54001', '42601'))

    def test_with_the_largest_max_stack_depth(self):
        c = self.connect()
        limit = int(c.query("select max_val from pg_settings where name = 'max_stack_depth'").value)
        for kilobytes in (100, 7000, limit):
            try:
                c.query(f"set max_stack_depth = '{kilobytes}kB'")
            except PgError as error:
                self.assertEqual(error.sqlstate, '22023')
        c.query("""create or replace function f(i int) returns int language plpgsql as $$ begin return f(i + 1); end $$;
                   create or replace function g(i int) returns int language sql volatile as 'select g(i + 1)'""")
        for sql in ('select f(1)', 'select g(1)', "select repeat('[', 10000000)::json", 'select ' + '+'.join(['1'] * 300000)):
            with self.subTest(sql=sql[:30]):
                self.assert_too_deep(sql, ('54001', '53200'), c)


class KilledSessions(ServerCase):
    """A session that dies at once: the client sees the end, the cell recovers, nobody else notices."""

    def setUp(self):
        super().setUp()
        self.bystander = self.connect(f'{self.database}-bystander')
        self.bystander.query('create table t as select 1 as i')
        with self.connect() as c:
            c.query('create table t (i int primary key, v text)')
            c.query("insert into t select i, 'value ' || i from generate_series(1, 1000) i")

    def assert_recovered(self):
        with self.connect(timeout=20) as c:
            self.assertEqual(c.query('select count(*), sum(i), max(v) from t').rows, [('1000', '500500', 'value 999')])
            self.assertEqual(c.query("set enable_seqscan = off; select v from t where i = 500").value, 'value 500')
            c.query('create table again as select 1; drop table again')
            c.query("insert into t values (1001, 'x'); delete from t where i = 1001")
        self.assertEqual(self.bystander.query('select i from t').value, '1')
        self.assertIsNone(self.server.process.poll())

    def assert_ended(self, c):
        c.set_timeout(10)
        self.assertEqual([kind for kind, _ in c.read_to_end() if kind != 'E'], [])

    def test_killed_while_idle(self):
        c = self.connect()
        c.query('select 1')
        self.kill_session(c)
        self.assert_ended(c)
        self.assert_recovered()
        self.assertIn('ended abnormally with signal 9', self.log())
        self.assertIn('recovered', self.log())

    def test_killed_in_a_transaction(self):
        c = self.connect()
        c.query("begin; insert into t select i, 'uncommitted' from generate_series(2000, 30000) i; update t set v = 'uncommitted'")
        self.kill_session(c)
        self.assert_ended(c)
        self.assert_recovered()

    def test_killed_while_a_query_runs(self):
        for sql in ('select pg_sleep(30)', 'select count(*) from generate_series(1, 100000000000)',
                    'do $$ begin loop update t set v = v; end loop; end $$', 'vacuum full', 'create index on t (v)',
                    'create table u as select * from t, generate_series(1, 10000)', 'checkpoint', 'create database d'):
            with self.subTest(sql=sql):
                c = self.connect()
                c.send_query(sql)
                time.sleep(random.uniform(0.001, 0.3))
                with contextlib.suppress(ProcessLookupError):
                    self.kill_session(c)
                c.set_timeout(10)
                c.read_to_end()
                self.assert_recovered()

    def test_killed_by_other_signals(self):
        for signo in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGQUIT):
            with self.subTest(signal=signo.name):
                c = self.connect()
                c.query('begin; delete from t')
                self.kill_session(c, signo)
                self.assert_ended(c)
                self.assert_recovered()

    def test_killed_by_sigsegv_while_computing(self):
        c = self.connect()
        c.send_query('do $$ begin loop end loop; end $$')
        time.sleep(0.3)
        self.kill_session(c, signal.SIGSEGV)
        self.assert_ended(c)
        self.assert_recovered()

    def test_sigterm_is_an_orderly_end(self):
        c = self.connect()
        c.query('begin; delete from t')
        os.kill(c.pid, signal.SIGTERM)
        c.set_timeout(10)
        error = c.read_fatal()
        self.assertEqual((error.sqlstate, error.message), ('57P01', 'terminating connection due to administrator command'))
        self.assert_recovered()
        self.assertNotIn('abnormally', self.log())

    def test_sigint_cancels_the_query(self):
        c = self.connect()
        c.send_query('select pg_sleep(20)')
        time.sleep(0.3)
        os.kill(c.pid, signal.SIGINT)
        with sql_error(self, '57014'):
            c.collect()
        self.assertEqual(c.query('select 1').value, '1')

    def test_who_waits_for_the_cell_is_served_after_recovery(self):
        c = self.connect()
        c.query('begin; delete from t')
        got = []

        def wait():
            with self.server.connect(self.database) as second:
                got.append(second.query('select count(*) from t').value)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        time.sleep(0.5)
        self.kill_session(c)
        thread.join(10)
        self.assertEqual(got, ['1000'])
        self.assert_ended(c)

    def test_a_private_cell_ends_with_its_killed_session(self):
        before = self.server.settled_descriptor_count()
        c = self.connect('postgres@new')
        c.query('create table x as select generate_series(1, 1000)')
        os.kill(c.pid, signal.SIGKILL)
        self.assert_ended(c)
        self.assertTrue(wait_until(lambda: self.server.descriptor_count() == before))

    def test_killed_ten_times_in_a_row(self):
        for _ in range(10):
            c = self.connect()
            c.query('begin; delete from t')
            self.kill_session(c)
            self.assert_ended(c)
        self.assert_recovered()

    def test_stopped_sessions_block_only_their_cell(self):
        c = self.connect()
        os.kill(c.pid, signal.SIGSTOP)
        try:
            self.assertEqual(self.bystander.query('select i from t').value, '1')
            self.assert_usable(f'{self.database}-third')
        finally:
            os.kill(c.pid, signal.SIGCONT)
        self.assertEqual(c.query('select 1').value, '1')


class FullCell(ServerCase):
    """A cell has 2.5 GiB for its files."""

    seconds = 120

    def test_disk_full_and_room_again(self):
        c = self.connect(timeout=100)
        # unlogged and without compression: little more than the blocks themselves is written
        c.query("create unlogged table fill (v text); alter table fill alter v set storage external")
        c.query('create table kept as select generate_series(1, 1000) as i')
        with self.assertRaises(PgError) as caught:
            for _ in range(400):
                c.query("insert into fill select repeat('0123456789', 800000) from generate_series(1, 2)")
        self.assertEqual(caught.exception.sqlstate, '53100', caught.exception)
        self.assertEqual(c.query('select sum(i) from kept').value, '500500')
        c.query('drop table fill')
        c.query('checkpoint')
        c.query('create table more as select generate_series(1, 100000) as i')
        self.assertEqual(c.query('select count(*) from more').value, '100000')
        c.close()
        with self.connect() as again:
            self.assertEqual(again.query('select sum(i) from kept').value, '500500')
        self.assertLess(self.server.cell_bytes(), 1 << 30, 'the memory was not given back')
        self.assertNotIn('abnormally', self.log())


if __name__ == '__main__':
    unittest.main()

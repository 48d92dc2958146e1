"""TLS: the gateway, certificates and their reload, what is refused, and that nobody is held up."""
import contextlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import unittest

import pgwire
from pgwire import Connection, PgError
from server import OwnServerCase, ServerCase, clean_environment, run_program, wait_until

SSL_REQUEST = struct.pack('!II', 8, 80877103)
GSSENC_REQUEST = struct.pack('!II', 8, 80877104)
SYSTEM_PSQL = '/usr/bin/psql'  # ours is built without TLS
ALPN = ['postgresql']


class Certificates:
    """An authority and what it has signed, in a folder of its own."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='pgcell-tls-')
        self.ca = self.path('ca.crt')
        self.openssl('req', '-x509', *self.new_key('ca'), '-out', self.ca, '-subj', '/CN=test authority', '-days', '10')
        with open(self.path('names'), 'w', encoding='ascii') as f:
            f.write('subjectAltName=DNS:localhost,IP:127.0.0.1\n')
        self.cert, self.key = self.make('server', 10)

    def path(self, name):
        return os.path.join(self.folder, name)

    @staticmethod
    def openssl(*arguments):
        subprocess.run(['openssl', *arguments], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def new_key(self, name):
        return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', self.path(name + '.key')]

    def make(self, name, days):
        """Certificate and key, signed by the authority."""
        self.openssl('req', *self.new_key(name), '-out', self.path(name + '.csr'), '-subj', '/CN=' + name)
        self.openssl('x509', '-req', '-in', self.path(name + '.csr'), '-CA', self.ca, '-CAkey', self.path('ca.key'),
                     '-CAcreateserial', '-days', str(days), '-extfile', self.path('names'), '-out', self.path(name + '.crt'))
        return self.path(name + '.crt'), self.path(name + '.key')

    def options(self, *more):
        return ('--tls-cert', self.cert, '--tls-key', self.key, *more)

    def context(self, **kwargs):
        context = ssl.create_default_context(cafile=self.ca)
        for name, value in kwargs.items():
            setattr(context, name, value)
        return context

    def release(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def tls_connection(address, context, database='postgres', *, is_direct=False, alpn=True, start=True, parameters=()):
    """A pgwire connection over TLS."""
    c = Connection(address, database, start=False)
    try:
        if not is_direct:
            c.sock.sendall(SSL_REQUEST)
            answer = c.sock.recv(1)
            if answer != b'S':
                raise AssertionError(f'the answer to SSLRequest is {answer!r}')
        if alpn:
            context.set_alpn_protocols(ALPN)
        c.sock = context.wrap_socket(c.sock, server_hostname='localhost')
        if start:
            c.sock.sendall(pgwire.startup_packet([('user', 'postgres'), ('database', database), *parameters]))
            c.finish_startup()
    except BaseException:
        c.sock.close()
        raise
    return c


def resident_bytes(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return int(re.search(r'VmRSS:\s+(\d+) kB', f.read()).group(1)) << 10


class TlsCase(ServerCase):
    more = ()

    @classmethod
    def setUpClass(cls):
        cls.files = Certificates()
        cls.addClassCleanup(cls.files.release)
        cls.options = cls.files.options('--verbose', '--startup-timeout', '2000', *cls.more)
        super().setUpClass()

    def tls(self, database=None, context=None, **kwargs):
        c = tls_connection(self.server.tcp, context or self.files.context(), database or self.database, **kwargs)
        self.addCleanup(c.vanish)
        return c

    def raw(self):
        """A socket on which TLS was asked for and granted."""
        sock = pgwire.dial(self.server.tcp)
        self.addCleanup(sock.close)
        sock.sendall(SSL_REQUEST)
        self.assertEqual(sock.recv(1), b'S')
        return sock

    def assert_closed(self, sock, seconds=5):
        sock.settimeout(seconds)
        with contextlib.suppress(ConnectionResetError):
            while sock.recv(65536):
                pass


class Tls(TlsCase):
    def test_certificate_and_name_are_verified(self):
        c = self.tls()
        self.assertEqual(c.query('select 6 * 7').value, '42')
        self.assertEqual(c.sock.selected_alpn_protocol(), 'postgresql')
        self.assertIn(c.sock.version(), ('TLSv1.2', 'TLSv1.3'))
        self.assertIsNone(c.sock.compression())

    def test_wrong_authority_is_refused_by_the_client(self):
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.tls(context=ssl.create_default_context())
        self.assert_usable()

    def test_client_without_protocol_negotiation_is_served_after_sslrequest(self):
        self.assertEqual(self.tls(alpn=False).query('select 1').value, '1')

    def test_direct_tls(self):
        c = self.tls(is_direct=True)
        self.assertEqual(c.query('select 1').value, '1')

    def test_direct_tls_without_alpn_is_refused(self):
        with self.assertRaises((OSError, EOFError)):
            self.tls(is_direct=True, alpn=False)
        self.assertIn('without ALPN', self.log())

    def test_other_protocols_are_refused(self):
        context = self.files.context()
        context.set_alpn_protocols(['http/1.1'])
        with self.assertRaises(ssl.SSLError) as caught:
            self.tls(context=context, alpn=False)
        self.assertIn('no application protocol', str(caught.exception).lower().replace('_', ' '))

    def test_tls_1_1_is_refused(self):
        context = self.files.context(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        context.set_ciphers('ALL:@SECLEVEL=0')
        with self.assertRaises(ssl.SSLError) as caught:
            self.tls(context=context)
        self.assertIn('protocol version', str(caught.exception).lower().replace('_', ' '))

    def test_tls_1_2_and_1_3_are_spoken(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            c = self.tls(context=self.files.context(minimum_version=version, maximum_version=version))
            self.assertEqual(c.query('select 1').value, '1')
            self.assertFalse(c.sock.session_reused)

    def test_plain_text_is_served_too(self):
        self.assertEqual(self.connect().query('select 1').value, '1')
        self.assertEqual(self.connect(unix=True).query('select 1').value, '1')

    def test_unix_socket_has_no_tls(self):
        sock = pgwire.dial(self.server.socket_file)
        self.addCleanup(sock.close)
        sock.sendall(SSL_REQUEST)
        self.assertEqual(sock.recv(1), b'N')

    def test_tls_after_gssencrequest(self):
        c = Connection(self.server.tcp, start=False)
        self.addCleanup(c.vanish)
        c.sock.sendall(GSSENC_REQUEST)
        self.assertEqual(c.sock.recv(1), b'N')
        c.sock.sendall(SSL_REQUEST)
        self.assertEqual(c.sock.recv(1), b'S')
        c.sock = self.files.context().wrap_socket(c.sock, server_hostname='localhost')
        c.sock.sendall(pgwire.startup_packet([('user', 'postgres'), ('database', self.database)]))
        c.finish_startup()
        self.assertEqual(c.query('select 1').value, '1')

    def test_bytes_after_sslrequest_are_an_attack(self):
        """CVE-2021-23222: what came in plain text must not be taken for the client's first words."""
        sock = pgwire.dial(self.server.tcp)
        self.addCleanup(sock.close)
        sock.sendall(SSL_REQUEST + pgwire.startup_packet([('user', 'postgres'), ('database', 'evil')]))
        got = b''
        with contextlib.suppress(ConnectionResetError):
            while chunk := sock.recv(4096):
                got += chunk
        self.assertTrue(got.startswith(b'SE'), got)
        self.assertIn(b'received unencrypted data after SSL request', got)

    def test_a_second_sslrequest_inside_is_declined(self):
        c = self.tls(start=False)
        c.sock.sendall(SSL_REQUEST)
        with self.assertRaises((PgError, EOFError)):
            c.finish_startup()

    def test_session_knows_the_clients_address_and_the_servers(self):
        c = self.tls()
        host, port = c.sock.getsockname()
        self.assertEqual(c.query('select inet_client_addr(), inet_client_port(), inet_server_addr(), inet_server_port()').rows,
                         [(host, str(port), '127.0.0.1', str(self.server.port))])

    def test_cancel_over_tls_and_in_plain_text(self):
        for is_plain in (False, True):
            c = self.tls()
            c.send_query('select pg_sleep(30)')
            time.sleep(0.3)
            packet = pgwire.cancel_packet(c.pid, c.key)
            if is_plain:
                with pgwire.dial(self.server.tcp) as sock:
                    sock.sendall(packet)
                    self.assert_closed(sock)
            else:
                other = self.tls(start=False)
                other.sock.sendall(packet)
                self.assert_closed(other.sock)
            with self.assertRaises(PgError) as caught:
                c.collect()
            self.assertEqual(caught.exception.sqlstate, '57014')

    def test_errors_before_the_session_arrive(self):
        with self.assertRaises(PgError) as caught:
            self.tls('postgres@bad name')
        self.assertEqual(caught.exception.sqlstate, '3D000')
        with self.assertRaises(PgError) as caught:
            self.tls(f'nowhere@{self.cell}')
        self.assertEqual(caught.exception.sqlstate, '3D000')

    def test_notifications_go_both_ways(self):
        a, b = self.tls(), self.tls()
        a.query('listen x')
        b.query("notify x, 'hello'")
        self.assertEqual(a.wait_notification()[1:], ('x', 'hello'))

    def test_garbage_instead_of_a_handshake(self):
        for garbage in (b'GET / HTTP/1.0\r\n\r\n', b'\x16\x03\x01\xff\xff' + b'\xff' * 300, b'\0' * 1000, os.urandom(4096)):
            sock = self.raw()
            sock.sendall(garbage)
            self.assert_closed(sock)
        for garbage in (b'\x16' + os.urandom(500), b'\x16\x03\x01\x00\x02\x01\x00'):
            sock = pgwire.dial(self.server.tcp)
            self.addCleanup(sock.close)
            sock.sendall(garbage)
            self.assert_closed(sock)
        self.assertEqual(self.tls().query('select 1').value, '1')

    def test_slow_handshake_is_dropped_in_time(self):
        socks = [self.raw() for _ in range(5)]
        socks[0].sendall(b'\x16\x03\x01\x02\x00\x01')
        start = time.monotonic()
        for sock in socks:
            self.assert_closed(sock)
        self.assertLess(time.monotonic() - start, 4)

    def test_slow_start_after_the_handshake_is_dropped_in_time(self):
        c = self.tls(start=False)
        start = time.monotonic()
        self.assert_closed(c.sock)
        self.assertLess(time.monotonic() - start, 4)

    def test_startup_packet_byte_by_byte(self):
        c = self.tls(start=False)
        for byte in pgwire.startup_packet([('user', 'postgres'), ('database', self.database)]):
            c.sock.sendall(bytes([byte]))
        c.finish_startup()
        self.assertEqual(c.query('select 1').value, '1')

    def test_half_closed_client_ends_its_session(self):
        for how in ('close_notify', 'fin'):
            c = self.tls()
            pid = c.pid
            if how == 'fin':
                c.sock.shutdown(socket.SHUT_WR)
            else:
                c.sock.settimeout(5)
                with contextlib.suppress(OSError):
                    c.sock.unwrap()
            self.assertTrue(wait_until(lambda p=pid: not os.path.exists(f'/proc/{p}')), how)

    def test_vanished_client_ends_its_session(self):
        c = self.tls()
        pid = c.pid
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        c.sock.close()
        self.assertTrue(wait_until(lambda: not os.path.exists(f'/proc/{pid}')))

    def test_killed_session_closes_its_client(self):
        c = self.tls()
        os.kill(c.pid, signal.SIGKILL)
        self.assert_closed(c.sock)

    def test_hundred_megabytes_each_way_with_flat_memory(self):
        c = self.tls()
        gateway = self.server.tls_gateway()
        c.query('create table big (t text)')
        row = (b'x' * 1000 + b'\n') * 100
        before = resident_bytes(gateway)
        c.copy_in('copy big from stdin', (row for _ in range(1050)))
        self.assertEqual(c.query('select sum(length(t)) from big').value, '105000000')
        got = c.copy_out('copy big to stdout')
        self.assertEqual(len(got), 1001 * 105000)
        self.assertLess(resident_bytes(gateway) - before, 4 << 20)

    def test_client_that_does_not_read_holds_up_nobody(self):
        gateway = self.server.tls_gateway()
        slow = self.tls()
        before = resident_bytes(gateway)
        slow.send_query("select repeat('x', 1000) from generate_series(1, 100000)")
        time.sleep(0.5)
        self.assertEqual(self.tls().query('select 1').value, '1')
        self.assertLess(resident_bytes(gateway) - before, 4 << 20)
        self.assertEqual(len(slow.collect()[-1].rows), 100000)

    def test_both_ways_at_once(self):
        """Both sides' buffers are full: what goes one way must not wait for the other."""
        rounds = 400
        c = self.tls()
        plain = self.connect()
        query = pgwire.message(b'Q', b"select repeat('y', 60000) /*" + b'z' * 60000 + b'*/\0')
        to_send, answers, tail = memoryview(query * rounds), 0, b''
        c.sock.setblocking(False)
        end = time.monotonic() + 30
        while answers < rounds and time.monotonic() < end:
            moved = False
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                if to_send:
                    to_send = to_send[c.sock.send(to_send[:16384]):]
                    moved = True
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                data = tail + c.sock.recv(1 << 20)
                answers += data.count(b'Z\0\0\0\5I')
                tail = data[-5:]
                moved = True
            if not moved:
                select.select([c.sock], [c.sock] if to_send else [], [], 1)
        self.assertEqual(answers, rounds)
        self.assertEqual(plain.query('select 1').value, '1')

    def test_many_clients_at_once(self):
        results = []

        def visit():
            try:
                with tls_connection(self.server.tcp, self.files.context(), 'postgres@new') as c:
                    results.append(c.query('select 1').value)
            except BaseException as error:  # pylint: disable=broad-except
                results.append(error)
        threads = [threading.Thread(target=visit) for _ in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, ['1'] * 60)

    @unittest.skipUnless(os.geteuid() == 0, 'only root sees the descriptors of a process that has a key')
    def test_nothing_is_left_of_connections(self):
        gateway = self.server.tls_gateway()
        folder = f'/proc/{gateway}/fd'
        self.tls().close()
        counts = []
        for _ in range(20):  # those of the tests before may still be on their way out
            counts.append(len(os.listdir(folder)))
            time.sleep(0.02)
        before = min(counts)
        for i in range(30):
            c = self.tls('postgres@new')
            c.close() if i % 2 else c.vanish()
            self.raw().close()
        self.assertTrue(wait_until(lambda: len(os.listdir(folder)) <= before), os.listdir(folder))

    @unittest.skipUnless(os.geteuid() == 0, 'only root sees the descriptors of a process that has a key')
    def test_gateway_is_sandboxed_and_alone_has_the_key(self):
        with open(f'/proc/{self.server.tls_gateway()}/status', encoding='ascii') as f:
            status = f.read()
        self.assertIn('NoNewPrivs:\t1', status)
        self.assertIn('Seccomp:\t2', status)
        self.assertIn('CapEff:\t0000000000000000', status)
        for fd in os.listdir(f'/proc/{self.server.tls_gateway()}/fd'):
            with contextlib.suppress(FileNotFoundError):  # connections come and go
                self.assertNotIn('.key', os.readlink(f'/proc/{self.server.tls_gateway()}/fd/{fd}'))

    @unittest.skipUnless(os.access(SYSTEM_PSQL, os.X_OK), 'postgresql-client is not installed')
    def test_psql_verify_full(self):
        def psql(sslmode, host='localhost', ca=None):
            return run_program(
                [SYSTEM_PSQL, '-XAtq', '-c', r'\conninfo', '-d', f"host={host} hostaddr=127.0.0.1 port={self.server.port} user=postgres "
                 f"dbname={self.database} sslmode={sslmode} sslrootcert={ca or self.files.ca}"], env=clean_environment(HOME='/nonexistent'))
        done = psql('verify-full')
        self.assertEqual(done.status, 0, done.stderr)
        self.assertIn('TLSv1.3', done.stdout)
        self.assertEqual(psql('verify-full', 'wrong.example').status, 2)
        self.assertIn('does not match host name', psql('verify-full', 'wrong.example').stderr)
        self.assertEqual(psql('require').status, 0)
        self.assertNotIn('TLS', psql('disable').stdout)

    def test_driver_verify_full(self):
        try:
            import psycopg2  # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest('python3-psycopg2 is not installed')
        c = psycopg2.connect(host='localhost', hostaddr='127.0.0.1', port=self.server.port, user='postgres', dbname=self.database,
                             sslmode='verify-full', sslrootcert=self.files.ca)
        self.addCleanup(c.close)
        self.assertTrue(c.info.ssl_in_use)
        with c.cursor() as cursor:
            cursor.execute('select sum(i) from generate_series(1, 1000) i')
            self.assertEqual(cursor.fetchone(), (500500,))


class TlsOnly(TlsCase):
    more = ('--tls-only',)

    def test_plain_text_is_refused_in_postgresqls_words(self):
        with self.assertRaises(PgError) as caught:
            self.connect()
        self.assertEqual(caught.exception.sqlstate, '28000')
        self.assertEqual(caught.exception.fields['M'],
                         f'no pg_hba.conf entry for host "127.0.0.1", user "postgres", database "{self.database}", no encryption')
        self.assertEqual(caught.exception.fields['S'], 'FATAL')

    def test_tls_and_the_unix_socket_are_served(self):
        self.assertEqual(self.tls().query('select 1').value, '1')
        self.assertEqual(self.tls(is_direct=True).query('select 1').value, '1')
        self.assertEqual(self.connect(unix=True).query('select 1').value, '1')

    def test_gateway_that_died_is_replaced_and_plain_text_stays_refused(self):
        c = self.tls()
        bystander = self.connect(f'postgres@{self.cell}-2', unix=True)
        os.kill(self.server.tls_gateway(), signal.SIGKILL)
        self.assert_closed(c.sock)
        time.sleep(1.1)  # it is started anew once a second at most
        self.assertEqual(self.tls().query('select 1').value, '1')
        self.assertIn('TLS gateway ended unexpectedly', self.log())
        self.assertEqual(bystander.query('select 1').value, '1')
        with self.assertRaises(PgError):
            self.connect()

    def assert_usable(self, database=None):
        with tls_connection(self.server.tcp, self.files.context(), database or self.database) as c:
            self.assertEqual(c.query('select 6 * 7').value, '42')


class TlsFiles(OwnServerCase):
    def setUp(self):
        super().setUp()
        self.files = Certificates()
        self.addCleanup(self.files.release)

    def not_started(self, text, *options):
        server = self.make(*options)
        server.launch()
        self.assertEqual(server.wait(), 1 if 'belong together' not in text and 'needs' not in text else 2, server.stderr())
        self.assertIn(text, server.stderr())
        self.assertEqual(server.stderr().count('\n'), 1, server.stderr())
        server.process.stdout.close()

    def test_bad_options_and_files_are_said(self):
        cert, key = self.files.cert, self.files.key
        self.not_started('belong together', '--tls-cert', cert)
        self.not_started('belong together', '--tls-key', key)
        self.not_started('--tls-only needs', '--tls-only')
        self.not_started('could not open server certificate file "/nowhere"', '--tls-cert', '/nowhere', '--tls-key', key)
        self.not_started('could not open private key file "/nowhere"', '--tls-cert', cert, '--tls-key', '/nowhere')
        self.not_started('not a regular file', '--tls-cert', cert, '--tls-key', self.files.folder)
        self.not_started('server certificate', '--tls-cert', key, '--tls-key', key)
        self.not_started('private key', '--tls-cert', cert, '--tls-key', self.secret('junk', b'junk'))
        _, other = self.files.make('other', 10)
        self.not_started('key', '--tls-cert', cert, '--tls-key', other)
        os.chmod(key, 0o644)
        self.not_started('has group or world access', '--tls-cert', cert, '--tls-key', key)

    def secret(self, name, content):
        path = self.files.path(name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), 'wb') as f:
            f.write(content)
        return path

    def test_key_with_a_passphrase_is_refused(self):
        locked = self.files.path('locked.key')
        self.files.openssl('ec', '-in', self.files.key, '-aes256', '-passout', 'pass:x', '-out', locked)
        os.chmod(locked, 0o600)
        self.not_started('passphrase', '--tls-cert', self.files.cert, '--tls-key', locked)

    def test_expired_certificate_is_refused_by_clients(self):
        cert, key = self.files.make('expired', -1)
        server = self.serve('--tls-cert', cert, '--tls-key', key)
        with self.assertRaises(ssl.SSLCertVerificationError) as caught:
            tls_connection(server.tcp, self.files.context())
        self.assertIn('expired', str(caught.exception))
        if os.access(SYSTEM_PSQL, os.X_OK):
            done = run_program([SYSTEM_PSQL, '-Xc', 'select 1', '-d', f'host=localhost port={server.port} user=postgres dbname=postgres '
                                f'sslmode=verify-full sslrootcert={self.files.ca}'], env=clean_environment(HOME='/nonexistent'))
            self.assertEqual(done.status, 2)
            self.assertIn('certificate verify failed', done.stderr)
        self.assertEqual(server.stop(), 0)
        server.assert_nothing_left(self)

    def test_sighup_reloads_and_bad_files_change_nothing(self):
        cert, key = self.files.path('live.crt'), self.files.path('live.key')

        def install(from_cert, from_key):
            shutil.copy(from_cert, cert)
            shutil.copy(from_key, key)
            os.chmod(key, 0o600)

        def serial():
            with tls_connection(server.tcp, self.files.context()) as c:
                self.assertEqual(c.query('select 1').value, '1')
                return c.sock.getpeercert()['serialNumber']
        install(self.files.cert, self.files.key)
        server = self.serve('--tls-cert', cert, '--tls-key', key, '--verbose')
        old = tls_connection(server.tcp, self.files.context())
        self.addCleanup(old.vanish)
        first = serial()
        install(*self.files.make('second', 10))
        self.assertEqual(serial(), first)
        server.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: 'TLS certificate reloaded' in server.stderr()))
        second = serial()
        self.assertNotEqual(second, first)
        self.assertEqual(old.query('select 1').value, '1')

        def wrong_key():
            shutil.copy(self.files.key, key)

        def junk():
            with open(cert, 'w', encoding='ascii') as f:
                f.write('junk')

        for spoil in (wrong_key, junk, lambda: os.chmod(key, 0o666), lambda: os.remove(cert)):
            before = server.stderr().count('not reloaded')
            spoil()
            server.send_signal(signal.SIGHUP)
            self.assertTrue(wait_until(lambda n=before: server.stderr().count('not reloaded') == n + 1), server.stderr())
            self.assertEqual(serial(), second)
        old.close()
        self.assertEqual(server.stop(), 0)
        server.assert_nothing_left(self)

    def test_shutdown_says_goodbye_over_tls(self):
        server = self.serve(*self.files.options())
        c = tls_connection(server.tcp, self.files.context())
        self.addCleanup(c.vanish)
        server.send_signal(signal.SIGTERM)
        self.assertEqual(c.read_fatal().sqlstate, '57P01')
        self.assertEqual(server.wait(), 0)
        server.assert_nothing_left(self)

    def test_supervisor_killed_leaves_nothing(self):
        server = self.serve(*self.files.options())
        c = tls_connection(server.tcp, self.files.context())
        self.addCleanup(c.vanish)
        server.send_signal(signal.SIGKILL)
        server.wait()
        self.assertTrue(wait_until(lambda: not server.processes()))
        self.assertTrue(wait_until(lambda: not any(p.is_alive() for p in server.seen)))
        os.unlink(server.socket_file)

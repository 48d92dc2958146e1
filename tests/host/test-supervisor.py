#!/usr/bin/python3
"""The supervisor through real sockets, with tests/host/fake-engine.c in the engine's place.

usage: test-supervisor.py PROGRAM [unittest arguments]      (or PGCELL_FAKE=PROGRAM)

Each test starts a server of its own on a free port, in a folder of its own, and is over in TEST_SECONDS. Afterwards every
process of the server must be gone and its socket file too, whatever the test did.
"""
import datetime
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

from prometheus_client import parser

PROGRAM = os.environ.get('PGCELL_FAKE')
TEST_SECONDS = 20
SOCKET_SECONDS = 8
STARTUP_3_0 = 3 << 16
SSL_REQUEST = (1234 << 16) | 5679
GSSENC_REQUEST = (1234 << 16) | 5680
CANCEL_REQUEST = (1234 << 16) | 5678


def children_of(pid):
    """All living descendants, zombies not counted."""
    parents = {}
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open(f'/proc/{entry}/stat', encoding='ascii', errors='replace') as f:
                fields = f.read().rsplit(')', 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] != 'Z':
            parents[int(entry)] = int(fields[1])
    found, todo = [], [pid]
    while todo:
        parent = todo.pop()
        for child, its_parent in parents.items():
            if its_parent == parent:
                found.append(child)
                todo.append(child)
    return found


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
            return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


class PgError(Exception):
    def __init__(self, fields):
        super().__init__(fields)
        self.fields = fields
        self.code = fields['C']
        self.message = fields['M']


class Client:
    """Enough of libpq."""

    def __init__(self, server, database='postgres', user='postgres', unix=False, start=True, extra=(), minor=0,
                 seconds=SOCKET_SECONDS):
        if unix:
            self.sock = socket.socket(socket.AF_UNIX)
            address = server.socket_file
        else:
            self.sock = socket.socket(socket.AF_INET)
            address = ('127.0.0.1', server.port)
        self.sock.settimeout(seconds)
        self.pid = self.key = None
        try:
            self.sock.connect(address)
            if start:
                self.send_startup(database, user, extra, minor)
                self.finish_startup()
        except BaseException:
            self.sock.close()
            raise

    @staticmethod
    def startup_packet(database='postgres', user='postgres', extra=(), minor=0):
        body = struct.pack('!I', STARTUP_3_0 + minor)
        pairs = ([('user', user)] if user is not None else []) + \
            ([('database', database)] if database is not None else []) + list(extra)
        for name, value in pairs:
            body += name.encode() + b'\0' + value.encode() + b'\0'
        body += b'\0'
        return struct.pack('!I', len(body) + 4) + body

    def send_startup(self, *args):
        self.sock.sendall(self.startup_packet(*args))

    def receive(self, length):
        data = b''
        while len(data) < length:
            got = self.sock.recv(length - len(data))
            if not got:
                raise EOFError(data)
            data += got
        return data

    def message(self):
        kind, length = struct.unpack('!cI', self.receive(5))
        body = self.receive(length - 4)
        if kind == b'E':
            assert body.endswith(b'\0\0')
            raise PgError({chr(f[0]): f[1:].decode() for f in body[:-2].split(b'\0')})
        return kind, body

    def finish_startup(self):
        while True:
            kind, body = self.message()
            if kind == b'K':
                self.pid, self.key = struct.unpack('!II', body)
            if kind == b'Z':
                return

    def query(self, text):
        self.send_query(text)
        return self.result()

    def send_query(self, text):
        body = text.encode() + b'\0'
        self.sock.sendall(b'Q' + struct.pack('!I', len(body) + 4) + body)

    def result(self):
        result = None
        while True:
            kind, body = self.message()
            if kind == b'C':
                result = body[:-1].decode()
            if kind == b'Z':
                return result

    def about(self):
        return dict(pair.split('=', 1) for pair in self.query('about').split())

    def closed(self):
        """True if the server closes without a word."""
        try:
            return self.sock.recv(1) == b''
        except ConnectionResetError:
            return True

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Server:
    def __init__(self, *options, listen='127.0.0.1:0', socket_dir=None, image='good.img', ready=True, env=None, wrapper=(),
                 **popen):
        self.folder = tempfile.mkdtemp(prefix='pgcell-test-')
        self.socket_dir = socket_dir or os.path.join(self.folder, 's')
        self.log = open(os.path.join(self.folder, 'log'), 'w+', encoding='utf-8', errors='replace')
        self.ever = set()
        self.process = subprocess.Popen(
            [*wrapper, PROGRAM, 'serve', '--listen', listen, '--socket-dir', self.socket_dir, '--image', image,
             '--sessions-per-cell', '1', *options],  # the last one counts
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env={**os.environ, **(env or {})}, start_new_session=True, **popen)
        self.ready_line = self.psql_line = None
        self.port = self.socket_file = None
        if ready:
            self.ready_line = self.process.stdout.readline()
            self.psql_line = self.process.stdout.readline()
            tcp = re.search(r'127\.0\.0\.1:(\d+)', self.ready_line)
            self.port = int(tcp.group(1)) if tcp else None
            local = re.search(r'(/\S+/\.s\.PGSQL\.\d+)$', self.ready_line.strip())
            self.socket_file = local.group(1) if local else None
            if not self.ready_line.startswith('pgcell: ready on '):
                raise AssertionError(f'not ready: {self.ready_line!r} {self.stderr()}')

    def stderr(self):
        self.log.seek(0)
        return self.log.read()

    def descendants(self):
        found = children_of(self.process.pid)
        self.ever.update(found)
        return found

    def wait(self, seconds=10):
        return self.process.wait(seconds)

    def stop(self, sig=signal.SIGTERM):
        if self.process.poll() is None:
            self.descendants()
            self.process.send_signal(sig)
        return self.wait()

    def destroy(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Case(unittest.TestCase):
    def setUp(self):
        signal.signal(signal.SIGALRM, self.out_of_time)
        signal.alarm(TEST_SECONDS)
        self.servers = []

    @staticmethod
    def out_of_time(*_):
        raise TimeoutError(f'the test took more than {TEST_SECONDS} s')

    def server(self, *options, **kwargs):
        server = Server(*options, **kwargs)
        self.servers.append(server)
        return server

    def tearDown(self):
        try:
            for server in self.servers:
                server.descendants()
                if server.process.poll() is None and server.ready_line is not None:
                    self.assertEqual(server.stop(), 0, server.stderr())
                log = server.stderr()
                for sign in ('BUG', 'Sanitizer', 'runtime error'):
                    self.assertNotIn(sign, log)
                self.assertTrue(wait_until(lambda s=server: not any(map(is_alive, s.ever))), 'a process is left')
                if server.socket_file and not getattr(server, 'was_killed', False):
                    self.assertFalse(os.path.exists(server.socket_file), 'the socket file is left')
        finally:
            signal.alarm(0)
            for server in self.servers:
                server.destroy()

    def refused(self, code, text, server, *args, **kwargs):
        with self.assertRaises(PgError) as caught:
            Client(server, *args, **kwargs).close()
        self.assertEqual(caught.exception.code, code, caught.exception.fields)
        self.assertIn(text, caught.exception.message)
        self.assertEqual(caught.exception.fields['S'], 'FATAL')
        self.assertEqual(caught.exception.fields['V'], 'FATAL')
        return caught.exception


class Starting(Case):
    def test_ready_lines_name_addresses_and_psql_command(self):
        server = self.server()
        self.assertEqual(server.ready_line, f'pgcell: ready on 127.0.0.1:{server.port} and {server.socket_file}\n')
        self.assertEqual(server.psql_line, f'  psql -h 127.0.0.1 -p {server.port} -U postgres postgres\n')
        self.assertEqual(os.path.basename(server.socket_file), f'.s.PGSQL.{server.port}')

    def test_socket_folder_and_file_are_private(self):
        server = self.server()
        self.assertEqual(stat.S_IMODE(os.stat(server.socket_dir).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(server.socket_file).st_mode), 0o600)

    def failing(self, status, text, *args, **kwargs):
        server = self.server(*args, ready=False, **kwargs)
        self.assertEqual(server.wait(), status, server.stderr())
        self.assertIn(text, server.stderr())
        self.assertEqual(server.process.stdout.read(), '')
        self.assertEqual(server.stderr().count('\n'), 1, server.stderr())
        return server

    def test_broken_image_is_the_programs_error(self):
        self.failing(1, 'the image broken.img is broken', image='broken.img')

    def test_open_socket_folder_is_refused(self):
        folder = tempfile.mkdtemp()
        try:
            os.chmod(folder, 0o755)
            self.failing(1, 'open to other users', socket_dir=folder)
        finally:
            os.rmdir(folder)

    @unittest.skipUnless(os.geteuid() == 0, 'needs root to give a folder away')
    def test_foreign_socket_folder_is_refused(self):
        folder = tempfile.mkdtemp()
        try:
            os.chown(folder, 65534, 65534)
            self.failing(1, 'belongs to another user', socket_dir=folder)
        finally:
            os.rmdir(folder)

    def test_linked_socket_folder_is_refused(self):
        folder = tempfile.mkdtemp()
        try:
            os.symlink(folder, os.path.join(folder, 'link'))
            self.failing(1, 'not a folder', socket_dir=os.path.join(folder, 'link'))
        finally:
            shutil.rmtree(folder)

    def test_too_long_socket_folder_is_refused(self):
        self.failing(1, 'too long', socket_dir='/tmp/' + 'x' * 120)

    def test_port_in_use_is_named(self):
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen()
            address = '127.0.0.1:%d' % other.getsockname()[1]
            server = self.failing(1, f'{address} is in use', listen=address)
            self.assertIn('--listen', server.stderr())

    def test_living_socket_file_is_refused(self):
        first = self.server()
        with socket.socket(socket.AF_UNIX) as other:
            path = os.path.join(first.socket_dir, '.s.PGSQL.5432')
            other.bind(path)
            other.listen()
            self.failing(1, f'{path} is in use', listen='none', socket_dir=first.socket_dir)
            self.assertTrue(os.path.exists(path))

    def test_stale_socket_file_is_replaced(self):
        folder = tempfile.mkdtemp()
        try:
            path = os.path.join(folder, '.s.PGSQL.5432')
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(path)
            server = self.server(listen='none', socket_dir=folder)
            self.assertEqual(server.ready_line, f'pgcell: ready on {path}\n')
            self.assertIn(f'-h {folder} -p 5432', server.psql_line)
            with Client(server, unix=True) as client:
                self.assertEqual(client.query('echo'), 'echo')
            server.stop()
        finally:
            shutil.rmtree(folder)

    def test_file_in_the_way_is_not_removed(self):
        folder = tempfile.mkdtemp()
        try:
            path = os.path.join(folder, '.s.PGSQL.5432')
            with open(path, 'w', encoding='ascii') as f:
                f.write('precious')
            self.failing(1, 'in the way', listen='none', socket_dir=folder)
            with open(path, encoding='ascii') as f:
                self.assertEqual(f.read(), 'precious')
        finally:
            shutil.rmtree(folder)

    def test_public_address_is_refused(self):
        self.failing(1, 'authentication is not set up', listen='0.0.0.0:0')
        self.failing(1, 'authentication is not set up', listen='[::]:0')

    def test_unknown_option_is_a_usage_error(self):
        self.failing(2, '--nonsense', '--nonsense')
        self.failing(2, '--max-cells must be a number', '--max-cells', 'many')

    def test_tcp_only(self):
        server = self.server(socket_dir='none')
        self.assertEqual(server.ready_line, f'pgcell: ready on 127.0.0.1:{server.port}\n')
        with Client(server) as client:
            self.assertEqual(client.query('echo'), 'echo')

    def test_other_commands(self):
        run = subprocess.run([PROGRAM, 'image', 'a', 'b'], capture_output=True, text=True, timeout=10, check=False)
        self.assertEqual(run.stdout, 'fake image command, 2 arguments\n')
        for args, status in (([], 2), (['--help'], 0), (['--version'], 0), (['dance'], 2), (['serve', '--help'], 0)):
            run = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=10, check=False)
            self.assertEqual(run.returncode, status, args)


class Configuration(Case):
    def conf(self, text):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, 'pgcell.conf')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def test_file_is_used(self):
        server = self.server('--config', self.conf("session-memory = 64 # MiB\n"))
        with Client(server) as client:
            self.assertEqual(int(client.about()['memory']), 64 << 20)

    def test_errors_name_file_and_line(self):
        path = self.conf('\nmax-cells = many\n')
        server = self.server('--config', path, ready=False)
        self.assertEqual(server.wait(), 2)
        self.assertEqual(server.stderr(), f'pgcell serve: {path}:2: max-cells must be a number from 1 to 1000000, not "many"\n')

    def test_manual_has_no_warnings(self):
        page = subprocess.run([PROGRAM, 'man'], capture_output=True, timeout=10, check=True).stdout
        lint = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning'], input=page, capture_output=True, timeout=10, check=False)
        self.assertEqual((lint.stdout.decode(), lint.returncode), ('', 0))
        bad = subprocess.run(['mandoc', '-T', 'lint', '-W', 'warning'], input=page + b'.Xy z\n', capture_output=True, timeout=10,
                             check=False)
        self.assertNotEqual(bad.returncode, 0, 'the check finds nothing')
        text = subprocess.run(['mandoc', '-T', 'ascii'], input=page, capture_output=True, timeout=10, check=True).stdout
        self.assertIn('--metrics-listen', re.sub('.\b', '', text.decode()))

    def test_sample_is_a_configuration_of_defaults(self):
        sample = subprocess.run([PROGRAM, 'serve', '--print-config'], capture_output=True, text=True, timeout=10, check=True).stdout
        settings = [line[1:] for line in sample.splitlines() if re.match('#[a-z]', line)]
        self.assertIn('max-cells = 1000', settings)
        server = self.server('--config', self.conf('\n'.join(settings)))
        with Client(server) as client:
            self.assertEqual(int(client.about()['memory']), 1024 << 20)


class Operated(Case):
    def operated(self, *options, **kwargs):
        server = self.server('--metrics-listen', '127.0.0.1:0', *options, **kwargs)
        server.metrics_url = server.process.stdout.readline().split()[1]
        self.assertRegex(server.metrics_url, r'^http://127\.0\.0\.1:\d+/metrics$')
        return server

    @staticmethod
    def get(server, path, method='GET', data=None):
        """Status and body."""
        request = urllib.request.Request(server.metrics_url.removesuffix('/metrics') + path, method=method, data=data)
        try:
            with urllib.request.urlopen(request, timeout=SOCKET_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()

    def metrics(self, server):
        """{(name, labels): value}, as Prometheus' own parser reads it."""
        status, text = self.get(server, '/metrics')
        self.assertEqual(status, 200)
        found = {}
        for family in parser.text_string_to_metric_families(text):
            self.assertTrue(family.documentation, family.name)
            self.assertIn(family.type, ('counter', 'gauge', 'histogram'))
            self.assertTrue(family.name.startswith('pgcell_'))
            for sample in family.samples:
                key = (sample.name, *sorted(sample.labels.items()))
                self.assertNotIn(key, found, 'said twice')
                found[key] = sample.value
        self.assertEqual(len(found), len([line for line in text.splitlines() if not line.startswith('#')]), 'a line is no sample')
        self.check_histograms(found)
        return found

    def check_histograms(self, found):
        for name in {key[0].removesuffix('_bucket') for key in found if key[0].endswith('_bucket')}:
            buckets = sorted((float(key[1][1]), value) for key, value in found.items() if key[0] == name + '_bucket')
            self.assertEqual(buckets[-1][0], float('inf'))
            self.assertEqual([v for _, v in buckets], sorted(v for _, v in buckets), 'not cumulative')
            self.assertEqual(buckets[-1][1], found[(name + '_count',)])


class Operations(Operated):
    def test_no_metrics_unless_asked_for(self):
        server = self.server()
        held = os.listdir(f'/proc/{server.process.pid}/fd')
        server.stop()
        other = self.operated()
        self.assertGreater(len(os.listdir(f'/proc/{other.process.pid}/fd')), len(held))

    def test_counts(self):
        server = self.operated('--sessions-per-cell', '4', '--autovacuum-naptime', '1')
        before = self.metrics(server)
        self.assertEqual(before[('pgcell_sessions',)], 0)
        self.assertEqual(before[('pgcell_build_info', ('postgres', 'none'), ('version', '0.1.0'))], 1)
        with Client(server) as client, Client(server, 'a@b'):
            client.query('error 22012 3')
            client.query('error 42P01')
            # a session notes that it is ready after it has told its client
            self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_session_ready_seconds_count',)] == 2))
            during = self.metrics(server)
            self.assertEqual(during[('pgcell_sessions',)], 2)
            self.assertEqual(during[('pgcell_cells', ('state', 'ready'))], 2)
            self.assertEqual(during[('pgcell_errors_total', ('sqlstate', '22012'))], 3)
            self.assertGreater(during[('pgcell_client_bytes_total', ('direction', 'in'))], 20)
            self.assertGreater(during[('pgcell_client_bytes_total', ('direction', 'out'))], 20)
            self.assertEqual(during[('pgcell_session_ready_seconds_count',)], 2)
            self.assertGreaterEqual(during[('pgcell_memory_bytes', ('kind', 'cells'))], 8192)
            self.assertGreater(during[('pgcell_memory_bytes', ('kind', 'fork_server'))], 100000)
        self.refused('3D000', 'invalid cell name', server, 'a@!')
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_sessions',)] == 0))
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_autovacuums_total', ('result', 'ok'))] > 0))
        after = self.metrics(server)
        self.assertEqual(after[('pgcell_session_starts_total', ('result', 'ok'))], 2)
        self.assertEqual(after[('pgcell_session_start_seconds_count',)], 2)
        self.assertEqual(after[('pgcell_session_ready_seconds_count',)], 2)
        self.assertEqual(after[('pgcell_errors_total', ('sqlstate', '22012'))], 3)
        self.assertEqual(after[('pgcell_errors_total', ('sqlstate', '42P01'))], 1)
        self.assertEqual(after[('pgcell_refused_total', ('sqlstate', '3D000'))], 1)
        for key, value in during.items():
            if key[0].endswith('_total'):
                self.assertGreaterEqual(after[key], value, key)

    def test_crashes_and_recoveries(self):
        server = self.operated()
        for how, end in (('segv', 'signal'), ('86', 'trap'), ('7', 'other'), ('1', 'fatal')):
            with Client(server, 'a@b') as client:
                client.send_query(f'crash {how}')
                self.assertTrue(client.closed())
            key = ('pgcell_session_ends_total', ('how', end))
            self.assertTrue(wait_until(lambda k=key: self.metrics(server)[k] == 1), how)
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_recoveries_total', ('result', 'ok'))] == 3))
        self.assertEqual(self.metrics(server)[('pgcell_traps_total',)], 1)

    def test_sqlstates_are_bounded(self):
        server = self.operated()
        for client in range(6):
            with Client(server, f'a@b{client}') as c:
                c.query('errors 100')
                c.query(f'error A{client}000')
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_sessions',)] == 0))
        found = {key[1][1]: value for key, value in self.metrics(server).items() if key[0] == 'pgcell_errors_total'}
        self.assertEqual(sum(found.values()), 606)
        self.assertEqual(found['other'], 6 * 37)
        self.assertEqual(len(found), 65)

    def test_a_page_of_nonsense_harms_nobody(self):
        server = self.operated('--sessions-per-cell', '4')
        with Client(server) as bad, Client(server) as good:
            self.assertEqual(good.query('pages'), '1', 'a session sees its own page only')
            good.query('error 22012')
            bad.send_query('spoil')
            self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_client_bytes_total', ('direction', 'in'))] > 1e12))
            self.assertLess(self.metrics(server)[('pgcell_client_bytes_total', ('direction', 'in'))], 1e15)
            self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_errors_total', ('sqlstate', 'other'))] > 1e9))
            self.assertEqual(self.metrics(server)[('pgcell_errors_total', ('sqlstate', '22012'))], 1)
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_sessions',)] == 0))
        with Client(server) as client:
            self.assertEqual(client.query('echo'), 'echo')
        self.metrics(server)

    def test_pages_are_given_back(self):
        server = self.operated('--max-sessions', '3', '--sessions-per-cell', '9')
        for _ in range(5):
            clients = [Client(server) for _ in range(3)]
            for client in clients:
                client.query('error 22012')
                client.close()
            self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_sessions',)] == 0))
        self.assertEqual(self.metrics(server)[('pgcell_errors_total', ('sqlstate', '22012'))], 15)

    def test_health(self):
        server = self.operated()
        self.assertEqual(self.get(server, '/healthz'), (200, 'ok\n'))
        self.assertEqual(self.get(server, '/healthz', 'HEAD'), (200, ''))
        self.assertEqual(self.get(server, '/healthz', 'POST', b'x' * 100000)[0], 405)
        self.assertEqual(self.get(server, '/nothing')[0], 404)

    def test_ready_is_a_completed_query(self):
        server = self.operated()
        self.assertEqual(self.get(server, '/readyz'), (200, 'ok\n'))
        started = self.metrics(server)[('pgcell_session_starts_total', ('result', 'ok'))]
        self.assertEqual(started, 1)
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.get(server, '/readyz'))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [(200, 'ok\n')] * 20)
        self.assertEqual(self.metrics(server)[('pgcell_session_starts_total', ('result', 'ok'))], 1, 'a second has not passed')
        time.sleep(1.1)
        self.assertEqual(self.get(server, '/readyz'), (200, 'ok\n'))
        self.assertEqual(self.metrics(server)[('pgcell_session_starts_total', ('result', 'ok'))], 2)

    def test_not_ready_says_why(self):
        server = self.operated(image='unpopulated.img')
        status, text = self.get(server, '/readyz')
        self.assertEqual(status, 503)
        self.assertIn('could not start a session', text)
        self.assertEqual(self.get(server, '/healthz'), (200, 'ok\n'))
        self.assertEqual(self.metrics(server)[('pgcell_session_starts_total', ('result', 'failed'))], 1)

    def test_not_ready_when_full(self):
        server = self.operated('--max-sessions', '1')
        with Client(server):
            self.assertEqual(self.get(server, '/readyz'), (503, 'the query failed: sorry, too many clients already\n'))
        self.assertTrue(wait_until(lambda: self.get(server, '/readyz')[0] == 200))

    def test_a_hung_server_is_not_ready(self):
        server = self.operated()
        fork_server = children_of(server.process.pid)[0]
        os.kill(fork_server, signal.SIGSTOP)
        try:
            self.assertEqual(self.get(server, '/readyz'), (503, 'no answer in time\n'))
        finally:
            os.kill(fork_server, signal.SIGCONT)

    def test_public_metrics_are_logged(self):
        server = self.server('--metrics-listen', '0.0.0.0:0')
        self.assertIn('other machines can read them', server.stderr())

    def test_metrics_port_in_use(self):
        with socket.socket() as other:
            other.bind(('127.0.0.1', 0))
            other.listen()
            server = self.server('--metrics-listen', '127.0.0.1:%d' % other.getsockname()[1], ready=False)
            self.assertEqual(server.wait(), 1)
            self.assertIn('--metrics-listen: cannot listen on', server.stderr())

    def test_reload(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, 'pgcell.conf')

        def write(text):
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)

        write('session-memory = 64\n')
        server = self.operated('--config', path)
        write('session-memory = 128\nmax-sessions = 3\n')
        server.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_reloads_total', ('result', 'ok'))] == 1))
        self.assertIn('parameter "session-memory" changed to "128"', server.stderr())
        self.assertIn('parameter "max-sessions" cannot be changed without restarting the server', server.stderr())
        with Client(server) as client:
            self.assertEqual(int(client.about()['memory']), 128 << 20)
        write('session-memory = much\n')
        server.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_reloads_total', ('result', 'failed'))] == 1))
        self.assertIn(f'was not reloaded: {path}:1: session-memory must be', server.stderr())
        write('session-memory = 32\n')
        server.process.send_signal(signal.SIGHUP)
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_reloads_total', ('result', 'ok'))] == 2))
        with Client(server, 'a@b') as client:
            self.assertEqual(int(client.about()['memory']), 32 << 20)


class Systemd(Operated):
    """Activation and notification, with this test in systemd's place."""

    def notify_socket(self, abstract):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.settimeout(5)
        if abstract:
            name = f'pgcell-test-{os.getpid()}-{time.monotonic_ns()}'
            sock.bind('\0' + name)
            return sock, '@' + name
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        sock.bind(os.path.join(folder, 'notify'))
        return sock, os.path.join(folder, 'notify')

    @staticmethod
    def state(sock):
        return dict(line.split('=', 1) for line in sock.recv(4096).decode().split('\n'))

    def activated(self, *sockets, names='', options=(), env=None, pid='$$', count=None, ready=True):
        """A server that finds these as descriptors 3, 4, ..."""
        for sock in sockets:
            self.addCleanup(sock.close)
        first = 100

        def pass_sockets():
            for i, sock in enumerate(sockets):
                os.dup2(sock.fileno(), first + i)
            for i in range(len(sockets)):
                os.dup2(first + i, 3 + i)

        command = f'LISTEN_PID={pid} LISTEN_FDS={len(sockets) if count is None else count} LISTEN_FDNAMES={names} exec "$@"'
        server = self.server(*options, ready=ready, env=env, wrapper=['sh', '-c', command, 'sh'],
                             pass_fds=tuple(range(3, 3 + len(sockets))), preexec_fn=pass_sockets)
        return server

    @staticmethod
    def tcp(address='127.0.0.1'):
        sock = socket.socket()
        sock.bind((address, 0))
        sock.listen()
        return sock

    def test_ready_reload_stop(self):
        for abstract in (False, True):
            with self.subTest(abstract=abstract):
                sock, address = self.notify_socket(abstract)
                server = self.server(env={'NOTIFY_SOCKET': address})
                self.assertEqual(self.state(sock)['READY'], '1')
                server.process.send_signal(signal.SIGHUP)
                reloading = self.state(sock)
                self.assertEqual(reloading['RELOADING'], '1')
                self.assertLess(abs(int(reloading['MONOTONIC_USEC']) / 1e6 - time.monotonic()), 2)
                self.assertEqual(self.state(sock)['READY'], '1')
                server.descendants()
                server.process.send_signal(signal.SIGTERM)
                stopping = self.state(sock)
                self.assertEqual(stopping['STOPPING'], '1')
                self.assertGreater(int(stopping['EXTEND_TIMEOUT_USEC']), 10_000_000)
                self.assertEqual(server.wait(), 0)

    def test_nothing_is_ready_that_fails(self):
        sock, address = self.notify_socket(False)
        server = self.server(env={'NOTIFY_SOCKET': address}, image='broken.img', ready=False)
        self.assertEqual(server.wait(), 1)
        sock.setblocking(False)
        with self.assertRaises(BlockingIOError):
            sock.recv(1)

    def test_watchdog(self):
        sock, address = self.notify_socket(False)
        self.server(env={'NOTIFY_SOCKET': address, 'WATCHDOG_USEC': '400000'})
        self.assertIn('READY', self.state(sock))
        start = time.monotonic()
        for _ in range(4):
            self.assertEqual(self.state(sock), {'WATCHDOG': '1'})
        self.assertTrue(0.5 < time.monotonic() - start < 3)

    def test_a_watchdog_of_another_process_is_not_ours(self):
        sock, address = self.notify_socket(False)
        self.server(env={'NOTIFY_SOCKET': address, 'WATCHDOG_USEC': '100000', 'WATCHDOG_PID': '1'})
        self.assertIn('READY', self.state(sock))
        sock.settimeout(0.5)
        with self.assertRaises(TimeoutError):
            sock.recv(1)

    def test_passed_sockets_are_served(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        tcp, http = self.tcp(), self.tcp()
        local = socket.socket(socket.AF_UNIX)
        path = os.path.join(folder, '.s.PGSQL.6543')
        local.bind(path)
        local.listen()
        server = self.activated(tcp, local, http, names='postgresql:postgresql:metrics')
        port = tcp.getsockname()[1]
        self.assertEqual(server.ready_line, f'pgcell: ready on 127.0.0.1:{port} and {path}\n')
        server.metrics_url = server.process.stdout.readline().split()[1]
        self.assertEqual(server.metrics_url, 'http://127.0.0.1:%d/metrics' % http.getsockname()[1])
        self.assertEqual(len(os.listdir(server.socket_dir)), 1, 'only the control socket is its own')
        server.socket_file = path
        with Client(server) as client, Client(server, 'a@b', unix=True):
            self.assertEqual(client.query('echo'), 'echo')
            fds = client.query('fds')
            self.assertEqual(fds.count('socket:'), 2, fds)  # the client's, and to the fork server (peers.h)
        self.assertEqual(self.get(server, '/readyz')[0], 200)
        server.stop()
        self.assertTrue(os.path.exists(path), "the socket's file is systemd's")
        server.socket_file = None
        # a client that knocks now waits for the next server
        with socket.create_connection(('127.0.0.1', port), timeout=2):
            pass

    def test_sockets_of_another_process_are_not_ours(self):
        tcp = self.tcp()
        server = self.activated(tcp, pid='1')
        self.assertNotIn(':%d ' % tcp.getsockname()[1], server.ready_line)

    def failing(self, text, *sockets, status=1, **kwargs):
        server = self.activated(*sockets, ready=False, **kwargs)
        self.assertEqual(server.wait(), status, server.stderr())
        self.assertIn(text, server.stderr())

    def test_what_is_passed_wrongly_is_said(self):
        self.failing('authentication is not set up', self.tcp('0.0.0.0'))
        self.failing('not a stream socket that listens', socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.failing('not a stream socket that listens', socket.socket())
        self.failing('not two of a kind', self.tcp(), self.tcp())
        self.failing('descriptor 4 is not open', self.tcp(), count=2, status=2)
        self.failing('LISTEN_FDS must be', self.tcp(), count=9, status=2)


class Logging(Operated):
    def test_text_names_cell_and_session(self):
        server = self.server('--verbose')
        with Client(server, 'a@shop') as client:
            pid = client.pid
        self.assertTrue(wait_until(lambda: 'ended with' in server.stderr()))
        self.assertRegex(server.stderr(), r'(?m)^pgcell: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info cell=shop session=%d started$' % pid)

    def test_json_is_an_object_a_line(self):
        server = self.server('--verbose', '--log-format', 'json', '--max-cells', '1')
        with Client(server, 'a@shop') as client:
            pid = client.pid
            for name in ('a@"', 'a@\x01\x02', 'a@\\n', 'a@\u00e9', 'a@' + '"' * 5000):
                with self.assertRaises(PgError):
                    Client(server, name)
        with Client(server, start=False) as client:
            body = struct.pack('!I', STARTUP_3_0) + b'user\0p\0database\0a@\xff\xfe\xed\xa0\x80\0\0'
            client.sock.sendall(struct.pack('!I', len(body) + 4) + body)
            with self.assertRaises(PgError):
                client.message()
        self.assertTrue(wait_until(lambda: 'ended with' in server.stderr()))
        lines = [json.loads(line) for line in server.stderr().splitlines()]
        for line in lines:
            self.assertLessEqual({'time', 'level', 'message'}, set(line))
            self.assertLessEqual(set(line), {'time', 'level', 'cell', 'session', 'message', 'truncated'})
            datetime.datetime.strptime(line['time'], '%Y-%m-%dT%H:%M:%S.%fZ')
            self.assertIn(line['level'], ('info', 'warning', 'error'))
        self.assertIn({'cell': 'shop', 'session': pid, 'level': 'info', 'message': 'started'},
                      [{k: v for k, v in line.items() if k != 'time'} for line in lines])
        self.assertEqual(len([line for line in lines if line['message'].startswith('refused: invalid cell name')]), 6)


class Draining(Operated):
    def test_idle_sessions_end_at_once_and_others_when_they_are_idle(self):
        server = self.operated('--drain-timeout', '8000', '--sessions-per-cell', '4')
        with Client(server) as idle, Client(server) as busy, Client(server, start=False) as late:
            busy.send_query('sleep 1500')
            time.sleep(0.2)
            server.descendants()
            start = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(idle.closed())
            self.assertLess(time.monotonic() - start, 1)
            self.assertEqual(self.get(server, '/readyz'), (503, 'the server is shutting down\n'))
            self.assertEqual(self.get(server, '/healthz'), (200, 'ok\n'))
            self.assertEqual(self.metrics(server)[('pgcell_draining',)], 1)
            with self.assertRaises(ConnectionRefusedError):
                Client(server)
            late.send_startup()
            with self.assertRaises(PgError) as caught:
                late.message()
            self.assertEqual(caught.exception.code, '57P03')
            self.assertEqual(busy.result(), 'slept')
            self.assertTrue(busy.closed())
            self.assertEqual(server.wait(), 0)
            self.assertLess(time.monotonic() - start, 3)

    def test_waiting_clients_are_told(self):
        server = self.operated('--drain-timeout', '8000')
        with Client(server) as busy, Client(server, start=False) as waiting:
            waiting.send_startup()
            busy.send_query('sleep 1000')
            time.sleep(0.2)
            server.descendants()
            server.process.send_signal(signal.SIGTERM)
            with self.assertRaises(PgError) as caught:
                waiting.message()
            self.assertEqual(caught.exception.code, '57P03')
            self.assertEqual(busy.result(), 'slept')
            self.assertEqual(server.wait(), 0)

    def test_limit(self):
        server = self.operated('--drain-timeout', '500')
        with Client(server) as busy:
            busy.send_query('sleep 15000')
            time.sleep(0.2)
            server.descendants()
            start = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            self.assertTrue(busy.closed())
            self.assertGreater(time.monotonic() - start, 0.4)
            self.assertEqual(server.wait(), 0)
            self.assertLess(time.monotonic() - start, 3)
            self.assertIn('still run after the drain timeout', server.stderr())

    def test_second_signal_is_immediate(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            server = self.operated()
            with Client(server) as busy:
                busy.send_query('sleep 15000')
                time.sleep(0.2)
                server.descendants()
                server.process.send_signal(signal.SIGTERM)
                time.sleep(0.2)
                server.process.send_signal(second)
                self.assertEqual(server.wait(2), 1)

    def test_crash_while_draining_ends_its_cell_only(self):
        server = self.operated('--drain-timeout', '8000', '--sessions-per-cell', '4')
        with Client(server, 'a@x') as crashing, Client(server, 'a@x') as other, Client(server, 'a@y') as healthy:
            for client, sleep in ((crashing, 500), (other, 6000), (healthy, 1500)):
                client.send_query(f'sleep {sleep}')
            time.sleep(0.2)
            server.descendants()
            start = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            os.kill(crashing.pid, signal.SIGKILL)
            self.assertTrue(other.closed())
            self.assertLess(time.monotonic() - start, 1.2)
            self.assertEqual(healthy.result(), 'slept')
            self.assertEqual(server.wait(), 0)

    def test_interrupt_does_not_drain(self):
        server = self.operated()
        with Client(server) as busy:
            busy.send_query('sleep 15000')
            time.sleep(0.2)
            server.descendants()
            start = time.monotonic()
            self.assertEqual(server.stop(signal.SIGINT), 0)
            self.assertLess(time.monotonic() - start, 2)


class Connecting(Case):
    def test_tcp_session(self):
        server = self.server()
        with Client(server, minor=2) as client:
            self.assertEqual(client.query('hello'), 'hello')
            about = client.about()
            self.assertEqual(about['peer'], '127.0.0.1')
            self.assertEqual(int(about['port']), client.sock.getsockname()[1])
            self.assertEqual(about['slot'], '1')
            self.assertEqual(int(about['memory']), 1024 << 20)
            self.assertEqual(int(about['death']), signal.SIGKILL)
            self.assertLess(abs(int(about['created']) / 1e6 - time.time()), 60)
            self.assertEqual(int(about['pid']), client.pid)

    def test_unix_session(self):
        server = self.server()
        with Client(server, unix=True) as client:
            self.assertEqual(client.about()['peer'], 'local')

    def test_session_holds_only_its_own_descriptors(self):
        server = self.server('--sessions-per-cell', '4')
        with Client(server), Client(server, 'a@b'), Client(server) as client:
            fds = dict(pair.split('=', 1) for pair in client.query('fds').split(' ') if '=' in pair)
            self.assertEqual(fds.pop('0'), '/dev/null')
            self.assertEqual(fds.pop('1'), '/dev/null')
            del fds['2']
            fds = [target for target in fds.values() if target not in ('/proc/self/fd', '/dev/null')]
            self.assertEqual(sorted(target.split(':')[0] for target in fds), ['/memfd', 'socket', 'socket'])  # its cell, its client, its way to the cell's others

    def test_client_may_send_byte_by_byte(self):
        server = self.server()
        with Client(server, start=False) as client:
            for byte in Client.startup_packet():
                client.sock.sendall(bytes([byte]))
                time.sleep(0.002)
            client.finish_startup()
            self.assertEqual(client.query('x'), 'x')

    def test_bytes_after_the_startup_packet_are_kept(self):
        server = self.server()
        with Client(server, start=False) as client:
            packet = Client.startup_packet('postgres@a')
            client.sock.sendall(packet + b'Q' + struct.pack('!I', 9) + b'ping\0')
            client.finish_startup()
            self.assertEqual(client.result(), 'ping')
            self.assertEqual(client.query('pong'), 'pong')

    def test_socket_folder_goes_if_the_server_made_it(self):
        for existed in (False, True):
            with tempfile.TemporaryDirectory() as parent:
                folder = os.path.join(parent, 'made')
                if existed:
                    os.mkdir(folder, 0o700)
                process = subprocess.Popen([PROGRAM, 'serve', '--listen', '127.0.0.1:0', '--socket-dir', folder, '--image', 'x'],
                                           stdout=subprocess.PIPE, text=True)
                self.addCleanup(process.kill)
                self.assertIn('ready', process.stdout.readline())
                self.assertEqual(len(os.listdir(folder)), 2)
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(10), 0)
                process.stdout.close()
                self.assertEqual(os.path.exists(folder), existed)

    def test_ssl_and_gss_requests_are_declined(self):
        server = self.server()
        with Client(server, start=False) as client:
            for code in (SSL_REQUEST, GSSENC_REQUEST):
                client.sock.sendall(struct.pack('!II', 8, code))
                self.assertEqual(client.receive(1), b'N')
            client.send_startup()
            client.finish_startup()
            self.assertEqual(client.query('x'), 'x')

    def test_repeated_ssl_request_is_an_unknown_protocol(self):
        server = self.server()
        with Client(server, start=False) as client:
            client.sock.sendall(struct.pack('!II', 8, SSL_REQUEST))
            client.receive(1)
            client.sock.sendall(struct.pack('!II', 8, SSL_REQUEST))
            with self.assertRaises(PgError) as caught:
                client.message()
            self.assertEqual(caught.exception.message,
                             'unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2')

    def test_data_smuggled_after_ssl_request_is_refused(self):
        server = self.server()
        with Client(server, start=False) as client:
            client.sock.sendall(struct.pack('!II', 8, SSL_REQUEST) + Client.startup_packet())
            self.assertEqual(client.receive(1), b'N')
            with self.assertRaises(PgError) as caught:
                client.message()
            self.assertEqual(caught.exception.code, '08P01')
            self.assertIn('man-in-the-middle', caught.exception.fields['D'])

    def test_unknown_protocol_version(self):
        server = self.server()
        with Client(server, start=False) as client:
            client.sock.sendall(struct.pack('!II', 8, 2 << 16))
            with self.assertRaises(PgError) as caught:
                client.message()
            self.assertEqual(caught.exception.code, '0A000')
            self.assertTrue(client.closed())

    def test_lying_lengths_are_closed(self):
        server = self.server()
        for length in (0, 4, 7, 10005, 0x7fffffff, 0x80000000, 0xffffffff):
            with Client(server, start=False) as client:
                client.sock.sendall(struct.pack('!I', length))
                self.assertTrue(client.closed(), length)
        with Client(server) as client:
            self.assertEqual(client.query('x'), 'x')

    def test_packet_cut_short_and_hang_up(self):
        server = self.server()
        for length in (1, 3, 4, 9, 30):
            with Client(server, start=False) as client:
                client.sock.sendall(Client.startup_packet()[:length])
                client.sock.shutdown(socket.SHUT_WR)
                self.assertTrue(client.closed(), length)

    def test_missing_terminator(self):
        server = self.server()
        with Client(server, start=False) as client:
            client.sock.sendall(struct.pack('!II', 13, STARTUP_3_0) + b'user\0')
            with self.assertRaises(PgError) as caught:
                client.message()
            self.assertEqual(caught.exception.code, '08P01')

    def test_random_bytes(self):
        server = self.server()
        for junk in (b'GET / HTTP/1.1\r\n\r\n', b'\x16\x03\x01\x02\x00\x01', b'SSH-2.0-x\r\n', b'\xff' * 5000,
                     os.urandom(3000)):
            with Client(server, start=False) as client:
                client.sock.sendall(junk)
                client.sock.shutdown(socket.SHUT_WR)
                while client.sock.recv(4096):
                    pass
        with Client(server) as client:
            self.assertEqual(client.query('x'), 'x')

    def test_silent_client_is_closed(self):
        server = self.server('--startup-timeout', '300')
        with Client(server, start=False) as silent, Client(server, start=False) as slow, Client(server) as good:
            slow.sock.sendall(b'\0\0\0')
            start = time.monotonic()
            self.assertTrue(silent.closed())
            self.assertTrue(slow.closed())
            self.assertLess(time.monotonic() - start, 3)
            time.sleep(0.5)
            self.assertEqual(good.query('still here'), 'still here')

    def test_real_psql(self):
        psql = shutil.which('psql')
        if psql is None:
            self.skipTest('no psql')
        server = self.server()
        for host in ('127.0.0.1', server.socket_dir):
            run = subprocess.run([psql, '-X', '-w', '-h', host, '-p', str(server.port), '-U', 'postgres', '-c', 'hello', 'db@x'],
                                 capture_output=True, text=True, timeout=10, check=False)
            self.assertEqual((run.returncode, run.stdout), (0, 'hello\n'), run.stderr)


class Routing(Case):
    def test_cells_keep_their_memory_and_are_separate(self):
        server = self.server()
        with Client(server, 'postgres@shop') as client:
            self.assertEqual(client.query('incr'), '101')
            shop = client.about()['inode']
        with Client(server, 'other@shop') as client:
            self.assertEqual(client.query('incr'), '102')
            about = client.about()
            self.assertEqual((about['inode'], about['populations']), (shop, '1'))
        with Client(server) as client:
            self.assertEqual(client.query('incr'), '101')
            default = client.about()['inode']
            self.assertNotEqual(default, shop)
        with Client(server, 'postgres@default') as client:
            self.assertEqual(client.about()['inode'], default)

    def test_cell_part_is_removed_from_the_startup_packet(self):
        server = self.server()
        for database, expected in (('db@c', 'user|u|database|db||'), ('a@b@c', 'user|u|database|a@b||'),
                                   ('@c', 'user|u||'), ('db', 'user|u|database|db||'), (None, 'user|u||')):
            with Client(server, database, 'u') as client:
                self.assertEqual(client.query('startup'), expected)
        with Client(server, None, 'u@c') as client:
            self.assertEqual(client.query('startup'), 'user|u@c||')

    def test_bad_cell_names_are_refused(self):
        server = self.server()
        for name in ('', 'a b', 'é', 'x' * 64, '~1', '../etc'):
            self.refused('3D000', 'invalid cell name', server, f'db@{name}')
        with Client(server, 'db@' + 'x' * 63) as client:
            self.assertEqual(client.query('x'), 'x')

    def test_new_is_private_and_ends_with_its_connection(self):
        server = self.server('--max-cells', '2')
        for _ in range(4):
            with Client(server, 'db@new') as one, Client(server, 'db@new') as two:
                self.assertNotEqual(one.about()['inode'], two.about()['inode'])
                self.assertEqual((one.query('incr'), two.query('incr')), ('101', '101'))
                self.assertEqual(one.query('startup'), 'user|postgres|database|db||')
                pids = (one.pid, two.pid)
            self.assertTrue(wait_until(lambda p=pids: not any(map(is_alive, p))))
            time.sleep(0.05)

    def test_isolate_connection(self):
        server = self.server('--isolate=connection')
        with Client(server) as one, Client(server) as two, Client(server, 'db@same') as three, \
                Client(server, 'db@same') as four:
            self.assertEqual(len({client.about()['inode'] for client in (one, two, three, four)}), 4)

    def test_failed_population_is_told_and_leaves_nothing(self):
        server = self.server('--max-cells', '1', image='unpopulated.img')
        for name in ('a', 'b', 'new'):
            self.refused('53000', 'No space left', server, f'db@{name}')


class Limits(Case):
    def test_busy_cell_makes_wait_and_serves(self):
        server = self.server()
        with Client(server) as first, Client(server, start=False) as second:
            second.send_startup()
            time.sleep(0.2)
            first.query('incr')
            first.close()
            second.finish_startup()
            self.assertEqual(second.query('incr'), '102')

    def test_waiting_is_first_come_first_served(self):
        server = self.server()
        with Client(server) as first:
            queue = [Client(server, start=False) for _ in range(4)]
            for client in queue:
                client.send_startup()
                time.sleep(0.05)
            first.close()
            for i, client in enumerate(queue):
                client.finish_startup()
                self.assertEqual(client.query('incr'), str(101 + i))
                client.close()

    def test_waiting_ends_with_53300(self):
        server = self.server('--session-wait', '300')
        with Client(server, 'db@shop') as first:
            start = time.monotonic()
            error = self.refused('53300', 'cell "shop" is in use by another session', server, 'db@shop')
            self.assertGreater(time.monotonic() - start, 0.25)
            self.assertIn('H', error.fields)
            self.assertEqual(first.query('x'), 'x')
            with Client(server, 'db@other') as other:
                self.assertEqual(other.query('x'), 'x')

    def test_waiting_client_that_hangs_up_is_dropped(self):
        server = self.server('--verbose')
        with Client(server) as first:
            gone = Client(server, start=False)
            gone.send_startup()
            time.sleep(0.1)
            gone.close()
            self.assertTrue(wait_until(lambda: 'hung up' in server.stderr()))
            with Client(server, start=False) as patient:
                patient.send_startup()
                first.close()
                patient.finish_startup()
                self.assertEqual(patient.query('x'), 'x')

    def test_sessions_per_cell_share_memory_with_own_slots(self):
        server = self.server('--sessions-per-cell', '2', '--session-wait', '200')
        with Client(server) as one, Client(server) as two:
            self.assertEqual((one.query('incr'), two.query('incr')), ('101', '102'))
            self.assertEqual((one.about()['slot'], two.about()['slot']), ('1', '2'))
            self.refused('53300', 'in use', server)
            one.close()
            with Client(server) as three:
                self.assertEqual(three.about()['slot'], '1')

    def test_max_sessions(self):
        server = self.server('--max-sessions', '2')
        with Client(server, 'db@a') as one, Client(server, 'db@b'):
            self.refused('53300', 'too many clients', server, 'db@c')
            one.close()
            self.assertTrue(wait_until(lambda: not is_alive(one.pid)))
            time.sleep(0.05)
            with Client(server, 'db@c') as three:
                self.assertEqual(three.query('x'), 'x')

    def test_max_cells(self):
        server = self.server('--max-cells', '1')
        with Client(server, 'db@a'):
            error = self.refused('53400', 'too many cells', server, 'db@b')
            self.assertIn('--max-cells', error.fields['H'])

    def test_flood_of_silent_connections_is_bounded(self):
        server = self.server('--max-sessions', '4')
        silent = [Client(server, start=False) for _ in range(4 + 64)]
        try:
            time.sleep(0.2)
            with self.assertRaises((PgError, OSError)) as caught:
                Client(server)
            if isinstance(caught.exception, PgError):
                self.assertEqual(caught.exception.code, '53300')
        finally:
            for client in silent:
                client.close()
        self.assertTrue(wait_until(lambda: self.can_connect(server)))

    @staticmethod
    def can_connect(server):
        try:
            Client(server).close()
            return True
        except (PgError, OSError):
            return False

    def test_out_of_descriptors_turns_away_and_goes_on(self):
        server = self.server()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (40, hard))
        clients = [Client(server, start=False) for _ in range(60)]
        with self.assertRaises(PgError) as caught:
            clients[-1].message()
        self.assertEqual(caught.exception.code, '53300')
        for client in clients:
            client.close()
        self.assertIn('out of file descriptors', server.stderr())
        self.assertTrue(wait_until(lambda: self.can_connect(server)))

    def test_many_cells_at_once(self):
        server = self.server()
        clients = [Client(server, f'db@c{i}', start=False) for i in range(150)]
        for i, client in enumerate(clients):
            client.send_startup(f'db@c{i}')
        for client in clients:
            client.finish_startup()
        self.assertEqual({client.query('incr') for client in clients}, {'101'})
        self.assertEqual(len(server.descendants()), 151)
        for client in clients:
            client.close()


class Cancelling(Case):
    def cancel(self, server, pid, key):
        with Client(server, start=False) as client:
            client.sock.sendall(struct.pack('!IIII', 16, CANCEL_REQUEST, pid, key))
            self.assertTrue(client.closed())

    def test_cancel_reaches_the_cell_despite_limits(self):
        server = self.server('--max-sessions', '1')
        with Client(server) as client:
            self.cancel(server, client.pid, client.key)
            self.cancel(server, client.pid, client.key)
            self.assertTrue(wait_until(lambda: client.about()['cancels'] == '2'))

    def test_cancel_of_unknown_or_lying_is_closed(self):
        server = self.server()
        with Client(server) as client:
            for pid in (1, 0, 0xffffffff, os.getpid(), server.process.pid):
                self.cancel(server, pid, 0x12345678)
            self.cancel(server, client.pid, 0)
            for packet in (struct.pack('!III', 12, CANCEL_REQUEST, client.pid), struct.pack('!II', 8, CANCEL_REQUEST),
                           struct.pack('!III', 12 + 257, CANCEL_REQUEST, client.pid) + b'x' * 257):
                with Client(server, start=False) as liar:
                    liar.sock.sendall(packet)
                    self.assertTrue(liar.closed())
            self.assertEqual(client.about()['cancels'], '0')


class Dying(Case):
    def test_orderly_exit_status_1_needs_no_recovery(self):
        server = self.server()
        with Client(server) as client:
            client.send_query('crash 1')
            self.assertTrue(client.closed())
        with Client(server) as client:
            self.assertEqual(client.about()['recoveries'], '0')

    def test_crash_recovers_the_cell_before_the_next_session(self):
        for i, how in enumerate(('segv', 'abort', '3')):
            server = self.server()
            with Client(server) as client:
                client.query('incr')
                client.send_query(f'crash {how}')
                self.assertTrue(client.closed())
            with Client(server) as client:
                self.assertEqual(client.query('incr'), '102')
                self.assertEqual(client.about()['recoveries'], '1', (i, how))
            self.assertIn('ended abnormally', server.stderr())

    def test_killed_session_recovers_and_serves_the_queue(self):
        server = self.server()
        with Client(server, 'db@a') as first, Client(server, start=False) as waiting, Client(server, 'db@b') as other:
            waiting.send_startup('db@a')
            time.sleep(0.1)
            os.kill(first.pid, signal.SIGKILL)
            waiting.finish_startup()
            self.assertEqual(waiting.about()['recoveries'], '1')
            self.assertEqual(other.about()['recoveries'], '0')

    def test_crash_ends_the_cells_other_sessions_first(self):
        server = self.server('--sessions-per-cell', '3')
        with Client(server) as one, Client(server) as two, Client(server, 'db@b') as other:
            one.send_query('crash segv')
            self.assertTrue(two.closed())
            with Client(server) as next_one:
                about = next_one.about()
                self.assertEqual((about['recoveries'], about['slot']), ('1', '1'))
            self.assertEqual(other.query('x'), 'x')

    def test_failed_recovery_refuses_instead_of_losing_data(self):
        server = self.server()
        with Client(server, 'db@a') as client, Client(server, start=False) as waiting:
            client.query('fail_recovery')
            waiting.send_startup('db@a')
            time.sleep(0.1)
            client.send_query('crash abort')
            with self.assertRaises(PgError) as caught:
                waiting.finish_startup()
            self.assertEqual((caught.exception.code, caught.exception.message), ('58000', 'cell "a" is damaged'))
        self.refused('58000', 'cell "a" is damaged', server, 'db@a')
        with Client(server, 'db@b') as client:
            self.assertEqual(client.query('x'), 'x')

    def test_crashed_private_cell_is_dropped(self):
        server = self.server('--max-cells', '1')
        with Client(server, 'db@new') as client:
            client.send_query('crash segv')
            self.assertTrue(client.closed())
        time.sleep(0.2)
        with Client(server, 'db@new') as client:
            self.assertEqual(client.about()['recoveries'], '0')

    def test_cells_that_are_used_are_vacuumed(self):
        server = self.server('--autovacuum-naptime', '1')
        with Client(server, 'db@a') as a, Client(server, 'db@new') as private:
            with Client(server, 'db@b') as b:
                b.query('incr')
            time.sleep(3.5)
            about = a.about()
            self.assertIn(int(about['vacuum_workers']), (2, 3, 4))
            self.assertEqual(about['vacuum_launchers'], about['vacuum_workers'])
            self.assertEqual(private.about()['vacuum_launchers'], '0')
        with Client(server, 'db@b') as b:  # once: nobody was there since
            self.assertEqual(b.about()['vacuum_workers'], '1')

    def test_a_cell_that_wants_no_vacuum_gets_no_worker(self):
        server = self.server('--autovacuum-naptime', '1')
        with Client(server) as client:
            client.query('vacuum_end 1')
            time.sleep(1.5)
            about = client.about()
            self.assertEqual((about['vacuum_launchers'], about['vacuum_workers'], about['recoveries']), ('1', '0', '0'))

    def test_a_vacuum_that_crashes_is_a_crash_of_its_cell_alone(self):
        server = self.server('--autovacuum-naptime', '1')
        with Client(server) as client, Client(server, 'db@b') as other:
            client.query('vacuum_end 3')
            self.assertTrue(client.closed())
            with Client(server) as again:
                self.assertEqual(again.about()['recoveries'], '1')
            self.assertEqual(other.query('x'), 'x')

    def test_no_autovacuum(self):
        server = self.server('--autovacuum-naptime', '0')
        with Client(server) as client:
            time.sleep(1.2)
            self.assertEqual(client.about()['vacuum_launchers'], '0')

    def test_lost_fork_server_ends_the_program(self):
        server = self.server()
        with Client(server) as client:
            about = client.about()
            server.descendants()
            os.kill(int(about['ppid']), signal.SIGKILL)
            self.assertEqual(server.wait(), 1)
            self.assertIn('fork server ended', server.stderr())
            self.assertTrue(wait_until(lambda: not any(map(is_alive, server.ever))))


class Stopping(Case):
    def check_clean_stop(self, sig):
        server = self.server()
        with Client(server) as client, Client(server, 'db@new'), Client(server, start=False), \
                Client(server, start=False) as waiting:
            waiting.send_startup()
            time.sleep(0.1)
            self.assertEqual(len(server.descendants()), 3)
            start = time.monotonic()
            server.process.send_signal(sig)
            self.assertEqual(server.wait(), 0)
            self.assertLess(time.monotonic() - start, 2)
            self.assertFalse(any(map(is_alive, server.ever)))
            self.assertTrue(client.closed())
            with self.assertRaises(PgError) as caught:
                waiting.finish_startup()
            self.assertEqual(caught.exception.code, '57P03')

    def test_sigterm(self):
        self.check_clean_stop(signal.SIGTERM)

    def test_sigint(self):
        self.check_clean_stop(signal.SIGINT)

    def test_terminal_ctrl_c_goes_to_the_whole_group(self):
        server = self.server()
        with Client(server):
            server.descendants()
            os.killpg(server.process.pid, signal.SIGINT)
            self.assertEqual(server.wait(), 0)

    def test_stubborn_session_is_killed(self):
        server = self.server()
        with Client(server) as client:
            client.query('ignore_term')
            self.assertEqual(server.stop(), 0)
            self.assertFalse(any(map(is_alive, server.ever)))

    def test_second_signal_is_immediate(self):
        server = self.server()
        with Client(server) as client:
            client.query('ignore_term')
            server.descendants()
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.2)
            start = time.monotonic()
            server.process.send_signal(signal.SIGINT)
            self.assertEqual(server.wait(), 1)
            self.assertLess(time.monotonic() - start, 1)

    def test_kill_9_leaves_no_process(self):
        server = self.server()
        with Client(server), Client(server, 'db@b') as client:
            client.query('ignore_term')
            self.assertEqual(len(server.descendants()), 3)
            server.was_killed = True
            server.process.kill()
            server.wait()
            self.assertTrue(wait_until(lambda: not any(map(is_alive, server.ever))))


class Port(unittest.TestCase):
    """`pgcell port` and its kin, where the sanitizers see them; tests/e2e has them with PostgreSQL."""

    def run_program(self, *arguments, stdin=b''):
        done = subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, timeout=TEST_SECONDS, check=False)
        self.assertNotIn(b'Sanitizer', done.stderr)
        self.assertNotIn(b'runtime error', done.stderr)
        return done

    def test_frames(self):
        query = b'Q' + struct.pack('!I', 9) + b'incr\0'
        frames = b''.join(struct.pack('!I', 1) + bytes([b]) for b in query) + struct.pack('!I', 0) + struct.pack('!I', len(query)) + query
        done = self.run_program('port', '--startup', '--image', 'x', stdin=frames + struct.pack('!I', 5) + b'X\0\0\0\4')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([n in done.stdout for n in (b'101\0', b'102\0')], [True, True])

    def test_a_session_that_cannot_start_or_ends(self):
        self.assertEqual(self.run_program('port', '--startup', '--image', 'unpopulated', stdin=b'\0').returncode, 3)
        crash = b'Q' + struct.pack('!I', 12) + b'crash 1\0'
        process = subprocess.Popen([PROGRAM, 'port', '--startup', '--image', 'x', '--framing=raw'], stdin=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process.stdin.write(crash)
        process.stdin.flush()
        self.assertEqual(process.wait(TEST_SECONDS), 4)
        process.stdin.close()

    def test_authentication_that_is_not_known(self):
        done = self.run_program('port', '--startup', '--image', 'locked')
        self.assertEqual((done.returncode, done.stdout), (3, b''))
        self.assertIn(b'wants authentication (request 3)', done.stderr)
        done = self.run_program('exec', '--image', 'locked', '-c', 'incr')
        self.assertEqual((done.returncode, done.stdout), (1, b''))

    def test_exec_and_run(self):
        done = self.run_program('exec', '--image', 'x', '-c', 'incr', '-', stdin=b'incr')
        self.assertEqual((done.returncode, done.stdout), (0, b'101\n102\n'), done.stderr)
        self.assertEqual(self.run_program('run', '--image', 'x', '--', 'sh', '-c', 'exit 5').returncode, 5)
        self.assertEqual(self.run_program('run', '--image', 'x', '--', '/nowhere').returncode, 127)

    def test_serve_goes_with_its_input(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder, True)
        done = self.run_program('serve', '--image', 'x', '--listen=127.0.0.1:0', '--socket-dir', folder, '--exit-with-stdin')
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.run_program('port', '--image', 'x', '--socket', os.path.join(folder, 'p'))
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == '__main__':
    if PROGRAM is None:
        if len(sys.argv) < 2 or sys.argv[1].startswith('-'):
            sys.exit(__doc__)
        PROGRAM = sys.argv.pop(1)
    PROGRAM = os.path.abspath(PROGRAM)
    unittest.main(verbosity=1)

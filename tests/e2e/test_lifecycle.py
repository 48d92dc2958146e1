"""The program's beginning and end: nothing stays behind, whatever ends it."""
import os
import re
import signal
import socket
import threading
import time
import unittest

from pgwire import PgError, dial, startup_packet
from server import PGCELL, OwnServerCase, clean_environment, limit_time, run_program, wait_until


class Stop(OwnServerCase):
    def assert_stopped(self, server, status=0, seconds=10):
        self.assertEqual(server.wait(seconds), status, server.stderr())
        server.assert_nothing_left(self)
        self.assertNotIn('BUG', server.stderr())

    def test_idle(self):
        for signo in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=signo.name):
                server = self.serve()
                started = time.monotonic()
                server.send_signal(signo)
                self.assert_stopped(server)
                self.assertLess(time.monotonic() - started, 2)

    def busy_server(self):
        """With sessions that do everything a session can do, and clients that have none yet."""
        server = self.serve('--session-wait', '30000', '--drain-timeout', '500')
        idle = server.connect('postgres@idle')
        in_transaction = server.connect('postgres@transaction')
        in_transaction.query('begin; create table t as select generate_series(1, 1000)')
        sleeping = server.connect('postgres@sleeping')
        sleeping.send_query('select pg_sleep(60)')
        computing = server.connect('postgres@computing')
        computing.send_query('do $$ begin loop end loop; end $$')
        counting = server.connect('postgres@new', unix=True)
        counting.send_query('select count(*) from generate_series(1, 100000000000)')
        sending = server.connect('postgres@sending')
        sending.send_query("select repeat('x', 1000) from generate_series(1, 10000000)")  # and nobody reads
        copying = server.connect('postgres@copying')
        copying.query('create table t (v text)')
        copying.send_query('copy t from stdin')
        silent = dial(server.tcp)
        self.addCleanup(silent.close)
        time.sleep(0.5)
        sessions = {'idle': idle, 'in transaction': in_transaction, 'sleeping': sleeping, 'computing': computing,
                    'counting': counting, 'sending': sending, 'copying': copying}
        for c in sessions.values():
            self.addCleanup(c.vanish)
        self.assertEqual(len(server.sessions()), 7)
        return server, sessions

    def test_busy(self):
        for signo in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=signo.name):
                server, sessions = self.busy_server()
                server.send_signal(signo)
                self.assert_stopped(server)
                for name in ('idle', 'in transaction', 'sleeping', 'computing', 'counting'):
                    with self.subTest(session=name):
                        self.assertEqual(sessions[name].read_fatal().sqlstate, '57P01')

    def test_waiting_clients_are_told(self):
        server = self.serve('--sessions-per-cell', '1', '--session-wait', '30000')
        first = server.connect()
        self.addCleanup(first.vanish)
        caught = []

        def wait():
            try:
                server.connect()
            except PgError as error:
                caught.append(error.sqlstate)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        time.sleep(0.5)
        server.send_signal(signal.SIGTERM)
        thread.join(10)
        self.assertEqual(caught, ['57P03'])
        self.assert_stopped(server)

    def test_ctrl_c_reaches_the_whole_process_group(self):
        server, _ = self.busy_server()
        server.look()
        os.killpg(server.process.pid, signal.SIGINT)  # what a terminal does
        self.assert_stopped(server)

    def test_a_second_ctrl_c_does_not_wait(self):
        server, sessions = self.busy_server()
        for process in server.sessions():  # they will not obey
            os.kill(process.pid, signal.SIGSTOP)
        server.send_signal(signal.SIGINT)
        time.sleep(0.3)
        started = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        server.wait(5)
        self.assertLess(time.monotonic() - started, 2)
        server.assert_nothing_left(self)
        sessions['idle'].read_to_end()

    def test_sessions_that_do_not_obey(self):
        server = self.serve('--drain-timeout', '500')  # it may be stopped before it knows that it is idle
        c = server.connect()
        self.addCleanup(c.vanish)
        os.kill(c.pid, signal.SIGSTOP)
        server.send_signal(signal.SIGTERM)
        self.assert_stopped(server)

    def test_connections_after_the_signal_are_refused(self):
        server = self.serve()
        c = server.connect()
        self.addCleanup(c.vanish)
        os.kill(c.pid, signal.SIGSTOP)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with self.assertRaises((OSError, EOFError)):
            server.connect(timeout=2)
        os.kill(c.pid, signal.SIGCONT)
        self.assert_stopped(server)

    def test_before_it_is_ready(self):
        """A signal at any moment of the start."""
        for delay_ms in (0, 1, 2, 4, 8, 12, 16, 24):
            with self.subTest(delay_ms=delay_ms):
                server = self.make().launch()
                time.sleep(delay_ms / 1000)
                server.send_signal(signal.SIGTERM)
                self.assertIn(server.wait(10), (0, -signal.SIGTERM))
                server.assert_nothing_left(self)
                if os.path.isdir(server.socket_dir):
                    self.assertEqual([n for n in os.listdir(server.socket_dir) if delay_ms == 24], [])


class Death(OwnServerCase):
    def test_kill_9_of_the_supervisor_leaves_no_orphan(self):
        server = self.serve()
        connections = [server.connect(f'postgres@{name}') for name in 'abc']
        connections[0].send_query('do $$ begin loop end loop; end $$')
        connections[1].send_query('select pg_sleep(60)')
        time.sleep(0.3)
        self.assertEqual(len(server.look()), 5)
        server.process.kill()
        server.wait(5)
        self.assertTrue(wait_until(lambda: not server.processes(), 5), 'orphans')
        for c in connections:
            c.set_timeout(5)
            self.assertEqual(c.read_to_end(), [])
        os.unlink(server.socket_file)  # nobody was left to do it
        server.assert_nothing_left(self)

    def test_kill_9_of_the_fork_server_ends_the_program(self):
        server = self.serve()
        c = server.connect()
        c.send_query('select pg_sleep(60)')
        time.sleep(0.2)
        os.kill(server.fork_server().pid, signal.SIGKILL)
        self.assertEqual(server.wait(10), 1)
        c.set_timeout(5)
        c.read_to_end()
        server.assert_nothing_left(self)
        self.assertIn('the fork server ended unexpectedly', server.stderr())

    def test_a_new_server_takes_the_place_of_a_killed_one(self):
        first = self.serve()
        with first.connect() as c:
            c.query('create table t as select 1')
        port, folder = first.port, first.socket_dir
        first.look()
        first.process.kill()
        first.wait(5)
        self.assertTrue(os.path.exists(first.socket_file))
        second = self.serve(listen=f'127.0.0.1:{port}', socket_dir=folder)
        self.assertEqual(second.socket_file, first.socket_file)
        with second.connect(unix=True) as c:
            self.assertIsNone(c.query("select to_regclass('t')").value)
        self.assertEqual(second.stop(), 0)
        second.assert_nothing_left(self)


class Restart(OwnServerCase):
    def test_at_once_on_the_same_port_and_folder(self):
        server = self.serve()
        port, folder = server.port, server.socket_dir
        for _ in range(5):
            with server.connect() as c:
                self.assertEqual(c.query('select 1').value, '1')
            busy = server.connect()
            busy.send_query('select pg_sleep(30)')
            self.assertEqual(server.stop(signal.SIGINT), 0)
            busy.vanish()
            server.assert_nothing_left(self)
            server = self.serve(listen=f'127.0.0.1:{port}', socket_dir=folder)

    def test_without_tcp(self):
        server = self.serve(listen='none')
        self.assertRegex(server.ready_line, r'^pgcell: ready on /\S+/\.s\.PGSQL\.5432$')
        with server.connect(unix=True) as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_without_a_unix_socket(self):
        server = self.serve(socket_dir='none')
        self.assertRegex(server.ready_line, r'^pgcell: ready on 127\.0\.0\.1:\d+$')
        with server.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')

    def test_the_socket_is_private(self):
        server = self.serve()
        self.assertEqual(os.stat(server.socket_file).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(server.socket_dir).st_mode & 0o777, 0o700)

    def test_the_ready_line_is_true(self):
        """Whoever reads it can connect, at once and ten times over."""
        for _ in range(10):
            server = self.serve()
            with server.connect() as c:
                self.assertEqual(c.query('select 1').value, '1')
            self.assertEqual(server.stop(), 0)

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(('::1', 0))
        except OSError:
            self.skipTest('this machine has no IPv6')
        server = self.serve(listen='[::1]:0')
        port = int(re.search(r'\[::1\]:(\d+)', server.ready_line).group(1))
        with socket.create_connection(('::1', port), 10) as sock:
            sock.sendall(startup_packet([('user', 'postgres'), ('database', 'postgres')]))
            self.assertEqual(sock.recv(1), b'R')


class CommandLine(unittest.TestCase):
    seconds = 30

    def setUp(self):
        limit_time(self)

    def run_pgcell(self, *arguments, **env):
        return run_program([PGCELL, *arguments], timeout=10, env=clean_environment(**env))

    def test_help(self):
        outcome = self.run_pgcell('--help')
        self.assertEqual((outcome.status, outcome.stderr), (0, ''))
        self.assertIn('Usage: pgcell COMMAND', outcome.stdout)
        for command in ('serve', 'image'):
            self.assertIn(command, outcome.stdout)

    def test_help_of_serve_names_every_option(self):
        outcome = self.run_pgcell('serve', '--help')
        self.assertEqual((outcome.status, outcome.stderr), (0, ''))
        for option in ('--listen', '--socket-dir', '--image', '--isolate', '--session-wait', '--startup-timeout', '--max-cells',
                       '--max-sessions', '--session-memory', '--verbose', '--help'):
            self.assertIn(option, outcome.stdout)
        self.assertLess(max(map(len, outcome.stdout.splitlines())), 132)

    def test_help_of_every_command(self):
        listed = re.findall(r'^  ([a-z]+) ', self.run_pgcell('--help').stdout, re.M)
        self.assertIn('serve', listed)
        for command in listed:
            with self.subTest(command=command):
                outcome = self.run_pgcell(command, '--help')
                self.assertEqual((outcome.status, outcome.stderr), (0, ''))
                self.assertIn(f'pgcell {command}', outcome.stdout)

    def test_version(self):
        outcome = self.run_pgcell('--version')
        self.assertEqual((outcome.status, outcome.stderr), (0, ''))
        self.assertRegex(outcome.stdout, r'^pgcell \d+\.\d+\.\d+')

    def test_usage_errors_exit_with_2(self):
        for arguments in ((), ('nonsense',), ('serve', '--nonsense'), ('serve', 'argument'), ('serve', '--listen'),
                          ('serve', '--listen', 'nonsense'), ('serve', '--listen', '127.0.0.1:99999'),
                          ('serve', '--listen', '127.0.0.1:-1'), ('serve', '--listen', ''), ('serve', '--max-cells', '0'),
                          ('serve', '--max-cells', '-5'), ('serve', '--max-cells', '12x'), ('serve', '--max-cells', ''),
                          ('serve', '--session-memory', '1'), ('serve', '--session-memory', '99999999999999999999'),
                          ('serve', '--isolate=nonsense'), ('serve', '--session-wait', '-1'), ('serve', '--startup-timeout', '0'),
                          ('serve', '--listen', 'none', '--socket-dir', 'none'), ('serve', '--verbose=yes'), ('image',),
                          ('image', 'nonsense')):
            with self.subTest(arguments=arguments):
                outcome = self.run_pgcell(*arguments)
                self.assertEqual(outcome.status, 2, outcome)
                self.assertEqual(outcome.stdout, '')
                self.assertTrue(outcome.stderr)
                if arguments and arguments[0] == 'serve':
                    self.assertEqual(outcome.stderr.count('\n'), 1, outcome.stderr)
                    self.assertRegex(outcome.stderr, r'^pgcell serve: ')

    def test_a_bad_environment_variable_is_named(self):
        outcome = self.run_pgcell('serve', PGCELL_MAX_CELLS='many')
        self.assertEqual(outcome.status, 2)
        self.assertIn('PGCELL_MAX_CELLS', outcome.stderr)

    def test_image_info(self):
        outcome = self.run_pgcell('image', 'info', PGCELL + '.img')
        self.assertEqual((outcome.status, outcome.stderr), (0, ''))
        self.assertRegex(outcome.stdout, r'PostgreSQL 18\.\d+')
        self.assertNotEqual(self.run_pgcell('image', 'info', '/nonexistent').status, 0)


if __name__ == '__main__':
    unittest.main()

"""`pgcell run`: a command with a server of its own, and nothing of it afterwards."""
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from server import MARK, PGCELL, PSQL, clean_environment, limit_time, processes_marked, run_program, wait_until

PRINT_ENVIRONMENT = 'import json, os, sys; json.dump(dict(os.environ), sys.stdout)'


class RunCase(unittest.TestCase):
    seconds = 60

    def setUp(self):
        limit_time(self)
        self.folder = tempfile.mkdtemp(prefix='pgcell-run-test-')
        self.mark = f'run-{os.getpid()}-{id(self)}'
        self.addCleanup(self.assert_nothing_left)

    def assert_nothing_left(self):
        self.assertTrue(wait_until(lambda: not processes_marked(self.mark), 5), processes_marked(self.mark))
        self.assertEqual(os.listdir(self.folder), [])
        os.rmdir(self.folder)

    def environment(self, **more):
        return clean_environment(TMPDIR=self.folder, **{MARK: self.mark}, **more)

    def run_it(self, *arguments, environment=None, **kwargs):
        return run_program([PGCELL, 'run', *arguments], env=self.environment(**(environment or {})), **kwargs)


class Environment(RunCase):
    def seen(self, *options, environment=None):
        outcome = self.run_it(*options, '--', sys.executable, '-c', PRINT_ENVIRONMENT, environment=environment)
        self.assertEqual(outcome.status, 0, outcome.stderr)
        return json.loads(outcome.stdout)

    def test_tells_where_the_server_is(self):
        env = self.seen()
        port = env['PGPORT']
        self.assertTrue(0 < int(port) < 65536)
        self.assertEqual(env['DATABASE_URL'], f'postgresql://postgres@127.0.0.1:{port}/postgres')
        self.assertEqual([env[name] for name in ('PGHOST', 'PGUSER', 'PGDATABASE', 'PGSSLMODE')],
                         ['127.0.0.1', 'postgres', 'postgres', 'disable'])
        self.assertTrue(env['PGCELL_SOCKET_DIR'].startswith(self.folder))

    def test_cell(self):
        env = self.seen('--cell', 'a.b-c_1')
        self.assertEqual(env['PGDATABASE'], 'postgres@a.b-c_1')
        self.assertTrue(env['DATABASE_URL'].endswith('/postgres%40a.b-c_1'))
        for bad in ('', 'a@b', 'ä', 'x' * 64, 'a b'):
            with self.subTest(cell=bad):
                outcome = self.run_it('--cell', bad, '--', 'true')
                self.assertEqual((outcome.status, outcome.stdout), (2, ''), outcome.stderr)
                self.assertIn('--cell', outcome.stderr)

    def test_what_led_elsewhere_is_replaced(self):
        env = self.seen(environment={'PGHOST': 'example.org', 'PGHOSTADDR': '192.0.2.1', 'PGSERVICE': 'x', 'DATABASE_URL': 'y',
                                     'PGCHANNELBINDING': 'require', 'PGAPPNAME': 'kept', 'PGCELL_LISTEN': 'nonsense'})
        self.assertEqual(env['PGHOST'], '127.0.0.1')
        self.assertEqual(env['PGAPPNAME'], 'kept')
        self.assertTrue(env['DATABASE_URL'].startswith('postgresql://'))
        for name in ('PGHOSTADDR', 'PGSERVICE', 'PGCHANNELBINDING'):
            self.assertNotIn(name, env)

    def test_clients_find_the_server(self):
        script = ('"$0" -X -At -c "create table t as select 1 as n" && "$0" -X -At "$DATABASE_URL" -c "select n + 1 from t" && '
                  '"$0" -X -At -h "$PGCELL_SOCKET_DIR" -c "select n + 2 from t"')
        for options in ([], ['--cell', 'x']):
            with self.subTest(options=options):
                outcome = self.run_it(*options, 'sh', '-c', script, PSQL)
                self.assertEqual((outcome.status, outcome.stdout), (0, 'SELECT 1\n2\n3\n'), outcome.stderr)

    def test_two_at_a_time_are_two_servers(self):
        script = '"$0" -X -q -c "create table t ()" && sleep 0.5 && echo "$PGPORT"'
        both = [subprocess.Popen([PGCELL, 'run', 'sh', '-c', script, PSQL], env=self.environment(), stdout=subprocess.PIPE, text=True)
                for _ in range(2)]
        ports = {p.communicate(timeout=20)[0] for p in both}
        self.assertEqual([p.returncode for p in both], [0, 0])
        self.assertEqual(len(ports), 2)


class Status(RunCase):
    def test_is_the_commands(self):
        for status in (0, 1, 7, 255):
            self.assertEqual(self.run_it('--', 'sh', '-c', f'exit {status}').status, status)

    def test_killed_by_a_signal(self):
        for signo in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
            self.assertEqual(self.run_it('sh', '-c', f'ulimit -c 0; kill -{int(signo)} $$').status, 128 + signo)

    def test_cannot_be_started(self):
        for command, status, said in (('/nowhere/at/all', 127, 'no such file'), ('no-such-command', 127, 'no such file'),
                                      (os.devnull, 126, 'permission denied'), (self.folder, 126, 'permission denied')):
            with self.subTest(command=command):
                outcome = self.run_it('--', command)
                self.assertEqual((outcome.status, outcome.stdout), (status, ''), outcome.stderr)
                self.assertIn(command, outcome.stderr)
                self.assertIn(said, outcome.stderr)

    def test_usage(self):
        for arguments in ([], ['--'], ['--nonsense', 'true'], ['--listen=none', 'true']):
            with self.subTest(arguments=arguments):
                outcome = self.run_it(*arguments)
                self.assertEqual((outcome.status, outcome.stdout), (2, ''), outcome.stderr)

    def test_no_server_no_command(self):
        outcome = self.run_it('--image', '/nowhere.img', '--', 'echo', 'ran')
        self.assertEqual((outcome.status, outcome.stdout), (1, ''))
        self.assertIn('/nowhere.img', outcome.stderr)


class Surroundings(RunCase):
    def test_standard_streams_are_the_commands(self):
        with tempfile.TemporaryFile('w+') as stdin:
            stdin.write('input\n')
            stdin.seek(0)
            outcome = self.run_it('sh', '-c', 'cat; echo error >&2', stdin=stdin)
        self.assertEqual((outcome.status, outcome.stdout, outcome.stderr), (0, 'input\n', 'error\n'))

    def test_no_descriptor_and_no_limit_of_ours(self):
        script = ('import os, resource, signal; print(sorted(int(n) for n in os.listdir("/proc/self/fd"))[:3], '
                  'len(os.listdir("/proc/self/fd")), resource.getrlimit(resource.RLIMIT_NOFILE)[0], '
                  'signal.pthread_sigmask(signal.SIG_BLOCK, []), open("/proc/self/status").read().split("SigIgn:")[1].split()[0])')
        with_run = self.run_it('sh', '-c', 'ulimit -Sn 512; exec "$@"', 'sh', PGCELL, 'run', sys.executable, '-c', script)
        without = run_program(['sh', '-c', 'ulimit -Sn 512; exec "$@"', 'sh', sys.executable, '-c', script])
        fields = with_run.stdout.split()
        self.assertEqual(with_run.status, 0, with_run.stderr)
        self.assertEqual(fields, without.stdout.split())  # descriptors, their number, the limit, blocked and ignored signals

    def test_a_long_temporary_folder(self):
        deep = os.path.join(self.folder, 'x' * 120)
        os.mkdir(deep)
        outcome = run_program([PGCELL, 'run', 'sh', '-c', 'ls -d "$PGCELL_SOCKET_DIR"'],
                              env=clean_environment(TMPDIR=deep, **{MARK: self.mark}))
        self.assertEqual(outcome.status, 0, outcome.stderr)
        self.assertFalse(os.path.lexists(outcome.stdout.strip()))
        os.rmdir(deep)

    def test_clients_that_outlive_the_command_do_not_hold_it_up(self):
        script = '"$0" -X -c "select pg_sleep(60)" >/dev/null 2>&1 & sleep 0.5; exit 3'
        started = time.monotonic()
        self.assertEqual(self.run_it('sh', '-c', script, PSQL).status, 3)
        self.assertLess(time.monotonic() - started, 5)


class Signals(RunCase):
    def start(self, script, **kwargs):
        process = subprocess.Popen([PGCELL, 'run', '--', 'sh', '-c', script], env=self.environment(), stdout=subprocess.PIPE,
                                   stdin=subprocess.DEVNULL, text=True, start_new_session=True, **kwargs)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), 'up\n')
        return process

    def test_are_passed_on(self):
        for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(signal=signo.name):
                process = self.start(f'trap "exit 9" {int(signo)}; echo up; while :; do sleep 0.05; done')
                process.send_signal(signo)
                self.assertEqual(process.wait(10), 9)

    def test_the_command_decides(self):
        process = self.start('trap : TERM; echo up; sleep 0.5; sleep 0.5; exit 4')
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 4)

    def test_of_the_terminal_come_once(self):
        script = ('import signal, sys, time\ncount = 0\ndef on_int(*_):\n    global count\n    count += 1\n'
                  'signal.signal(signal.SIGINT, on_int)\nprint("up", flush=True)\nend = time.time() + 1\n'
                  'while time.time() < end: time.sleep(0.05)\nsys.exit(40 + count)\n')
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(PGCELL, [PGCELL, 'run', sys.executable, '-c', script], self.environment())
        text = b''
        while b'up' not in text:
            text += os.read(terminal, 1000)
        os.write(terminal, b'\x03')
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        self.assertEqual(os.waitstatus_to_exitcode(status), 41)

    def test_the_server_dies(self):
        process = self.start('echo up; exec sleep 60')
        children = [p for p in processes_marked(self.mark) if p.pid != process.pid]
        names = {p.pid: open(f'/proc/{p.pid}/comm', encoding='ascii').read().strip() for p in children}
        os.kill(next(pid for pid, name in names.items() if name == 'pgcell'), signal.SIGKILL)
        self.assertEqual(process.wait(10), 1)


if __name__ == '__main__':
    unittest.main()

#!/usr/bin/python3
"""What a guest that was taken over can do: tests/security/hostile-guest.c in the engine's place, attacking on command.

usage: test-sandbox.py PROGRAM [unittest arguments]

Each attack comes from a private cell of its own. Afterwards the server must serve other cells, nothing of the attack may be left, and
a session that made a forbidden system call must be dead.
"""
import ctypes
import importlib.util
import os
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location('supervisor', os.path.join(HERE, '..', 'host', 'test-supervisor.py'))
supervisor = importlib.util.module_from_spec(spec)
spec.loader.exec_module(supervisor)
Client, Server, wait_until, is_alive = supervisor.Client, supervisor.Server, supervisor.wait_until, supervisor.is_alive

# x86-64; what host/sandbox.c allows whatever the arguments are, with some arguments, or refuses with ENOSYS
ALLOWED = {
    'read': 0, 'write': 1, 'close': 3, 'poll': 7, 'brk': 12, 'munmap': 11, 'rt_sigaction': 13, 'rt_sigprocmask': 14, 'rt_sigreturn': 15,
    'writev': 20, 'sched_yield': 24, 'nanosleep': 35, 'setitimer': 38, 'getpid': 39, 'recvfrom': 45, 'exit': 60, 'gettimeofday': 96,
    'sigaltstack': 131, 'gettid': 186, 'time': 201, 'restart_syscall': 219, 'timer_settime': 223, 'clock_gettime': 228,
    'clock_getres': 229, 'clock_nanosleep': 230, 'exit_group': 231, 'ppoll': 271, 'getrandom': 318}
WITH_ARGUMENTS = {'mmap': 9, 'madvise': 28, 'sendto': 44, 'recvmsg': 47, 'futex': 202, 'tgkill': 234, 'pidfd_send_signal': 424}
REFUSED = {'fstat': 5, 'lseek': 8, 'ioctl': 16, 'fcntl': 72, 'newfstatat': 262}
LAST_SYSCALL = 470
UNFILTERED = {335, 336}  # uretprobe and uprobe: newer kernels pass them by every filter, and they do nothing unless a probe is set


def landlock_abi():
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)


class Case(unittest.TestCase):
    image = 'hostile.img'
    options = ('--sessions-per-cell', '100', '--drain-timeout', '500')
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options, image=cls.image)
        cls.addClassCleanup(cls.server.destroy)
        cls.bystander = Client(cls.server, 'postgres@bystander')
        cls.addClassCleanup(cls.bystander.close)

    @classmethod
    def tearDownClass(cls):
        case = unittest.TestCase()
        case.assertEqual(cls.server.stop(), 0, cls.server.stderr())
        case.assertNotIn('BUG', cls.server.stderr())
        case.assertTrue(wait_until(lambda: not any(map(is_alive, cls.server.ever))), 'a process is left')

    def setUp(self):
        def out_of_time(*_):
            raise TimeoutError(f'the test took more than {self.seconds} s')
        signal.signal(signal.SIGALRM, out_of_time)
        signal.alarm(self.seconds)
        self.addCleanup(signal.alarm, 0)
        self.fork_server = [p for p in self.server.descendants() if self.parent(p) == self.server.process.pid][0]

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), self.server.stderr())
        self.assertTrue(is_alive(self.fork_server))
        self.assertEqual(self.bystander.query('echo here'), 'here')
        with Client(self.server, 'postgres@bystander') as another:
            self.assertEqual(another.query('echo here'), 'here')

    @staticmethod
    def parent(pid):
        try:
            with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
                return int(f.read().rsplit(')', 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return None

    def client(self, database='postgres@new'):
        client = Client(self.server, database)
        self.addCleanup(client.close)
        return client

    def log_of(self, pid):
        """How the session ended."""
        def line():
            return re.search(rf'session={pid} ended.*', self.server.stderr())
        wait_until(line)
        return line().group(0) if line() else ''

    def killed(self, attack, by='signal 31'):
        client = self.client()
        try:
            got = client.query(attack)
        except (EOFError, ConnectionResetError):
            got = None
        self.assertIsNone(got, f'{attack} was survived')
        self.assertIn(f'abnormally with {by}', self.log_of(client.pid))
        self.assertFalse(is_alive(client.pid))


class Sandbox(Case):
    def test_files_cannot_be_opened(self):
        for path in ('/etc/passwd', '/proc/self/maps', f'/proc/{self.fork_server}/mem', f'/proc/{self.server.process.pid}/mem'):
            with self.subTest(path):
                self.killed(f'open {path}')

    def test_files_cannot_be_made(self):
        with tempfile.TemporaryDirectory() as folder:
            self.killed(f'create {folder}/x')
            self.assertEqual(os.listdir(folder), [])

    def test_nothing_can_be_connected_to(self):
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen()
            listener.settimeout(0.2)
            self.killed(f'connect {listener.getsockname()[1]}')
            with self.assertRaises(TimeoutError):
                listener.accept()

    def test_processes_and_threads_cannot_be_made(self):
        before = set(self.server.descendants())
        for attack in ('fork', 'thread', 'call 57', 'call 58', 'call 435 0 0'):
            with self.subTest(attack):
                self.killed(attack)
        self.assertEqual(set(self.server.descendants()) - before, set())

    def test_programs_cannot_be_run(self):
        self.killed('exec /bin/true')

    def test_memory_of_others_cannot_be_written(self):
        for address in ('0', '0x10000', '0xffffffff80000000'):
            with self.subTest(address):
                self.killed(f'write {address}', 'signal 11')
        self.killed('write cluster_end', 'signal 11')

    def test_supervisor_fork_server_and_other_sessions_cannot_be_touched(self):
        for pid in (self.server.process.pid, self.fork_server, self.bystander.pid, os.getpid(), 1):
            for attack in ('ptrace', 'read_memory', 'kill', 'tgkill', 'pidfd_open'):
                with self.subTest(attack, pid=pid):
                    self.killed(f'{attack} {pid}')

    def test_signals_reach_the_own_cell_only(self):
        client = self.client('postgres@own')
        other = self.client('postgres@own')
        for pid in (self.server.process.pid, self.fork_server, self.bystander.pid, os.getpid(), 1, -1, 0, -other.pid, 2 ** 22 + 5):
            with self.subTest(pid=pid):
                self.assertEqual(client.query(f'peer {pid} {int(signal.SIGUSR1)}'), 'ESRCH')
        self.assertEqual(other.query(f'catch {int(signal.SIGUSR1)}'), 'ok')
        for _ in range(3):
            self.assertEqual(client.query(f'peer {other.pid} {int(signal.SIGUSR1)}'), '0')
            self.assertEqual(other.message(), (b'N', b'signal 10\0'))
        other.close()
        self.assertTrue(wait_until(lambda: not is_alive(other.pid)))
        self.assertTrue(wait_until(lambda: client.query(f'peer {other.pid} 0') == 'ESRCH'))

    def test_unknown_signals_cannot_be_sent_even_in_the_own_cell(self):
        for signo in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV):
            with self.subTest(signo):
                victim = self.client('postgres@own2')
                client = self.client('postgres@own2')
                with self.assertRaises((EOFError, ConnectionResetError)):
                    client.query(f'peer {victim.pid} {int(signo)}')
                self.assertIn('signal 31', self.log_of(client.pid))
                victim.close()
                self.recovered('own2')

    def recovered(self, cell):
        """A cell whose session was killed takes clients again."""
        def served():
            try:
                with Client(self.server, f'postgres@{cell}') as client:
                    return client.query('echo x') == 'x'
            except (EOFError, ConnectionResetError):
                return False
        self.assertTrue(wait_until(served))

    def test_many_peers_are_signalled(self):
        """More than a session keeps at a time."""
        client = self.client('postgres@many')
        others = [self.client('postgres@many') for _ in range(90)]
        for _ in range(2):
            for other in others:
                self.assertEqual(client.query(f'peer {other.pid} 0'), '0')

    def test_nonsense_for_the_fork_server_closes_the_way_to_it(self):
        for length in (1, 3, 5, 64):
            client = self.client()
            self.assertEqual(client.query(f'ask_nonsense {length}'), 'closed')
            self.assertEqual(client.query('peer 1 0'), 'ESRCH')
        client = self.client()
        self.assertIn(client.query('ask_nonsense 4'), ('closed', 'open'))  # answers are not read

    def test_memory_is_bounded(self):
        self.assertLessEqual(int(self.client().query('map_anonymous')), 16)
        self.assertLessEqual(int(self.client().query('brk')), 16)

    def test_memory_cannot_be_made_executable(self):
        self.killed('map_executable')
        self.killed('make_executable')

    def test_files_cannot_be_mapped(self):
        self.killed('map_cell')

    def test_a_spinning_session_leaves_others_their_time(self):
        client = self.client()
        client.send_query('spin')
        start = time.monotonic()
        for _ in range(200):
            self.assertEqual(self.bystander.query('echo x'), 'x')
        self.assertLess(time.monotonic() - start, 10)
        os.kill(client.pid, signal.SIGKILL)  # which does not react to SIGTERM
        self.assertTrue(wait_until(lambda: not is_alive(client.pid)))

    def test_no_descriptors_are_inherited(self):
        for _ in range(5):  # others' ways to the fork server, cells, clients
            self.client('postgres@crowd')
        text = self.client('postgres@crowd').query('descriptors')
        found, known = text.split(' of ')
        self.assertEqual(sorted(map(int, found.split())), sorted([0, 1, 2] + [int(n.split('=')[1]) for n in known.split()]))

    def test_descriptors_cannot_be_passed(self):
        self.killed('send_descriptor')
        self.killed('receive_descriptor')

    def test_32_bit_system_calls_are_forbidden(self):
        self.killed('call_32bit')
        self.killed(f'call {0x40000000 + 39}')  # x32

    def test_every_other_system_call_is_forbidden(self):
        known = set(ALLOWED.values()) | set(WITH_ARGUMENTS.values()) | set(REFUSED.values())
        for number in range(LAST_SYSCALL):
            if number not in known | UNFILTERED:
                with self.subTest(number):
                    client = self.client()
                    with self.assertRaises((EOFError, ConnectionResetError)):
                        client.query(f'call {number}')
                    client.close()
        ends = wait_until(lambda: self.server.stderr().count('Bad system call') >= LAST_SYSCALL - len(known | UNFILTERED))
        self.assertTrue(ends)

    def test_arguments_count_where_some_are_allowed(self):
        for attack in ('call 28 0 0 14', 'call 44 2 0 0 0 1 16', 'call 47 0', 'call 202 0 3', 'call 202 0 11', 'call 424 0 9',
                       f'call 424 {2 ** 32} 9', 'call 424 0 10 1', 'call 9 0 4096 3 0x21 -1', 'call 9 0 4096 3 0x22 0'):
            with self.subTest(attack):
                self.killed(attack)

    def test_questions_about_descriptors_are_refused(self):
        client = self.client()
        for number in REFUSED.values():
            self.assertEqual(client.query(f'call {number}'), 'ENOSYS')

    def test_own_abort_is_an_abort(self):
        self.killed('abort', 'signal 6')

    def test_no_new_privileges_and_no_capabilities(self):
        client = self.client()
        for pid in (client.pid, self.fork_server):
            with open(f'/proc/{pid}/status', encoding='ascii') as f:
                status = dict(line.rstrip().split(':\t', 1) for line in f if ':\t' in line.rstrip())
            self.assertEqual(status['NoNewPrivs'], '1')
            for kind in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb'):
                self.assertEqual(int(status[kind], 16), 0, (kind, status[kind]))
            if os.geteuid() == 0:
                self.assertEqual(int(status['CapBnd'], 16), 0)
            self.assertEqual(status['Seccomp'], '2' if pid == client.pid else '0')
        with open(f'/proc/{self.server.process.pid}/status', encoding='ascii') as f:
            self.assertIn('NoNewPrivs:\t1', f.read())
        limits = {}
        with open(f'/proc/{client.pid}/limits', encoding='ascii') as f:
            for line in f:
                limits[line[:26].strip()] = line[26:].split()[1]
        for name in ('Max processes', 'Max core file size', 'Max locked memory', 'Max msgqueue size'):
            self.assertEqual(limits[name], '0', name)
        self.assertLess(int(limits['Max open files']), 200)

    def test_cost_of_entering(self):
        costs = sorted(int(self.client().query('about').split('sandbox_ns=')[1]) for _ in range(100))
        print(f'sandbox_enter: {costs[0] / 1000:.0f} us at best, {statistics.median(costs) / 1000:.0f} us in the middle of 100',
              file=sys.stderr)
        self.assertLess(costs[0], 2_000_000)


class LowLimits(Case):
    """The user's own limits, lower than ours, are no reason not to start sessions, and stay."""
    @classmethod
    def setUpClass(cls):
        program = supervisor.PROGRAM
        with tempfile.NamedTemporaryFile('w', suffix='.sh', delete=False) as script:
            script.write(f'#!/bin/sh\nulimit -n 60; exec {program} "$@"\n')
        os.chmod(script.name, 0o700)
        cls.addClassCleanup(os.unlink, script.name)
        supervisor.PROGRAM = script.name
        try:
            super().setUpClass()
        finally:
            supervisor.PROGRAM = program

    def test_sessions_start(self):
        client = self.client()
        self.assertEqual(client.query('echo x'), 'x')
        with open(f'/proc/{client.pid}/limits', encoding='ascii') as f:
            self.assertRegex(f.read(), r'Max open files\s+60\s+60')


class Unfiltered(Case):
    """What stands behind the filter."""
    image = 'unfiltered.img'

    @unittest.skipIf(landlock_abi() < 1, 'this kernel has no Landlock')
    def test_files_cannot_be_opened(self):
        client = self.client()
        for path in ('/etc/passwd', f'/proc/{self.server.process.pid}/mem', '/dev/null'):
            self.assertEqual(client.query(f'open {path}'), 'EACCES')
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(client.query(f'create {folder}/x'), 'EACCES')
        self.assertEqual(client.query('exec /bin/true'), 'EACCES')

    @unittest.skipIf(landlock_abi() < 4, 'Landlock of this kernel knows no ports')
    def test_nothing_can_be_connected_to(self):
        with socket.socket() as listener:
            listener.bind(('127.0.0.1', 0))
            listener.listen()
            self.assertEqual(self.client().query(f'connect {listener.getsockname()[1]}'), 'EACCES')

    @unittest.skipIf(landlock_abi() < 6, 'Landlock of this kernel knows no signals')
    def test_processes_outside_cannot_be_signalled(self):
        client = self.client()
        for pid in (self.server.process.pid, os.getpid()):
            self.assertEqual(client.query(f'kill {pid}'), 'EPERM')

    @unittest.skipIf(landlock_abi() < 1, 'this kernel has no Landlock')
    def test_supervisor_cannot_be_traced(self):
        client = self.client()
        self.assertEqual(client.query(f'ptrace {self.server.process.pid}'), 'EPERM')
        self.assertEqual(client.query(f'read_memory {self.server.process.pid}'), 'EPERM')


if __name__ == '__main__':
    supervisor.PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)

"""The sandbox around real sessions; what it stops is in tests/security."""
import os
import signal

from server import ServerCase, wait_until


def status_of(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return dict(line.rstrip('\n').split(':\t', 1) for line in f if ':\t' in line)


def mappings_of(pid):
    """(size, permissions, name) of each."""
    with open(f'/proc/{pid}/maps', encoding='ascii') as f:
        for line in f:
            span, permissions, *rest = line.split()
            start, end = (int(n, 16) for n in span.split('-'))
            yield end - start, permissions, rest[3] if len(rest) > 3 else ''


class Sandbox(ServerCase):
    options = ('--session-memory', '64')

    def test_memory_above_the_limit_is_not_there(self):
        maps = list(mappings_of(self.connect().pid))
        self.assertIn(((1 << 30) - (64 << 20), '---p'), [m[:2] for m in maps])
        writable = sum(size for size, permissions, _ in maps if permissions == 'rw-p')
        self.assertLess(writable, 160 << 20)  # with the engine's stack, of 64 MiB
        self.assertFalse([m for m in maps if 'w' in m[1] and 'x' in m[1]])

    def test_sessions_are_confined(self):
        c = self.connect()
        status = status_of(c.pid)
        self.assertEqual(status['Seccomp'], '2')
        self.assertEqual(status['NoNewPrivs'], '1')
        for kind in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb'):
            self.assertEqual(int(status[kind], 16), 0)
        self.assertEqual(status['Threads'].strip(), '1')
        self.assertEqual(c.query('select 1').value, '1')

    def test_sessions_have_the_descriptors_they_need(self):
        others = [self.connect(), self.connect('postgres@elsewhere'), self.connect()]
        c = self.connect()
        folder = f'/proc/{c.pid}/fd'
        targets = sorted(os.readlink(f'{folder}/{fd}').split(':')[0] for fd in os.listdir(folder) if int(fd) > 2)
        self.assertEqual(targets, ['anon_inode', 'socket', 'socket'])
        others[0].query('listen x')
        c.query('notify x')
        others[0].wait_notification()
        self.assertLessEqual(len(os.listdir(folder)), 7)  # and a pidfd for whom it has woken

    def test_supervisor_and_fork_server_have_no_privileges_to_gain(self):
        for pid in (self.server.process.pid, self.server.fork_server().pid):
            self.assertEqual(status_of(pid)['NoNewPrivs'], '1')
        self.assertEqual(int(status_of(self.server.fork_server().pid)['CapEff'], 16), 0)

    def test_signals_of_other_cells_do_not_arrive(self):
        """pg_terminate_backend() of a process that runs in another cell finds nobody."""
        bystander = self.connect('postgres@elsewhere')
        c = self.connect()
        c.query(f'select pg_terminate_backend({bystander.pid})')
        self.assertEqual(bystander.query('select 1').value, '1')

    def test_session_that_is_killed_by_the_filter_is_a_crash_of_its_cell(self):
        bystander = self.connect('postgres@elsewhere')
        c = self.connect()
        c.query('create table kept as select 1 as i')
        self.kill_session(c, signal.SIGSYS)
        self.assertIn('signal 31', self.log())
        self.assertEqual(self.connect().query('select i from kept').value, '1')
        self.assertEqual(bystander.query('select 1').value, '1')

    def test_sessions_still_signal_each_other_after_a_recovery(self):
        self.kill_session(self.connect())
        a, b = self.connect(), self.connect()
        a.send_query('select pg_sleep(20)')
        self.assertTrue(wait_until(lambda: b.query(f'select pg_cancel_backend({a.pid})').value == 't'))
        with self.assertRaises(Exception) as caught:
            a.collect()
        self.assertEqual(caught.exception.sqlstate, '57014')

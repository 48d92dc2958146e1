#!/usr/bin/env python3
"""Clients that misbehave, one kind at a time: what they do to others, and what the server has left of it afterwards.

usage: cases.py [-v] [-k PATTERN]...

Like tests/e2e, on whose library it is built; apart from it, because these take long or much of the machine.
"""
import contextlib
import errno
import os
import resource
import selectors
import signal
import socket
import statistics
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'e2e'))

from pgwire import PgError, dial, message, parse_fields, startup_packet  # noqa: E402  (needs the path above)
from server import OwnServerCase, ServerCase, sql_error, stat_fields, wait_until  # noqa: E402
import run as e2e_run  # noqa: E402  (tests/e2e/run.py: its directory is first in the path)

FLOOD = 3000
CONNS_MAX = 2000 + 64  # --max-sessions and CONNS_EXTRA of host/supervisor.c
SLOTS = 200  # sessions of a cell at a time, those included that PostgreSQL refuses
MAX_CONNECTIONS = 100
FLOOD_SECONDS = 8  # in which all of it must have arrived
ANSWER_SECONDS = 1.5  # of a session that has nothing to do with it
TICKS_PER_SECOND = os.sysconf('SC_CLK_TCK')


def cpu_seconds(pid):
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


class Pulse:
    """A session that goes on working while something happens; knows its slowest answer."""

    def __init__(self, server, database):
        self.c = server.connect(database)
        self.c.query('create table if not exists pulse (n int)')
        self.answers_s = []
        self.error = None
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def _beat(self):
        try:
            while not self._is_over.wait(0.05):
                began = time.monotonic()
                self.c.query('insert into pulse values (1)')
                self.answers_s.append(time.monotonic() - began)
        except (OSError, EOFError, PgError) as error:
            self.error = error

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join(30)
        self.c.close()

    def check(self, test, seconds=ANSWER_SECONDS):
        test.assertIsNone(self.error)
        test.assertTrue(self.answers_s, 'no answer at all')
        test.assertLess(max(self.answers_s), seconds, f'median {statistics.median(self.answers_s):.4f} s of {len(self.answers_s)}')


class Flood:
    """Many clients from one thread. Each sends its start-up packet, or nothing, and then only reads."""

    def __init__(self, address, packet):
        self.address, self.packet = address, packet
        self.selector = selectors.DefaultSelector()
        self.data = {}  # socket -> what it was sent
        self.open = set()

    def start(self, count, seconds):
        """True if all of them were connected in time."""
        end = time.monotonic() + seconds
        for _ in range(count):
            sock = socket.socket(socket.AF_INET)
            sock.setblocking(False)
            if sock.connect_ex(self.address) not in (0, errno.EINPROGRESS):
                raise OSError('cannot connect')
            self.data[sock] = b''
            self.open.add(sock)
            self.selector.register(sock, selectors.EVENT_WRITE)
        while time.monotonic() < end:
            self.turn(0.05)
            if all(self.selector.get_key(s).events == selectors.EVENT_READ for s in self.open):
                return True
        return False

    def turn(self, seconds):
        for key, events in self.selector.select(seconds):
            sock = key.fileobj
            try:
                if events & selectors.EVENT_WRITE:
                    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        raise OSError
                    if self.packet:
                        sock.send(self.packet)
                    self.selector.modify(sock, selectors.EVENT_READ)
                    continue
                data = sock.recv(65536)
            except OSError:
                data = b''
            self.data[sock] += data
            if not data:
                self.drop(sock)

    def drop(self, sock):
        if sock in self.open:
            self.open.discard(sock)
            self.selector.unregister(sock)
            sock.close()

    def read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.turn(0.05)

    def outcomes(self):
        """How many were served, refused (by SQLSTATE and message), or closed without a word; those open and untold are 'waiting'."""
        counts = {}
        for sock, data in self.data.items():
            if b'Z\0\0\0\5I' in data:
                what = 'served'
            elif data[:1] == b'E':
                fields = parse_fields(data[5:])
                what = f'{fields["C"]} {fields["M"]}'
            else:
                what = 'waiting' if sock in self.open else 'closed'
            counts[what] = counts.get(what, 0) + 1
        return counts

    def close(self):
        for sock in list(self.open):
            self.drop(sock)
        self.selector.close()


class Floods(OwnServerCase):
    seconds = 120

    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < FLOOD + 1000:
            self.skipTest(f'needs {FLOOD + 1000} file descriptors')
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FLOOD + 1000), hard))

    def flood(self, server, packet, count=FLOOD):
        flood = Flood(server.tcp, packet)
        self.addCleanup(flood.close)
        self.assertTrue(flood.start(count, FLOOD_SECONDS), f'not {count} connections in {FLOOD_SECONDS} s')
        return flood

    def check_afterwards(self, server, before, cells):
        """Nobody of the flood is there, and nothing of it."""
        self.assertTrue(wait_until(lambda: not server.sessions(), 20))
        after = server.settled_descriptor_count(15)
        before[server.process.pid] += cells
        self.assertEqual(after, before)
        with server.connect('postgres@afterwards') as c:
            self.assertEqual(c.query('select 1').value, '1')
        self.assertNotIn('abnormally', server.stderr())
        self.assertEqual(server.stop(), 0)
        server.assert_nothing_left(self)

    def test_of_clients_of_one_cell(self):
        server = self.serve('--session-wait', '3000')
        before = server.settled_descriptor_count()
        with Pulse(server, 'postgres@other') as pulse:
            flood = self.flood(server, startup_packet([('user', 'postgres'), ('database', 'postgres@flooded')]))
            flood.read(1)
            self.assertLessEqual(len(server.sessions()), SLOTS + 1)
            flood.read(5)
            found = flood.outcomes()
            self.assertLessEqual(found.pop('served'), MAX_CONNECTIONS)
            self.assertEqual({k[:5] for k in found} - {'53300'}, set(), found)
            flood.close()
        pulse.check(self)
        self.check_afterwards(server, before, 2)

    def test_of_clients_that_say_nothing(self):
        server = self.serve()
        before = server.settled_descriptor_count()
        with Pulse(server, 'postgres@other') as pulse:
            flood = self.flood(server, b'')
            flood.read(2)
            found = flood.outcomes()
            self.assertLessEqual(found['waiting'], CONNS_MAX)
            self.assertEqual(found['53300 sorry, too many clients already'], FLOOD - found['waiting'])
            flood.close()
            self.assertTrue(wait_until(lambda: self.is_served(server), 5))
        pulse.check(self)
        self.check_afterwards(server, before, 2)

    def test_of_cells(self):
        """Each client wants another cell, of which there is a limit."""
        server = self.serve('--max-cells', '50')
        before = server.settled_descriptor_count()
        with Pulse(server, 'postgres@other') as pulse:
            clients, refused = [], 0
            for i in range(300):
                try:
                    clients.append(server.connect(f'postgres@flood{i}'))
                except PgError as error:
                    self.assertEqual(error.sqlstate, '53400')
                    refused += 1
            self.assertEqual((len(clients), refused), (49, 251))
            for c in clients:
                c.vanish()
        pulse.check(self)
        self.assertTrue(wait_until(lambda: not server.sessions(), 20))
        after = server.settled_descriptor_count()
        self.assertEqual(after[server.process.pid], before[server.process.pid] + 50)

    def test_of_clients_that_are_gone_at_once(self):
        """They send their start-up packet and hang up."""
        server = self.serve()
        before = server.settled_descriptor_count()
        packet = startup_packet([('user', 'postgres'), ('database', 'postgres@flooded')])
        with Pulse(server, 'postgres@other') as pulse:
            began = time.monotonic()
            for _ in range(FLOOD):
                with contextlib.suppress(OSError), dial(server.tcp, 5) as sock:
                    sock.sendall(packet)
            self.assertLess(time.monotonic() - began, FLOOD_SECONDS)
            self.assertTrue(wait_until(lambda: len(server.sessions()) <= 1, 30))
            with server.connect('postgres@flooded') as c:
                self.assertEqual(c.query('select 1').value, '1')
        pulse.check(self)
        self.check_afterwards(server, before, 2)

    @staticmethod
    def is_served(server):
        try:
            server.connect('postgres@again').close()
            return True
        except (OSError, EOFError, PgError):
            return False


class Cancels(ServerCase):
    def cancel_packets(self, c):
        """Keys that are not this session's, of every length that the protocol allows, and some that it does not."""
        yield c.pid, bytes(b ^ 0xff for b in c.key)
        yield c.pid, c.key[:-1] + bytes([c.key[-1] ^ 1])
        yield c.pid, c.key + b'\0'
        yield c.pid, c.key * 2
        yield c.pid, c.key[:2]
        yield c.pid, b'\0' * 4
        yield c.pid, b'\0' * 256
        yield c.pid, b''
        yield c.pid, c.key * 65

    def send_cancel(self, pid, key):
        with dial(self.server.tcp, 10) as sock:
            sock.sendall(struct.pack('!III', 12 + len(key), 80877102, pid) + key)
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(sock.recv(1), b'')

    def test_keys_that_do_not_match(self):
        for minor in (0, 2):
            with self.subTest(minor=minor):
                c = self.connect(minor=minor)
                c.send_query('select pg_sleep(1.5)')
                for pid, key in self.cancel_packets(c):
                    self.send_cancel(pid, key)
                self.assertEqual(len(c.collect()[0].rows), 1)

    def test_the_key_of_another_session(self):
        a, b, elsewhere = self.connect(), self.connect(), self.connect('postgres@elsewhere')
        a.send_query('select pg_sleep(1.5)')
        self.send_cancel(a.pid, b.key)
        self.send_cancel(a.pid, elsewhere.key)
        self.send_cancel(b.pid, a.key)
        self.send_cancel(elsewhere.pid, a.key)
        self.assertEqual(len(a.collect()[0].rows), 1)

    def test_of_a_session_that_has_ended(self):
        """Its slot may be another's by now."""
        old = self.connect()
        pid, key = old.pid, old.key
        old.close()
        self.assertTrue(wait_until(lambda: not self.server.sessions()))
        self.send_cancel(pid, key)
        c = self.connect()
        c.send_query('select pg_sleep(1)')
        for _ in range(5):
            self.send_cancel(pid, key)
        self.assertEqual(len(c.collect()[0].rows), 1)

    def test_of_a_session_that_was_killed(self):
        old = self.connect()
        self.kill_session(old)
        c = self.connect()
        c.send_query('select pg_sleep(1)')
        self.send_cancel(old.pid, old.key)
        self.send_cancel(c.pid, old.key)
        self.assertEqual(len(c.collect()[0].rows), 1)

    def test_a_storm_of_them(self):
        """Wrong ones in between do not keep the right one from its session for long."""
        c = self.connect()
        for _ in range(5):
            c.send_query('select pg_sleep(20)')
            began = time.monotonic()
            for _ in range(40):
                self.send_cancel(c.pid, b'\1\2\3\4')
            while not self.is_cancelled(c):
                c.cancel()  # PostgreSQL does not promise that one suffices, nor does a full house
            self.assertLess(time.monotonic() - began, 5)
        self.assertEqual(c.query('select 1').value, '1')
        self.assertNotIn('abnormally', self.log())

    def is_cancelled(self, c):
        c.set_timeout(0.3)
        try:
            with sql_error(self, '57014'):
                c.collect()
            return True
        except TimeoutError:
            return False
        finally:
            c.set_timeout(20)


class SlowClients(ServerCase):
    """Only their own session stalls."""

    def stalled(self, c):
        """Its process neither runs nor ends."""
        before = cpu_seconds(c.pid)
        time.sleep(1)
        self.assertLess(cpu_seconds(c.pid) - before, 0.2, 'it spins')

    def check_others(self):
        with self.connect() as c:
            began = time.monotonic()
            self.assertEqual(c.query('select count(*) from t').value, '1000')
            c.query('update t set v = v')
            c.query('create table other (i int)')
            c.query('drop table other')
            c.query('checkpoint')
            self.assertLess(time.monotonic() - began, 2)

    def make_table(self):
        with self.connect() as c:
            c.query("create table t as select i, repeat('x', 1000) as v from generate_series(1, 1000) i")

    def test_who_never_reads_its_results(self):
        self.make_table()
        deaf = self.connect()
        deaf.send_query('select t.* from t, generate_series(1, 100) g')  # 100 MB
        time.sleep(1)
        self.stalled(deaf)
        self.check_others()
        with self.connect() as c:
            self.assertEqual(c.query(f'select wait_event from pg_stat_activity where pid = {deaf.pid}').value, 'ClientWrite')
            self.assertEqual(c.query(f'select pg_terminate_backend({deaf.pid})').value, 't')
        self.assertTrue(wait_until(lambda: deaf.pid not in [p.pid for p in self.server.sessions()], 10), 'it cannot be ended')

    def test_who_never_reads_and_is_cancelled(self):
        self.make_table()
        deaf = self.connect()
        deaf.send_query('select t.* from t, generate_series(1, 100) g')
        time.sleep(0.5)
        deaf.cancel()
        time.sleep(0.5)
        self.check_others()
        deaf.set_timeout(20)
        with self.assertRaises((PgError, EOFError, ConnectionResetError)):
            deaf.collect()

    def test_who_never_reads_and_hangs_up(self):
        self.make_table()
        deaf = self.connect()
        deaf.send_query('select t.* from t, generate_series(1, 100) g')
        time.sleep(0.5)
        deaf.vanish()
        self.assertTrue(wait_until(lambda: deaf.pid not in [p.pid for p in self.server.sessions()], 10))
        self.check_others()

    def test_who_never_reads_its_copy(self):
        self.make_table()
        deaf = self.connect()
        deaf.send_query('copy (select t.* from t, generate_series(1, 100) g) to stdout')
        time.sleep(0.5)
        self.stalled(deaf)
        self.check_others()

    def test_many_who_never_read(self):
        self.make_table()
        deaf = [self.connect() for _ in range(30)]
        for c in deaf:
            c.send_query('select t.* from t, generate_series(1, 100) g')
        time.sleep(2)
        self.check_others()
        for c in deaf:
            c.vanish()
        self.assertTrue(wait_until(lambda: not self.server.sessions(), 20))

    def test_who_sends_half_a_message_and_stays(self):
        self.make_table()
        whole = message(b'Q', b"insert into t values (0, 'half')\0")
        half = [self.connect() for _ in range(4)]
        for c, length in zip(half, (1, 3, 5, len(whole) - 1)):
            c.sock.sendall(whole[:length])
        for c in half:
            self.stalled(c)
        self.check_others()
        # it is still a good client
        half[3].sock.sendall(whole[-1:])
        self.assertEqual(half[3].collect()[0].tag, 'INSERT 0 1')
        for c in half[:3]:
            c.vanish()
        self.assertTrue(wait_until(lambda: len(self.server.sessions()) == 1))
        self.assertEqual(half[3].query('select count(*) from t').value, '1001')

    def test_who_sends_half_a_copy_and_stays(self):
        """With a lock on the table, which others can read."""
        self.make_table()
        c = self.connect()
        c.send_query('copy t from stdin')
        self.assertEqual(c.read_message()[0], 'G')
        c.sock.sendall(message(b'd', b'1001\tx\n') + message(b'd', b'1002\tx\n')[:7])
        self.stalled(c)
        self.check_others()
        c.vanish()
        self.assertTrue(wait_until(lambda: not self.server.sessions()))
        with self.connect() as again:
            self.assertEqual(again.query('select count(*) from t').value, '1000')

    def test_half_a_message_does_not_outlive_sigterm(self):
        c = self.connect()
        c.sock.sendall(b'Q\0\0\1')
        time.sleep(0.2)
        os.kill(c.pid, signal.SIGTERM)
        self.assertTrue(wait_until(lambda: not self.server.sessions(), 5))


class Recovery(ServerCase):
    def crash(self, c):
        os.kill(c.pid, signal.SIGKILL)

    def children(self):
        parent = self.server.fork_server().pid
        with open(f'/proc/{parent}/task/{parent}/children', encoding='ascii') as f:
            return [int(pid) for pid in f.read().split()]

    def test_others_hear_of_the_crash(self):
        """57P02 as a warning, as from PostgreSQL's quickdie(), then the end."""
        killed, idle, busy = self.connect(), self.connect(), self.connect()
        busy.send_query('select pg_sleep(20)')
        time.sleep(0.2)
        self.crash(killed)
        for c in (idle, busy):
            c.read_to_end()
            self.assertEqual([n['C'] for n in c.notices], ['57P02'], c.notices)
        self.assertNotIn('SIGQUIT', self.log())

    def test_that_is_killed_starts_over(self):
        c = self.connect()
        c.query("create table t as select i, repeat('x', 300) as v from generate_series(1, 30000) i")
        self.crash(c)
        killed = 0
        end = time.monotonic() + 5
        while killed < 3 and time.monotonic() < end:
            for pid in self.children():
                if pid != c.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
        self.assertTrue(killed)
        self.assertNotIn('given up', self.log())
        with self.connect() as c:
            self.assertEqual(c.query('select count(*) from t').value, '30000')


WRITE = """do $$ begin
    for k in 1..1000 loop
        insert into t select i, repeat(md5(i::text), 60) from generate_series(1, 500) i;
        if k % 10 = 0 then delete from t where i % 2 = k % 3; end if;
        commit;
    end loop; end $$"""


class Checkpoints(ServerCase):
    """Much WAL from many sessions: each of them finds checkpoints due."""

    seconds = 120

    def test_of_many_writers_come_one_at_a_time(self):
        for round_number in range(8):
            database = f'postgres@writers{round_number}'
            writers = [self.server.connect(database) for _ in range(16)]
            writers[0].query('create table t (i int, v text)')
            for c in writers:
                c.send_query(WRITE)
            time.sleep(2)
            self.assertNotIn('abnormally', self.log())
            os.kill(writers[0].pid, signal.SIGKILL)
            for c in writers:
                c.vanish()
            self.assertTrue(wait_until(lambda: not self.server.sessions(), 20))
            with self.server.connect(database) as c:
                self.assertEqual(c.query('select count(*) filter (where v <> repeat(md5(i::text), 60)) from t').value, '0')
                c.query('drop table t')
                c.query('checkpoint')
            self.assertNotIn('PANIC', self.log())
            self._log_start = len(self.server.stderr())


def main():
    e2e_run.HERE = HERE
    sys.argv.append('cases')
    return e2e_run.main()


if __name__ == '__main__':
    sys.exit(main())

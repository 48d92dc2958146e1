"""`pgcell port`: a parent process and one cell, over frames, raw bytes and a Unix socket; and serve's leash."""
import fcntl
import os
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

from port import FramedPipe, MemoryWatch, PipeConnection, Port, elapsed, frame, session_process
from pgwire import Connection, PgError, cancel_packet, message, parse_fields, startup_packet
from server import IMAGE, MARK, PGCELL, ROOT, OwnServerCase, clean_environment, limit_time, processes_marked, run_program, wait_until

ESCRIPT = os.path.join(ROOT, 'tests', 'port', 'port.escript')
GIGABYTE = 1 << 30
FLAT_KIB = 8 << 10  # what a process may grow by while a gigabyte passes


def query(sql):
    return message(b'Q', sql.encode() + b'\0')


def messages_of(data):
    """[('T', body)], and what is left over."""
    found = []
    while len(data) >= 5 and len(data) >= 1 + struct.unpack_from('!I', data, 1)[0]:
        length = struct.unpack_from('!I', data, 1)[0]
        found.append((chr(data[0]), data[5:1 + length]))
        data = data[1 + length:]
    return found, data


class Reader:
    """Reads a socket to its end while others wait."""

    def __init__(self, sock):
        self.data = bytearray()
        self.sock = sock
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while piece := self.sock.recv(1 << 20):
            self.data += piece

    def result(self):
        self.thread.join(20)
        return bytes(self.data)


class PortCase(unittest.TestCase):
    seconds = 60

    def setUp(self):
        limit_time(self)
        self.ports = []

    def open(self, *options, **kwargs):
        port = Port(*options, **kwargs)
        self.ports.append(port)
        self.addCleanup(port.release)
        return port

    def log(self):
        return '\n'.join(p.stderr() for p in self.ports if not p._log.closed)

    def assert_ends(self, port, status, seconds=15):
        self.assertEqual(port.wait(seconds), status, port.stderr())
        port.assert_nothing_left(self)


class StartUp(PortCase):
    def test_done_for_the_parent(self):
        port = self.open('--startup')
        pipe = port.pipe()
        data = b''
        while not data.endswith(b'Z\0\0\0\5I'):
            data += pipe.recv(65536)
        found, rest = messages_of(data)
        self.assertEqual(rest, b'')
        kinds = ''.join(kind for kind, _ in found)
        self.assertRegex(kinds, '^S+KZ$')
        self.assertIn(b'server_version\x0018', data)
        pipe.sendall(query('select current_user, current_database(), current_setting(\'application_name\')'))
        self.assertIn(b'pgcell port', pipe.recv(65536))
        pipe.sendall(message(b'X'))
        self.assert_ends(port, 0)

    def test_done_by_the_parent(self):
        for framing in ('packet4', 'raw'):
            with self.subTest(framing=framing):
                port = self.open(f'--framing={framing}')
                c = port.connection()
                self.assertEqual(c.query('select 6 * 7').value, '42')
                c.close()
                self.assert_ends(port, 0)

    def test_encryption_is_declined_first(self):
        port = self.open('--framing=raw')
        pipe = port.pipe()
        pipe.sendall(struct.pack('!II', 8, 80877103))
        self.assertEqual(pipe.recv(10), b'N')
        c = PipeConnection(pipe, is_started=False)
        c.close()
        self.assert_ends(port, 0)

    def test_user_database_and_cell(self):
        port = self.open('--startup', '--database', 'template1@somewhere', '--user=postgres')
        self.assertEqual(port.connection().query('select current_database()').value, 'template1')
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_refused(self):
        for options, sqlstate in ((['--database', 'nowhere'], '3D000'), (['--user', 'nobody'], '28000'),
                                  (['--database', 'postgres@a cell'], '3D000')):
            for is_ours in (True, False):
                with self.subTest(options=options, is_ours=is_ours):
                    port = self.open(*(['--startup', *options] if is_ours else []))
                    if not is_ours:
                        parameters = {'user': 'postgres', options[0][2:]: options[1]}
                        port.pipe().sendall(startup_packet(list(parameters.items())))
                    found, rest = messages_of(port.drain())
                    self.assertEqual(rest, b'')
                    self.assertEqual([kind for kind, _ in found if kind != 'R'], ['E'])
                    self.assertEqual(parse_fields(found[-1][1])['C'], sqlstate)
                    self.assert_ends(port, 3)

    def test_a_name_that_is_too_long(self):
        port = self.open('--startup', '--user', 'x' * 3000)
        self.assertEqual(port.drain(), b'')
        self.assertIn('too long', port.stderr())
        self.assert_ends(port, 3)

    def test_usage(self):
        for options in (['--framing=packet2'], ['--nonsense'], ['stray'], ['--listen=none']):
            with self.subTest(options=options):
                outcome = run_program([PGCELL, 'port', *options])
                self.assertEqual((outcome.status, outcome.stdout), (2, ''), outcome.stderr)
        outcome = run_program([PGCELL, 'port', '--image', '/nowhere.img'])
        self.assertEqual((outcome.status, outcome.stdout), (1, ''), outcome.stderr)
        self.assertIn('/nowhere.img', outcome.stderr)

    def test_a_parent_that_says_nothing_has_no_session(self):
        port = self.open('--startup-timeout', '200')
        time.sleep(1)
        self.assertEqual(port.connection().query('select 1').value, '1')  # the time begins with its first byte
        port.close_stdin()
        self.assert_ends(port, 0)


class Frames(PortCase):
    def test_no_frame_need_be_a_message(self):
        port = self.open('--startup')
        c = port.connection()
        for cut in (1, 2, 3, 7, 1000):
            text = query(f'select {cut}') + query('select 1; select 2')
            for at in range(0, len(text), cut):
                c.sock.sendall(text[at:at + cut])
                c.sock.sendall(b'')
            self.assertEqual(c.collect()[-1].value, str(cut))
            self.assertEqual([r.value for r in c.collect()], ['1', '2'])
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_frames_may_come_byte_by_byte(self):
        port = self.open('--startup')
        c = port.connection()
        for byte in frame(query('select 7')) + frame(b'') + frame(query('select 8')):
            c.sock.write_raw(bytes([byte]))
        self.assertEqual([c.collect()[-1].value, c.collect()[-1].value], ['7', '8'])
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_a_frame_larger_than_any_buffer(self):
        port = self.open('--startup')
        c = port.connection()
        session = session_process(port)[0]
        with MemoryWatch([port.process.pid]) as memory:
            c.query('create table t (v text)')
            c.send_query('copy t from stdin')
            self.assertEqual(c.read_message()[0], 'G')
            line = b'x' * 1023 + b'\n'
            count = 64 << 10  # 64 MiB in one frame, in 64 messages
            chunks = [message(b'd', line * 1024) for _ in range(count // 1024)]
            chunks.append(message(b'c'))
            c.sock.write_raw(struct.pack('!I', sum(map(len, chunks))))
            for chunk in chunks:
                c.sock.write_raw(chunk)
            self.assertEqual(c.collect()[-1].tag, f'COPY {count}')
        self.assertLess(memory.largest[port.process.pid] - memory.first[port.process.pid], FLAT_KIB)
        self.assertTrue(session.is_alive())
        long_text = 'y' * (20 << 20)
        self.assertEqual(c.query(f"select length('{long_text}')").value, str(len(long_text)))
        self.assertEqual(len(c.query(f"select repeat('z', {20 << 20})").value), 20 << 20)
        self.assertLessEqual(c.sock.largest_frame, 65536)
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_nonsense(self):
        for text in (frame(b'\xff' * 100), b'\xff\xff\xff\xff' + b'nonsense' * 10, frame(b'Q\0\0\0\3')):
            with self.subTest(text=text[:20]):
                port = self.open('--startup')
                c = port.connection()
                c.sock.write_raw(text)
                if b'\xff' in text:
                    self.assertEqual(c.read_fatal().sqlstate, '08P01')
                else:  # PostgreSQL hangs up without a word
                    self.assertEqual(c.read_to_end(), [])
                self.assert_ends(port, 4)

    def test_a_frame_that_is_cut_short(self):
        port = self.open('--startup')
        c = port.connection()
        c.sock.write_raw(struct.pack('!I', 100) + b'Q')
        port.close_stdin()
        self.assert_ends(port, 0)


class Ends(PortCase):
    def test_input_closed(self):
        for state in ('nothing', 'idle', 'transaction', 'behind a query'):
            with self.subTest(state=state):
                port = self.open('--startup')
                c = None if state == 'nothing' else port.connection()
                if state == 'transaction':
                    c.query('begin; create table t ()')
                if state == 'behind a query':
                    c.send_query('select 1')
                started = time.monotonic()
                port.close_stdin()
                if state == 'behind a query':  # is still answered
                    self.assertEqual(c.collect()[-1].value, '1')
                self.assert_ends(port, 0)
                self.assertLess(elapsed(started), 2)
                if state != 'transaction':  # PostgreSQL has a word to say about that
                    self.assertEqual(port.stderr(), '')

    def test_input_closed_before_anything_was_said(self):
        for stdin in ('pipe', '/dev/null', 'closed'):
            with self.subTest(stdin=stdin):
                if stdin == 'closed':
                    outcome = run_program(['sh', '-c', 'exec "$0" port <&-', PGCELL])
                    self.assertEqual((outcome.status, outcome.stdout), (0, ''), outcome.stderr)
                    continue
                port = self.open(stdin=subprocess.DEVNULL if stdin == '/dev/null' else subprocess.PIPE)
                if stdin == 'pipe':
                    port.close_stdin()
                self.assertEqual(port.drain(), b'')
                self.assert_ends(port, 0)

    def test_input_closed_while_a_query_runs(self):
        for sql in ('select pg_sleep(60)', 'do $$ begin loop end loop; end $$'):
            with self.subTest(sql=sql):
                port = self.open('--startup')
                port.connection().send_query(sql)
                time.sleep(0.3)
                started = time.monotonic()
                port.close_stdin()
                self.assert_ends(port, 0)
                self.assertLess(elapsed(started), 8)

    def test_input_and_output_closed_while_a_query_runs(self):
        port = self.open('--startup')
        port.connection().send_query('select pg_sleep(60)')
        time.sleep(0.3)
        started = time.monotonic()
        port.close_stdin()
        port.process.stdout.close()
        self.assert_ends(port, 0)
        self.assertLess(elapsed(started), 2)

    def test_output_closed(self):
        for sql in (None, "select repeat('x', 1000) from generate_series(1, 1000000)", 'select pg_sleep(60)'):
            with self.subTest(sql=sql):
                port = self.open('--startup')
                c = port.connection()
                if sql:
                    c.send_query(sql)
                    time.sleep(0.3)
                started = time.monotonic()
                port.process.stdout.close()
                self.assert_ends(port, 0)
                self.assertLess(elapsed(started), 2)

    def test_input_closed_and_nobody_reads(self):
        port = self.open('--startup')
        c = port.connection()
        c.send_query("select repeat('x', 1000) from generate_series(1, 1000000)")
        time.sleep(0.3)
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_input_closed_while_the_session_takes_nothing(self):
        port = self.open('--startup')
        c = port.connection()
        c.send_query('select pg_sleep(60)')
        os.set_blocking(port.process.stdin.fileno(), False)
        filler = frame(query('select 1')) * 10000
        try:  # until nothing more is taken
            while True:
                os.write(port.process.stdin.fileno(), filler)
                time.sleep(0.01)
        except BlockingIOError:
            pass
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_the_parent_is_killed(self):
        script = ('import subprocess, sys, time\n'
                  f'p = subprocess.Popen([{PGCELL!r}, "port", "--startup"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n'
                  'p.stdout.read(100)\n'
                  'sys.stdout.write("up\\n"); sys.stdout.flush(); time.sleep(60)\n')
        mark = 'killed-parent-' + str(os.getpid())
        parent = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE,
                                  env=clean_environment(**{MARK: mark}))
        self.addCleanup(parent.stdout.close)
        self.addCleanup(parent.wait)
        self.assertEqual(parent.stdout.readline(), b'up\n')
        self.assertGreaterEqual(len(processes_marked(mark)), 4)
        parent.kill()
        self.assertTrue(wait_until(lambda: not processes_marked(mark), 5), processes_marked(mark))

    def test_the_session_ends_by_itself(self):
        port = self.open('--startup')
        c = port.connection()
        c.send_query('select pg_terminate_backend(pg_backend_pid())')
        self.assertEqual(c.read_fatal().sqlstate, '57P01')
        self.assert_ends(port, 4)

    def test_the_session_crashes(self):
        port = self.open('--startup')
        c = port.connection()
        os.kill(c.pid, signal.SIGABRT)
        self.assertEqual(port.drain(), b'')
        self.assert_ends(port, 4)
        self.assertIn('ended abnormally with signal 6', port.stderr())

    def test_the_fork_server_dies(self):
        port = self.open('--startup')
        port.connection()
        children = [p for p in port.look() if p.pid != port.process.pid and
                    open(f'/proc/{p.pid}/stat', encoding='ascii').read().rsplit(')', 1)[1].split()[1] == str(port.process.pid)]
        os.kill(children[0].pid, signal.SIGKILL)
        self.assertIn(port.wait(), (1, 4), port.stderr())
        port.assert_nothing_left(self)

    def test_signals(self):
        for signo in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=signo.name):
                port = self.open('--startup')
                c = port.connection()
                c.send_query('select pg_sleep(60)')
                time.sleep(0.3)
                port.process.send_signal(signo)
                self.assertEqual(c.read_fatal().sqlstate, '57P01')
                self.assert_ends(port, 0)

    def test_terminate_while_another_query_waits(self):
        port = self.open('--startup')
        c = port.connection()
        c.sock.sendall(query('select 1') + message(b'X'))
        self.assertEqual([k for k, _ in c.read_to_end()], list('TDCZ'))
        self.assert_ends(port, 0)


class Cancel(PortCase):
    def test_a_frame_that_is_a_cancel_request(self):
        port = self.open('--startup')
        c = port.connection()
        c.send_query('select pg_sleep(60)')
        time.sleep(0.3)
        c.sock.sendall(cancel_packet(c.pid, c.key))
        with self.assertRaises(PgError) as caught:
            c.collect()
        self.assertEqual(caught.exception.sqlstate, '57014')
        self.assertEqual(c.query('select 1').value, '1')
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_with_a_wrong_key_nothing_happens(self):
        port = self.open('--startup')
        c = port.connection()
        c.send_query('select pg_sleep(1)')
        time.sleep(0.3)
        c.sock.sendall(cancel_packet(c.pid, b'\0\0\0\0'))
        c.sock.sendall(cancel_packet(4, c.key))
        self.assertEqual(len(c.collect()), 1)
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_while_nobody_reads(self):
        port = self.open('--startup')
        c = port.connection()
        c.send_query("select repeat('x', 1000) from generate_series(1, 100000000)")
        time.sleep(0.5)  # every buffer is full
        c.sock.sendall(cancel_packet(c.pid, c.key))
        with self.assertRaises(PgError) as caught:
            c.collect()
        self.assertEqual(caught.exception.sqlstate, '57014')
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_the_same_bytes_within_a_frame_are_data(self):
        port = self.open('--startup')
        c = port.connection()
        c.query('create table t (v bytea)')
        packet = cancel_packet(c.pid, c.key)
        literal = "'\\x" + packet.hex() + "'"
        self.assertEqual(c.query(f'insert into t values ({literal}) returning v = {literal}').value, 't')
        c.send_query('copy t to stdout binary')
        self.assertIn(packet, b''.join(body for kind, body in c.read_batch() if kind == 'd'))
        c.send_query('copy t from stdin binary')
        c.read_message()
        row = b'PGCOPY\n\xff\r\n\0' + bytes(8) + struct.pack('!hi', 1, 16) + packet + b'\xff\xff'
        c.sock.sendall(message(b'd', row) + message(b'c'))
        self.assertEqual(c.collect()[-1].tag, 'COPY 1')
        port.close_stdin()
        self.assert_ends(port, 0)


class Descriptors(PortCase):
    """Standard input and output may be anything."""

    def script(self):
        return (query('create table t as select generate_series(1, 1000) as n') + query('select sum(n) from t') +
                query("select repeat('x', 1000) from t") + message(b'X'))

    def check_output(self, data):
        found, rest = messages_of(data)
        self.assertEqual(rest, b'')
        self.assertEqual([body[-6:] for kind, body in found if kind == 'D'][0], b'500500')
        self.assertEqual(sum(kind == 'D' for kind, _ in found), 1001)

    def test_files(self):
        for framing in ('raw', 'packet4'):
            with self.subTest(framing=framing), tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
                stdin.write(self.script() if framing == 'raw' else frame(b'') * 300000 + frame(self.script()))
                stdin.seek(0)
                port = self.open('--startup', f'--framing={framing}', stdin=stdin, stdout=stdout)
                self.assert_ends(port, 0)
                stdout.seek(0)
                data = stdout.read()
                if framing == 'packet4':
                    plain = b''
                    while data:
                        length = struct.unpack_from('!I', data)[0]
                        plain, data = plain + data[4:4 + length], data[4 + length:]
                    data = plain
                self.check_output(data)

    def test_a_file_without_terminate(self):
        with tempfile.TemporaryFile() as stdin:
            stdin.write(self.script()[:-5])
            stdin.seek(0)
            port = self.open('--startup', '--framing=raw', stdin=stdin)
            self.check_output(port.drain())
            self.assert_ends(port, 0)

    def test_a_full_disk(self):
        with open('/dev/full', 'wb') as stdout:
            port = self.open('--startup', stdout=stdout)
            self.assert_ends(port, 1)
        self.assertIn('No space left', port.stderr())

    def test_sockets(self):
        for is_one in (True, False):
            with self.subTest(is_one=is_one):
                ours, theirs = socket.socketpair()
                ours_out, theirs_out = (ours, theirs) if is_one else socket.socketpair()
                port = self.open('--startup', '--framing=raw', stdin=theirs, stdout=theirs_out)
                ours.sendall(self.script()[:-5])
                if not is_one:
                    ours_out.shutdown(socket.SHUT_WR)  # never used, and no news
                ours.shutdown(socket.SHUT_WR)
                ours_out.settimeout(20)
                reader = Reader(ours_out)
                self.assert_ends(port, 0)
                for sock in {theirs, theirs_out}:
                    self.assertEqual(fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK, 0)  # as they were
                    sock.close()
                self.check_output(reader.result())
                for sock in {ours, ours_out}:
                    sock.close()

    def test_a_socket_whose_other_side_is_gone(self):
        ours, theirs = socket.socketpair()
        port = self.open('--startup', stdin=theirs, stdout=theirs)
        theirs.close()
        c = PipeConnection(FramedPipe(ours.fileno(), ours.fileno()), is_started=True)
        c.send_query('select pg_sleep(60)')
        time.sleep(0.3)
        started = time.monotonic()
        ours.close()
        self.assert_ends(port, 0)
        self.assertLess(elapsed(started), 2)

    def test_pipes_stay_blocking_for_others(self):
        read_end, write_end = os.pipe()
        port = self.open('--startup', stdout=write_end)
        c = PipeConnection(FramedPipe(read_end, port.process.stdin.fileno()), is_started=True)
        self.assertEqual(fcntl.fcntl(write_end, fcntl.F_GETFL) & os.O_NONBLOCK, 0)
        self.assertEqual(c.query('select 1').value, '1')
        port.close_stdin()
        self.assert_ends(port, 0)
        os.close(write_end)
        os.close(read_end)


class Streams(PortCase):
    seconds = 240

    def test_a_gigabyte_of_results_in_flat_memory(self):
        port = self.open('--startup')
        c = port.connection()
        c.query("select generate_series(1, 10000), repeat('x', 1000)")  # every buffer was used once
        session = session_process(port)
        self.assertEqual(len(session), 1)
        rows = GIGABYTE // 1024
        watched = {'supervisor': port.process.pid, 'session': session[0].pid, 'reader': os.getpid()}
        started = time.monotonic()
        with MemoryWatch(list(watched.values())) as memory:
            c.send_query(f"select generate_series(1, {rows}), repeat('x', 1024)")  # row by row: nothing is collected first
            got, tail = 0, b''
            while not tail.endswith(b'Z\0\0\0\5I'):
                piece = c.sock.recv(65536)
                self.assertTrue(piece)
                got += len(piece)
                tail = (tail + piece)[-6:]
        seconds = elapsed(started)
        figures = ', '.join(f'{name} {memory.first[pid]} -> {memory.largest[pid]} kB (resident {memory.first_resident[pid]} -> '
                            f'{memory.largest_resident[pid]})' for name, pid in watched.items())
        print(f'[1 GB in {seconds:.1f} s: {figures}]', end=' ', flush=True)
        self.assertGreater(got, GIGABYTE)
        self.assertLess(got, GIGABYTE + rows * 32)
        for name, pid in watched.items():
            self.assertLess(memory.largest[pid] - memory.first[pid], FLAT_KIB, f'{name} grew')
        c._in.clear()
        self.assertEqual(c.query('select 1').value, '1')
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_a_parent_that_does_not_read_stops_the_session(self):
        port = self.open('--startup')
        c = port.connection()
        session = session_process(port)[0]
        c.send_query("select repeat('x', 1000) from generate_series(1, 300000)")
        time.sleep(1)
        with MemoryWatch([port.process.pid, session.pid]) as memory:
            time.sleep(1)
        for pid in (port.process.pid, session.pid):
            self.assertLess(memory.largest[pid] - memory.first[pid], 1 << 10)
        self.assertEqual(len(c.collect()[-1].rows), 300000)
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_both_directions_at_once(self):
        port = self.open('--startup')
        c = port.connection()
        text = 'y' * 1000
        c._out += b''.join(query(f"select '{text}' from generate_series(1, 3)") for _ in range(20000))
        thread = c.send_in_background()
        for _ in range(20000):
            self.assertEqual(len(c.collect()[-1].rows), 3)
        thread.join()
        port.close_stdin()
        self.assert_ends(port, 0)


class Erlang(PortCase):
    seconds = 120

    def test_a_port_of_the_beam(self):
        outcome = run_program(['escript', ESCRIPT, PGCELL, '64'], timeout=100, env=clean_environment(HOME='/tmp'))
        self.assertEqual(outcome.status, 0, outcome.stdout + outcome.stderr)
        seen = [line for line in outcome.stdout.splitlines() if not line.startswith('received')]
        self.assertEqual(seen, ['started', 'query', 'cut', 'cancel', 'terminated', 'closed', 'refused', 'ended', 'ok'],
                         outcome.stderr)


class Socket(PortCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix='pgcell-port-socket-')
        self.addCleanup(lambda: os.path.isdir(self.folder) and os.rmdir(self.folder))
        self.path = os.path.join(self.folder, 'p')

    def listen(self, *options, **kwargs):
        port = self.open('--socket', self.path, *options, **kwargs)
        port.wait_line(f'pgcell: ready on {self.path}\n')
        port.look()
        return port

    def client(self, is_started=False):
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(self.path)
        c = PipeConnection(FramedPipe(sock.fileno(), sock.fileno()), is_started=is_started)
        c.socket = sock
        return c

    def test_several_clients_are_sessions_of_one_cell(self):
        port = self.listen('--startup')
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        a, b = self.client(True), self.client(True)
        a.query('create table t as select 5 as n')
        self.assertEqual(b.query('select n from t').value, '5')
        self.assertNotEqual(a.pid, b.pid)
        b.send_query('select pg_sleep(60)')
        time.sleep(0.3)
        a.sock.sendall(cancel_packet(b.pid, b.key))
        with self.assertRaises(PgError) as caught:
            b.collect()
        self.assertEqual(caught.exception.sqlstate, '57014')
        b.socket.close()
        self.assertEqual(a.query('select 1').value, '1')
        started = time.monotonic()
        port.close_stdin()
        self.assertEqual(a.read_fatal().sqlstate, '57P01')
        self.assert_ends(port, 0)
        self.assertLess(elapsed(started), 2)
        self.assertFalse(os.path.lexists(self.path))
        self.assertEqual(port.process.stdout.read(), b'')

    def test_raw_is_the_plain_protocol(self):
        port = self.listen('--framing=raw')
        with Connection(self.path) as c:
            self.assertEqual(c.query('select 2').value, '2')
            c.send_query('select pg_sleep(60)')
            time.sleep(0.3)
            c.cancel()
            with self.assertRaises(PgError):
                c.collect()
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_clients_that_misbehave_harm_nobody(self):
        port = self.listen()
        good = self.client()
        for text in (b'', b'\0', b'\xff' * 1000, frame(b'\xff' * 100), frame(startup_packet([('user', 'nobody')])), b'\0\0\0\1'):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(self.path)
            sock.sendall(text)
            sock.close()
        half = self.client()
        half.send_query('select 3')
        half.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(half.collect()[-1].value, '3')
        self.assertEqual(half.socket.recv(1), b'')
        self.assertEqual(good.query('select 4').value, '4')
        self.assertIsNone(port.process.poll())
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_many_clients_leave_nothing(self):
        port = self.listen('--startup')
        fds = f'/proc/{port.process.pid}/fd'
        with ClosingClient(self.client(True)) as keeper:
            before = len(os.listdir(fds))
            for _ in range(5):
                clients = [self.client(True) for _ in range(10)]
                for i, c in enumerate(clients):
                    self.assertEqual(c.query(f'select {i}').value, str(i))
                    c.socket.close()
            self.assertTrue(wait_until(lambda: len(os.listdir(fds)) <= before), os.listdir(fds))
            self.assertEqual(keeper.query('select 1').value, '1')
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_whose_folder_and_what_is_in_the_way(self):
        os.chmod(self.folder, 0o777)
        cases = [(self.path, 'can be changed by other users'), ('/nowhere/at/all', 'cannot look at'),
                 ('/' + 'x' * 200, 'too long')]
        if os.geteuid() != 0:
            cases.append(('/p', 'not a folder of yours'))
        for path, said in cases:
            with self.subTest(path=path[:30]):
                outcome = run_program([PGCELL, 'port', '--socket', path])
                self.assertEqual((outcome.status, outcome.stdout), (1, ''), outcome.stderr)
                self.assertIn(said, outcome.stderr)
        os.chmod(self.folder, 0o700)
        with open(self.path, 'w', encoding='ascii'):
            outcome = run_program([PGCELL, 'port', '--socket', self.path])
            self.assertEqual(outcome.status, 1)
            self.assertIn('in the way', outcome.stderr)
        os.unlink(self.path)
        port = self.listen()
        outcome = run_program([PGCELL, 'port', '--socket', self.path])
        self.assertEqual(outcome.status, 1)
        self.assertIn('in use by another', outcome.stderr)
        port.process.kill()  # leaves its socket, which the next one takes the place of
        port.wait()
        self.assertTrue(os.path.lexists(self.path))
        port = self.listen()
        self.assertEqual(self.client().query('select 1').value, '1')
        port.close_stdin()
        self.assert_ends(port, 0)

    def test_without_a_leash_it_ends_at_once(self):
        port = self.open('--socket', self.path, stdin=subprocess.DEVNULL)
        self.assert_ends(port, 0)
        self.assertFalse(os.path.lexists(self.path))


class ClosingClient:
    """Closes a client's socket."""

    def __init__(self, c):
        self.c = c

    def __enter__(self):
        return self.c

    def __exit__(self, *_):
        self.c.socket.close()


class ExitWithStdin(OwnServerCase):
    def launch(self, stdin):
        server = self.make('--exit-with-stdin')
        temporary = os.path.join(server.folder, 'tmp')
        os.makedirs(temporary, exist_ok=True)
        server.process = subprocess.Popen(server.command(), stdin=stdin, stdout=subprocess.PIPE, stderr=server._log, text=True,
                                          env=clean_environment(TMPDIR=temporary, **{MARK: server.mark}))
        line = server.process.stdout.readline()
        self.assertIn('pgcell: ready on', line, server.stderr())
        server.port = int(line.split('127.0.0.1:')[1].split()[0])
        server.socket_file = line.split(' and ')[1].strip()
        server.look()
        return server

    def assert_goes(self, server):
        self.assertEqual(server.wait(8), 0, server.stderr())
        server.assert_nothing_left(self)

    def test_pipe(self):
        read_end, write_end = os.pipe()
        server = self.launch(read_end)
        os.close(read_end)
        os.write(write_end, b'what is said means nothing\n' * 1000)
        c = server.connect()
        c.send_query('select pg_sleep(60)')
        time.sleep(0.3)
        self.assertIsNone(server.process.poll())
        os.close(write_end)
        self.assertEqual(c.read_fatal().sqlstate, '57P01')  # in good order
        c.vanish()
        self.assert_goes(server)

    def test_socket(self):
        ours, theirs = socket.socketpair()
        server = self.launch(theirs)
        with server.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')
        ours.close()
        self.assert_goes(server)
        self.assertEqual(fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK, 0)
        theirs.close()

    def test_files_are_at_their_end_at_once(self):
        for path in ('/dev/null', IMAGE):
            with self.subTest(path=path), open(path, 'rb') as stdin:
                self.assert_goes(self.launch(stdin))

    def test_without_the_option_input_means_nothing(self):
        server = self.serve()
        time.sleep(0.5)
        self.assertIsNone(server.process.poll())
        self.assertEqual(server.stop(), 0)


if __name__ == '__main__':
    unittest.main()

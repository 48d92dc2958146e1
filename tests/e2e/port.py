"""Drives `pgcell port` over pipes, or whatever else a parent may give it as standard input and output.

    with Port('--startup') as port:
        c = port.connection()           # pgwire's Connection over frames
        c.query('select 1').value
    port.wait()                         # its exit status
"""
import os
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import uuid

from pgwire import Connection, startup_packet
from server import (IMAGE, MARK, PGCELL, Process, clean_environment, files_held, offer_to_oom_killer, processes_marked,
                    wait_until)


def frame(data):
    return struct.pack('!I', len(data)) + data


class FramedPipe:
    """Quacks like the socket that Connection wants: frames in both directions, on two descriptors that are not ours to close."""

    def __init__(self, read_fd, write_fd, framed=True, timeout=20):
        self.read_fd, self.write_fd, self.framed, self.timeout = read_fd, write_fd, framed, timeout
        self.left = 0  # of the frame that is being read
        self.header = b''
        self.largest_frame = 0

    def settimeout(self, seconds):
        self.timeout = seconds

    def gettimeout(self):
        return self.timeout

    def _read(self, length):
        if not select.select([self.read_fd], [], [], self.timeout)[0]:
            raise TimeoutError('nothing to read')
        return os.read(self.read_fd, length)

    def recv(self, length):
        if not self.framed:
            return self._read(length)
        while not self.left:
            piece = self._read(4 - len(self.header))
            if not piece:
                assert not self.header, 'the output ends within a header'
                return b''
            self.header += piece
            if len(self.header) == 4:
                self.left = struct.unpack('!I', self.header)[0]
                assert self.left > 0, 'a frame without bytes'
                self.largest_frame = max(self.largest_frame, self.left)
                self.header = b''
        data = self._read(min(length, self.left))
        assert data, 'the output ends within a frame'
        self.left -= len(data)
        return data

    def write_raw(self, data):
        view = memoryview(data)
        while view:
            if not select.select([], [self.write_fd], [], self.timeout)[1]:
                raise TimeoutError('cannot write')
            view = view[os.write(self.write_fd, view[:4096]):]

    def sendall(self, data):
        self.write_raw(frame(data) if self.framed else data)

    def close(self):
        pass


class PipeConnection(Connection):
    """A Connection over a FramedPipe, after the start-up that pgcell did, or with one of its own."""

    def __init__(self, pipe, *, is_started, database='postgres', user='postgres'):
        self.address = None
        self.pid = self.key = self.status = self.negotiated = None
        self.parameters = {}
        self.notices, self.notifications = [], []
        self._out, self._in = bytearray(), bytearray()
        self.sock = pipe
        if not is_started:
            pipe.sendall(startup_packet([('user', user), ('database', database)]))
        self.finish_startup()


class Port:
    """One running `pgcell port`. Its descriptors are pipes unless stdin or stdout say otherwise."""

    def __init__(self, *options, stdin=subprocess.PIPE, stdout=subprocess.PIPE, command='port', **kwargs):
        self.folder = tempfile.mkdtemp(prefix='pgcell-port-')
        self.options = options
        self.mark = uuid.uuid4().hex
        self.seen, self.files = set(), set()
        self._log = open(os.path.join(self.folder, 'stderr'), 'w+', encoding='utf-8', errors='replace')
        self.process = subprocess.Popen(
            [PGCELL, command, *options], stdin=stdin, stdout=stdout, stderr=self._log, bufsize=0,
            env=clean_environment(TMPDIR=self.folder, **{MARK: self.mark}), start_new_session=True,
            preexec_fn=offer_to_oom_killer, **kwargs)

    def pipe(self):
        return FramedPipe(self.process.stdout.fileno(), self.process.stdin.fileno(), '--framing=raw' not in self.options)

    def connection(self, **kwargs):
        c = PipeConnection(self.pipe(), is_started='--startup' in self.options, **kwargs)
        self.look()
        return c

    def look(self):
        found = processes_marked(self.mark)
        self.seen.update(found)
        for process in found:
            self.files.update(files_held(process.pid))
        return found

    def stderr(self):
        self._log.flush()
        with open(self._log.name, encoding='utf-8', errors='replace') as f:
            return f.read()

    def wait_line(self, text, seconds=20):
        if not wait_until(lambda: text in self.stderr() or self.process.poll() is not None, seconds) or text not in self.stderr():
            raise AssertionError(f'no "{text}" on standard error: {self.stderr()}')

    def wait(self, seconds=15):
        return self.process.wait(seconds)

    def close_stdin(self):
        self.process.stdin.close()

    def drain(self):
        """Everything up to the output's end."""
        data = bytearray()
        pipe = FramedPipe(self.process.stdout.fileno(), -1, '--framing=raw' not in self.options)
        while True:
            piece = pipe.recv(1 << 16)
            if not piece:
                return bytes(data)
            data += piece

    def release(self):
        for process in set(self.look()):
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(15)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def assert_nothing_left(self, test):
        def left():
            return {p for p in self.seen | set(processes_marked(self.mark)) if p.is_alive()}

        test.assertTrue(wait_until(lambda: not left(), 5), f'processes are left: {left()}\n{self.stderr()}')
        files = {f for f in self.files - {self._log.name, PGCELL, IMAGE} if os.path.lexists(f)}
        test.assertEqual(files, set(), 'files are left')
        test.assertNotIn('BUG', self.stderr())


class MemoryWatch:
    """Memory of processes, looked at again and again: first and largest, by process id. `resident` counts shared pages as well."""

    def __init__(self, pids):
        self.first, self.largest = {}, {}
        self.first_resident, self.largest_resident = {}, {}
        self.pids = pids
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def sizes_kib(pid):
        """Without and with the pages that it shares: a session's shared memory is the cell's."""
        with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
            fields = dict(line.split(':', 1) for line in f.read().splitlines()[1:])
        sizes = {name: int(value.split()[0]) for name, value in fields.items()}
        return sizes['Private_Clean'] + sizes['Private_Dirty'], sizes['Rss']

    def _look(self):
        for pid in self.pids:
            try:
                size, resident = self.sizes_kib(pid)
            except (OSError, KeyError):
                continue
            self.first.setdefault(pid, size)
            self.first_resident.setdefault(pid, resident)
            self.largest_resident[pid] = max(resident, self.largest_resident.get(pid, 0))
            self.largest[pid] = max(size, self.largest.get(pid, 0))

    def _run(self):
        while not self._is_over.wait(0.1):
            self._look()

    def __enter__(self):
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()
        self._look()


def session_process(port):
    """The session: grandchild of the port."""
    found = {p.pid for p in port.look()}

    def parent(pid):
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
            return int(f.read().rsplit(')', 1)[1].split()[1])

    server = [pid for pid in found if parent(pid) == port.process.pid]
    return [Process.at(pid) for pid in found if parent(pid) in server]


def elapsed(since):
    return time.monotonic() - since

"""Starts and stops `pgcell serve`, knows its processes, and the test case that most tests build on.

A server runs in a folder of its own with a free port. All of its processes, orphans included, are recognised by a mark in
their environment, and every file that they hold in /tmp or /dev/shm is remembered, so that assert_nothing_left() can tell
what a dead server left behind.

    PGCELL   the program (default build/pgcell)
    PSQL     psql (default build/native/install/bin/psql, else the one in PATH); pg_dump is looked for beside it
"""
import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

from pgwire import Connection

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PGCELL = os.path.abspath(os.environ.get('PGCELL') or os.path.join(ROOT, 'build', 'pgcell'))
IMAGE = os.environ.get('PGCELL_E2E_IMAGE') or PGCELL + '.img'
NATIVE_BIN = os.path.join(ROOT, 'build', 'native', 'install', 'bin')
MARK = 'PGCELL_E2E_MARK'
MEMORY_LIMIT_BYTES = 6 << 30  # of a server's cells; beyond it the server is killed: the machine is not ours alone
START_SECONDS = 20
STOP_SECONDS = 10
TEST_SECONDS = 60  # unless the class says otherwise
WATCHED_FOLDERS = ('/tmp/', '/dev/shm/', '/var/tmp/', '/run/')

Outcome = collections.namedtuple('Outcome', 'status stdout stderr')


def find_tool(name):
    """A PostgreSQL client program, or None."""
    psql = os.environ.get('PSQL')
    beside = [os.path.join(os.path.dirname(os.path.abspath(psql)), name)] if psql else []
    for path in beside + [os.path.join(NATIVE_BIN, name)]:
        if os.access(path, os.X_OK):
            return path
    return shutil.which(name)


PSQL = os.environ.get('PSQL') or find_tool('psql')


def clean_environment(**more):
    """Ours without what would configure pgcell or libpq."""
    env = {k: v for k, v in os.environ.items() if not k.startswith('PG')}
    env.update(more)
    return env


def wait_until(condition, seconds=5, step=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(step)
    return bool(condition())


class Process(collections.namedtuple('Process', 'pid started')):
    """A process for certain: the same pid and start time."""

    @classmethod
    def at(cls, pid):
        """None if there is none, or only a zombie."""
        fields = stat_fields(pid)
        return cls(int(pid), int(fields[19])) if fields and fields[0] not in 'ZX' else None

    def is_alive(self):
        return Process.at(self.pid) == self


def stat_fields(pid):
    """/proc/PID/stat from the state on, or None."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii', errors='replace') as f:
            return f.read().rsplit(')', 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def parent_of(pid):
    fields = stat_fields(pid)
    return int(fields[1]) if fields else None


def offer_to_oom_killer():
    """In the child: rather this program than another one."""
    with contextlib.suppress(OSError), open('/proc/self/oom_score_adj', 'w', encoding='ascii') as f:
        f.write('1000')


def processes_marked(mark):
    wanted = f'{MARK}={mark}'.encode()
    found = []
    for entry in os.listdir('/proc'):
        if not entry.isdigit():
            continue
        try:
            with open(f'/proc/{entry}/environ', 'rb') as f:
                is_ours = wanted in f.read().split(b'\0')
        except OSError:
            continue
        process = Process.at(entry) if is_ours else None
        if process:
            found.append(process)
    return found


def files_held(pid):
    """Named files in the watched folders that the process has open or mapped."""
    names = set()
    try:
        for fd in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):
                names.add(os.readlink(f'/proc/{pid}/fd/{fd}'))
        with open(f'/proc/{pid}/maps', encoding='utf-8', errors='replace') as f:
            for line in f:
                names.add(line.rstrip('\n').split(None, 5)[-1])
    except OSError:
        pass
    return {n for n in names if n.startswith(WATCHED_FOLDERS) and not n.endswith(' (deleted)')}


def run_program(arguments, *, timeout=30, stdin=subprocess.DEVNULL, text=True, **kwargs):
    """Output of a program that must end in time."""
    done = subprocess.run(arguments, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, text=text,
                          check=False, **kwargs)
    return Outcome(done.returncode, done.stdout, done.stderr)


class Server:
    """One running `pgcell serve`. start() raises AssertionError if it does not say that it is ready."""

    def __init__(self, *options, listen='127.0.0.1:0', socket_dir=None, image=None):
        self.folder = tempfile.mkdtemp(prefix='pgcell-e2e-')
        self.socket_dir = socket_dir or os.path.join(self.folder, 's')
        self.options = options
        self.listen = listen
        self.image = image
        self.mark = uuid.uuid4().hex
        self.port = None
        self.socket_file = None
        self.ready_line = None
        self.process = None
        self.seen = set()  # every process it ever had, as far as we looked
        self.files = set()
        self._log = open(os.path.join(self.folder, 'stderr'), 'w+', encoding='utf-8', errors='replace')
        self._is_over = threading.Event()

    # ---- start and stop ----

    def command(self):
        command = [PGCELL, 'serve', '--listen', self.listen, '--socket-dir', self.socket_dir]
        if self.image:
            command += ['--image', self.image]
        return command + list(self.options)

    def launch(self):
        """Starts the program without waiting for anything."""
        temporary = os.path.join(self.folder, 'tmp')
        os.makedirs(temporary, exist_ok=True)
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env=clean_environment(TMPDIR=temporary, **{MARK: self.mark}), start_new_session=True,
            preexec_fn=offer_to_oom_killer)
        threading.Thread(target=self._watch_memory, daemon=True).start()
        return self

    def cell_bytes(self):
        """Memory that the cells hold: the supervisor has every cell's memfd open, some of them twice."""
        held = {}
        folder = f'/proc/{self.process.pid}/fd'
        with contextlib.suppress(OSError):
            for fd in os.listdir(folder):
                with contextlib.suppress(OSError):
                    if os.readlink(f'{folder}/{fd}').startswith('/memfd:'):
                        memfd = os.stat(f'{folder}/{fd}')
                        held[memfd.st_ino] = memfd.st_blocks * 512
        return sum(held.values())

    def _watch_memory(self):
        while not self._is_over.wait(0.2) and self.process.poll() is None:
            held = self.cell_bytes()
            if held > MEMORY_LIMIT_BYTES:
                self._log.write(f'e2e: killed, because its cells hold {held >> 20} MiB\n')
                self._log.flush()
                self.process.kill()
                return

    def start(self):
        self.launch()
        self.ready_line = self._read_line(START_SECONDS)
        if not self.ready_line.startswith('pgcell: ready on '):
            status = self.process.poll()
            self.destroy_process()
            raise AssertionError(f'not ready (exit status {status}): {self.ready_line!r}\n{self.stderr()}')
        tcp = re.search(r'127\.0\.0\.1:(\d+)', self.ready_line)
        self.port = int(tcp.group(1)) if tcp else None
        local = re.search(r'(/\S+/\.s\.PGSQL\.\d+)\s*$', self.ready_line)
        self.socket_file = local.group(1) if local else None
        self.look()
        return self

    def _read_line(self, seconds):
        lines = []
        reader = threading.Thread(target=lambda: lines.append(self.process.stdout.readline()), daemon=True)
        reader.start()
        reader.join(seconds)
        if reader.is_alive():
            self.process.kill()
            reader.join(5)
            return f'(nothing within {seconds} s)'
        return lines[0] if lines else ''

    def send_signal(self, signo):
        self.look()
        self.process.send_signal(signo)

    def wait(self, seconds=STOP_SECONDS):
        """Its exit status; raises subprocess.TimeoutExpired."""
        return self.process.wait(seconds)

    def stop(self, signo=signal.SIGTERM):
        """Its exit status."""
        if self.process.poll() is None:
            self.send_signal(signo)
        return self.wait()

    def destroy_process(self):
        """The last resort, for clean-up after a test: everything of this server is killed."""
        self.look()
        if self.process and self.process.poll() is None:
            self.process.kill()
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait(STOP_SECONDS)
            self.process.stdout.close()

    def release(self):
        self._is_over.set()
        self.destroy_process()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.release()

    # ---- what it is made of ----

    def stderr(self):
        self._log.flush()
        with open(self._log.name, encoding='utf-8', errors='replace') as f:
            return f.read()

    def processes(self):
        return processes_marked(self.mark)

    def look(self):
        """Remembers the processes there are now, and their files."""
        found = self.processes()
        self.seen.update(found)
        for process in found:
            self.files.update(files_held(process.pid))
        return found

    def fork_server(self):
        """The supervisor's only child, but for the TLS gateway."""
        gateway = self.tls_gateway()
        children = [p for p in self.look() if parent_of(p.pid) == self.process.pid and p.pid != gateway]
        if len(children) != 1:
            raise AssertionError(f'expected one fork server, got {children}')
        return children[0]

    def tls_gateway(self):
        """Its process id, or None."""
        for entry in filter(str.isdigit, os.listdir('/proc')):
            with contextlib.suppress(OSError), open(f'/proc/{entry}/comm', encoding='ascii', errors='replace') as f:
                if f.read().strip() == 'pgcell-tls' and parent_of(entry) == self.process.pid:
                    return int(entry)
        return None

    def sessions(self):
        """Also those that have ended and that the fork server has not told the supervisor about: they take room as yet."""
        parent = self.fork_server().pid
        children = ((int(entry), stat_fields(entry)) for entry in os.listdir('/proc') if entry.isdigit())
        return [Process(pid, int(fields[19])) for pid, fields in children if fields and int(fields[1]) == parent]

    def descriptor_count(self):
        return {p.pid: len(os.listdir(f'/proc/{p.pid}/fd')) for p in (Process.at(self.process.pid), self.fork_server())}

    def settled_descriptor_count(self, seconds=5):
        """The same, once nobody is connected and what the last ones had is given back: when it stays what it is for a while."""
        wait_until(lambda: not self.sessions(), seconds)
        end = time.monotonic() + seconds
        last, since = self.descriptor_count(), time.monotonic()
        while time.monotonic() < end and time.monotonic() - since < 0.3:
            time.sleep(0.02)
            now = self.descriptor_count()
            if now != last:
                last, since = now, time.monotonic()
        return last

    # ---- clients ----

    @property
    def tcp(self):
        return ('127.0.0.1', self.port)

    def connect(self, database='postgres', user='postgres', *, unix=False, **kwargs):
        return Connection(self.socket_file if unix else self.tcp, database, user, **kwargs)

    def conninfo(self, database, user='postgres', unix=False):
        host = os.path.dirname(self.socket_file) if unix else '127.0.0.1'
        port = self.socket_file.rsplit('.', 1)[1] if unix else self.port
        return f"host='{host}' port={port} user='{user}' dbname='{database}' connect_timeout=20"

    def psql(self, script, database='postgres', *, user='postgres', unix=False, arguments=(), stop=True, timeout=60, text=True):
        """Feeds the script to psql; values come unaligned, tuples only."""
        command = [PSQL, '-X', '-q', '-A', '-t', '-d', self.conninfo(database, user, unix)]
        if stop:
            command += ['-v', 'ON_ERROR_STOP=1']
        with tempfile.TemporaryFile() as stdin:
            stdin.write(script if isinstance(script, bytes) else script.encode())
            stdin.seek(0)
            return run_program(command + list(arguments), timeout=timeout, stdin=stdin, text=text,
                               env=clean_environment(PAGER='', HOME=self.folder))

    # ---- after its end ----

    def assert_nothing_left(self, test):
        """No process of it runs, and none of its files is there."""
        def left():
            return {p for p in self.seen | set(self.processes()) if p.is_alive()}

        test.assertTrue(wait_until(lambda: not left(), 5), f'processes are left: {left()}\n{self.stderr()}')
        if self.socket_file:
            test.assertFalse(os.path.lexists(self.socket_file), f'{self.socket_file} is left')
        ours = {self._log.name, PGCELL, self.image or IMAGE}
        files = {name for name in self.files - ours if os.path.lexists(name)}
        test.assertEqual(files, set(), 'files are left')
        temporary = os.path.join(self.folder, 'tmp')
        test.assertEqual(os.listdir(temporary), [], 'temporary files are left')


class ServerCase(unittest.TestCase):
    """A server for the class, a cell for each test. The class may set `options` and `seconds`, a test's limit."""

    options = ()
    seconds = TEST_SECONDS
    server = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.options)
        cls.addClassCleanup(cls.server.release)
        cls.server.start()

    @classmethod
    def tearDownClass(cls):
        case = unittest.TestCase()
        case.assertIsNone(cls.server.process.poll(), f'the server died\n{cls.server.stderr()}')
        case.assertEqual(cls.server.stop(), 0, cls.server.stderr())
        cls.server.assert_nothing_left(case)
        case.assertNotIn('BUG', cls.server.stderr())

    def setUp(self):
        limit_time(self)
        self.cell = re.sub(r'[^\w.-]', '-', self.id().rsplit('.', 1)[-1])[5:60]
        self.database = f'postgres@{self.cell}'
        self._log_start = len(self.server.stderr()) if self.server else 0
        if self.server:
            self.assertIsNone(self.server.process.poll(), f'the server is dead\n{self.server.stderr()}')

    def log(self):
        """What the server said since the test began; the runner shows it with a failure."""
        return self.server.stderr()[self._log_start:] if self.server else ''

    def connect(self, database=None, user='postgres', **kwargs):
        """A connection, to the test's own cell unless told otherwise, that is closed at the end."""
        connection = self.server.connect(database or self.database, user, **kwargs)
        self.addCleanup(connection.vanish)
        return connection

    def kill_session(self, c, signo=signal.SIGKILL):
        """
        Kills a session's process and waits until its cell has recovered. Who connects in between is refused, or served by a cell that is
        about to be stopped, as with PostgreSQL.
        """
        before = self.log().count(' recovered')
        os.kill(c.pid, signo)
        end = time.monotonic() + 20
        while self.log().count(' recovered') == before and time.monotonic() < end:
            time.sleep(0.01)

    def assert_usable(self, database=None):
        """A new connection is served. Tried again for a while: the last session may still be on its way out."""
        with self.server.connect(database or self.database, timeout=20) as c:
            self.assertEqual(c.query('select 6 * 7').value, '42')


class OwnServerCase(unittest.TestCase):
    """Tests that start servers of their own, with serve()."""

    seconds = TEST_SECONDS

    def setUp(self):
        limit_time(self)
        self.servers = []

    def serve(self, *options, **kwargs):
        server = self.make(*options, **kwargs)
        server.start()
        return server

    def make(self, *options, **kwargs):
        """A server that is not started."""
        server = Server(*options, **kwargs)
        self.servers.append(server)
        self.addCleanup(server.release)
        return server

    def log(self):
        return '\n'.join(s.stderr() for s in self.servers if not s._log.closed)


def limit_time(case):
    """Ends the test with an error when its time is over, wherever it waits."""
    def out_of_time(*_):
        raise TimeoutError(f'the test took more than {case.seconds} s')

    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(case.seconds)
    case.addCleanup(signal.alarm, 0)


@contextlib.contextmanager
def sql_error(test, sqlstate):
    """The block must raise PgError with this SQLSTATE; yields a list that then holds the error."""
    from pgwire import PgError
    caught = []
    try:
        yield caught
    except PgError as error:
        test.assertEqual(error.sqlstate, sqlstate, error)
        caught.append(error)
        return
    test.fail(f'no error; expected SQLSTATE {sqlstate}')


if __name__ == '__main__':
    sys.exit('this is a library; run run.py')

"""Starting and ending the two servers, and what their processes weigh."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import wire

HERE = os.path.dirname(os.path.abspath(__file__))
START_SECONDS = 60
READY = re.compile(r': ready on .*?(?P<path>/\S*/\.s\.PGSQL\.\d+)')


def descendants(pid):
    """pid and all living processes below it."""
    children = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            try:
                with open(f'/proc/{entry}/stat', encoding='ascii', errors='replace') as f:
                    parent = int(f.read().rsplit(')', 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo.extend(children.get(found[-1], []))
    return found


def memory_kib(pid):
    """Of the process and all below it: PSS (memfd and other shared pages are in it, divided by those who map them) and page tables."""
    total = {'pss': 0, 'pss_private': 0, 'pss_shmem': 0, 'page_tables': 0, 'processes': 0}
    fields = {'Pss:': 'pss', 'Pss_Anon:': 'pss_private', 'Pss_Shmem:': 'pss_shmem', 'VmPTE:': 'page_tables'}
    for process in descendants(pid):
        try:
            for name in ('smaps_rollup', 'status'):
                with open(f'/proc/{process}/{name}', encoding='ascii', errors='replace') as f:
                    for line in f:
                        word = line.split()
                        if word and word[0] in fields:
                            total[fields[word[0]]] += int(word[1])
            total['processes'] += 1
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


class Server:
    """A running server. `program` prints a line with its socket's path when it is ready, and ends on SIGINT."""

    def __init__(self, name, command, environment=None):
        self.name = name
        self.lines = []
        begin = time.perf_counter()
        # a session of its own: Ctrl-C reaches this program only, which then ends the server
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        start_new_session=True, env=environment)
        try:
            self.socket_path = self.read_socket_path()
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.perf_counter() - begin
        self.started_at = begin
        self.reader = threading.Thread(target=self.read_rest, daemon=True)
        self.reader.start()

    def read_socket_path(self):
        timer = threading.Timer(START_SECONDS, self.process.kill)
        timer.start()
        try:
            for line in iter(self.process.stdout.readline, b''):
                self.lines.append(line.decode(errors='replace').rstrip())
                found = READY.search(self.lines[-1])
                if found:
                    return found['path']
        finally:
            timer.cancel()
        raise RuntimeError(f'{self.name} did not start:\n' + '\n'.join(self.lines[-20:]))

    def read_rest(self):
        for line in iter(self.process.stdout.readline, b''):
            self.lines.append(line.decode(errors='replace').rstrip())

    def connect(self, database, timeout_s=120):
        return wire.Connection(self.socket_path, database, timeout_s=timeout_s)

    @property
    def directory(self):
        return os.path.dirname(self.socket_path)

    @property
    def port(self):
        return self.socket_path.rsplit('.', 1)[1]

    def is_alive(self):
        return self.process.poll() is None

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(45)
            except subprocess.TimeoutExpired:
                for pid in reversed(descendants(self.process.pid)):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Pgcell(Server):
    def __init__(self, build, *options):
        self.stage = tempfile.mkdtemp(prefix='pgcell-bench.')
        try:
            super().__init__('pgcell', [os.path.join(build, 'pgcell'), 'serve', '--listen', '127.0.0.1:0',
                                        '--socket-dir', self.stage, *options])
        except BaseException:
            shutil.rmtree(self.stage, ignore_errors=True)
            raise

    def stop(self):
        super().stop()
        shutil.rmtree(self.stage, ignore_errors=True)


class Native(Server):
    """The installation is made and started by native-server.sh, below which the server runs."""

    def __init__(self, build, *settings):
        super().__init__('native', [os.path.join(HERE, 'native-server.sh'), os.path.join(build, 'native', 'install'), *settings])

#!/usr/bin/env python3
"""Mixed load with random kills: hundreds of clients in one cell and in cells of their own, sessions killed all the while.

usage: run.py [--seconds N] [--seed N] [--sessions N] [--cells N]

What clients do and what must be true of it is in load.py. This file starts the server, kills sessions, watches who is
disturbed by it, and looks at the end for what was lost, and for what is left. Prints a line every 10 seconds, a line for each check, and
"N passed, N failed"; exit status 1 if a check failed. The seed repeats what clients do and which kills are chosen, as far as the
order in which a machine runs processes allows. PGCELL says which program is tested.
"""
import argparse
import asyncio
import collections
import contextlib
import datetime
import os
import random
import re
import resource
import signal
import statistics
import subprocess
import sys
import time

from client import PgError  # noqa: I001  (adds the path of server)
from load import Cell, Ended, Worker
import server as e2e

SHARED = 'shared'  # the cell of --sessions
MAX_CONNECTIONS = 100  # of PostgreSQL
EXPLAINED_SECONDS = 8  # a connection that ends so long after a kill in its cell ended because of it
SERVED_AGAIN_SECONDS = 10  # a killed cell must be
REPORT_SECONDS = 10
SHARED_MIB_MAX = 700  # of memory; and of a cell with one client:
SINGLE_MIB_MAX = 90
PSS_MIB_MAX = 14000
OLD_ENOUGH_SECONDS = 0.3  # connections before this is over may have been made while the cell was ending

STAMP = r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\.\d+(?:Z| UTC)'
ABNORMAL = re.compile(rf'pgcell: (?P<at>{STAMP}) error cell=(?P<cell>\S+) session=(?P<pid>\d+) ended abnormally with (?P<how>.*)')
STARTS_OVER = re.compile(rf'pgcell: {STAMP} warning cell=\S+ session=(?P<pid>\d+) recovery ended with signal .*: it starts over')
RECOVERED = re.compile(rf'pgcell: (?P<at>{STAMP}) warning cell=(?P<cell>\S+) session=(?P<pid>\d+) recovered')
# what PostgreSQL says in a recovery, and when sessions are ended because of it
EXPECTED = re.compile(rf'{STAMP} \[\d+\] (?:' + '|'.join([
    r'LOG:  database system was interrupted; last known up at .*',
    r'LOG:  database system was not properly shut down; automatic recovery in progress',
    r'LOG:  redo (?:starts at|done at|is not required).*',
    r'LOG:  database system was interrupted while in recovery at .*',
    r'HINT:  This probably means that some data is corrupted and you will have to use the last backup for recovery\.',
    # where the WAL ends
    r'LOG:  (?:invalid|unexpected|incorrect|record with|there is no contrecord|contrecord is requested)[^"]*? [0-9A-F]+/[0-9A-F]+.*',
    r'LOG:  autovacuum: dropping orphan temp table .*',
    r'LOG:  skipping (?:vacuum|analyze) of .* --- (?:lock not available|relation no longer exists)',
    r'FATAL:  sorry, too many clients already',
    r'FATAL:  terminating (?:connection|autovacuum process) due to administrator command',
]) + ')$')


def parse_time(text):
    text = text.replace(' UTC', '+00:00').replace('Z', '+00:00')
    return datetime.datetime.fromisoformat(text).timestamp()


class Load:
    """The clients, and what happens to their connections."""

    def __init__(self, args, server):
        self.args, self.server = args, server
        self.is_over = False
        self.cells = [Cell(SHARED, server.tcp, has_bulk=True)] if args.sessions else []
        self.cells += [Cell(f'c{i}', server.tcp) for i in range(args.cells)]
        self.by_name = {cell.name: cell for cell in self.cells}
        self.by_memory = {}  # inode of the cell's memory -> cell
        self.sessions = {}  # pid -> cell, of those that are connected
        self.since = {}  # pid -> when it was let in
        self.counts = collections.Counter()
        self.lost = []  # (cell, when connected, when ended, error)
        self.cut_off = {}  # worker -> when
        self.outages_s = []
        self.most_pss_mib = 0

    def workers(self):
        for cell in self.cells:
            is_shared = cell.name == SHARED
            for number in range(1, (self.args.sessions if is_shared else 1) + 1):
                yield Worker(self, cell, number, 0.15 if is_shared else 0.4, self.args.seed)

    # ---- called by workers ----

    def connected(self, worker, started):
        self.counts['connected'] += 1
        self.sessions[worker.client.pid] = worker.cell
        self.since[worker.client.pid] = started
        if worker in self.cut_off:
            self.outages_s.append(time.time() - self.cut_off.pop(worker))

    def disconnected(self, worker):
        self.sessions.pop(worker.client.pid, None)

    def ended(self, worker, end):
        self.counts[f'ended: {end.sqlstate or "closed"}'] += 1
        self.disconnected(worker)
        self.lost.append((worker.cell, self.since.pop(worker.client.pid), time.time(), end.last_words))
        self.cut_off[worker] = time.time()

    def not_connected(self, worker, end, started):
        self.counts[f'not let in: {end.sqlstate or "closed"}'] += 1
        if end.sqlstate == '53300':
            self.cut_off.pop(worker, None)  # served, in a way: there is no room
        else:
            self.lost.append((worker.cell, started, time.time(), end.last_words))

    # ----

    async def prepare(self):
        """Makes the cells, some at a time."""
        async def prepare(cell):
            c = await cell.prepare()
            memory = memory_of(c.pid)
            if memory is None or memory in self.by_memory:
                raise AssertionError(f'the memory of cell {cell.name} is not known')
            self.by_memory[memory] = cell
            await c.close()

        for i in range(0, len(self.cells), 8):
            await asyncio.gather(*(prepare(cell) for cell in self.cells[i:i + 8]))

    async def run(self, seconds):
        killer = Killer(self)
        tasks = [asyncio.create_task(worker.run()) for worker in self.workers()]
        tasks.append(asyncio.create_task(killer.run()))
        reporter = asyncio.create_task(self.report())
        await asyncio.sleep(seconds)
        self.is_over = True
        _, late = await asyncio.wait(tasks, timeout=90)
        reporter.cancel()
        for task in late:
            task.cancel()
        for task in tasks:
            if task.done() and task.exception():
                raise task.exception()
        return killer, len(late)

    async def report(self):
        began, operations = time.monotonic(), 0
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            now = sum(cell.operations for cell in self.cells)
            weight = await asyncio.to_thread(memory_mib, self.server)
            self.most_pss_mib = max(self.most_pss_mib, weight['pss'])
            print(f'{time.monotonic() - began:5.0f} s  {(now - operations) / REPORT_SECONDS:5.0f} operations/s, {len(self.sessions)} connected, '
                  f'{sum(len(c.kills) for c in self.cells)} kills, {sum(v for k, v in self.counts.items() if k.startswith("ended"))} connections lost, '
                  f'{self.counts["not let in: 53300"]} refused, {sum(len(c.problems) for c in self.cells)} problems; '
                  f'cells {weight["cells"]:.0f} MiB, PSS {weight["pss"]:.0f} MiB', flush=True)
            operations = now


class Killer:
    """
    Kills sessions that clients know, and now and then any other child of the fork server: sessions that begin, recovery,
    autovacuum. By process descriptors: a process id that was used again is left alone.
    """

    def __init__(self, load):
        self.load = load
        self.random = random.Random(f'{load.args.seed} killer')
        self.killed = {}  # pid -> signal
        self.parent = load.server.fork_server().pid

    async def run(self):
        while not self.load.is_over:
            await asyncio.sleep(self.random.uniform(0.5, 1.5))
            pids = sorted(self.load.sessions)
            if not pids or self.load.is_over:
                continue
            shared = [pid for pid in pids if self.load.sessions[pid].name == SHARED]
            single = [pid for pid in pids if self.load.sessions[pid].name != SHARED]
            choice = self.random.random()
            if choice < 0.1:
                chosen = self.random.sample(pids, min(len(pids), self.random.randint(2, 6)))
            elif shared and (choice < 0.35 or not single):
                chosen = self.random.sample(shared, min(len(shared), self.random.choice((1, 1, 3))))
            else:
                chosen = [self.random.choice(single)]
            signo = signal.SIGSEGV if self.random.random() < 0.2 else signal.SIGKILL
            for pid in chosen:
                self.kill(pid, signo)
            if self.random.random() < 0.25:
                await self.kill_stranger()

    async def kill_stranger(self):
        """Just after a kill it is often a recovery."""
        end = time.monotonic() + self.random.uniform(0.1, 1)
        while time.monotonic() < end:
            await asyncio.sleep(0)
            with open(f'/proc/{self.parent}/task/{self.parent}/children', encoding='ascii') as f:
                pids = [int(pid) for pid in f.read().split()]
            pids = [pid for pid in pids if pid not in self.load.sessions and pid not in self.killed]
            if pids:
                self.kill(self.random.choice(pids), signal.SIGKILL)
                return
            await asyncio.sleep(0.002)

    def kill(self, pid, signo):
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            cell = self.load.sessions.get(pid) or self.load.by_memory.get(memory_of(pid) or 'none')
            if cell and e2e.parent_of(pid) == self.parent:
                cell.kills.append(time.time())
                self.killed[pid] = signo
                signal.pidfd_send_signal(fd, signo)
        except ProcessLookupError:
            pass
        finally:
            os.close(fd)


def memory_of(pid):
    """The inode of the memory of a session's cell, None before it is mapped: its file is closed then."""
    with contextlib.suppress(OSError), open(f'/proc/{pid}/maps', encoding='ascii', errors='replace') as f:
        found = re.search(r'^\S+ \S+ \S+ \S+ (\d+) +/memfd:pgcell-cluster', f.read(), re.M)
        return int(found[1]) if found else None
    return None


def pss_mib(pid):
    with contextlib.suppress(OSError), open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
        return int(re.search(r'^Pss:\s+(\d+)', f.read(), re.M)[1]) / 1024
    return 0


def cell_sizes_mib(server):
    """What each cell's memory holds, the largest first. The supervisor has all of them, some twice while orders wait."""
    folder = f'/proc/{server.process.pid}/fd'
    sizes = {}
    for fd in os.listdir(folder):
        with contextlib.suppress(OSError):
            if os.readlink(f'{folder}/{fd}').startswith('/memfd:'):
                file = os.stat(f'{folder}/{fd}')
                sizes[file.st_ino] = file.st_blocks * 512 / (1 << 20)
    return sorted(sizes.values(), reverse=True)


def memory_mib(server):
    return {'cells': sum(cell_sizes_mib(server)), 'pss': sum(pss_mib(p.pid) for p in server.processes())}


class Server(e2e.Server):
    def cell_bytes(self):
        """Each cell once: this decides whether the server is killed because of its size."""
        return sum(cell_sizes_mib(self)) * (1 << 20)


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def add(self, what, problems, note=''):
        """problems: what is wrong, if anything."""
        alike = collections.defaultdict(list)  # but for numbers
        for problem in problems:
            alike[re.sub(r'\d+', '0', problem)].append(problem)
        if alike:
            self.failed += 1
            print(f'FAILED  {what}{": " + note if note else ""}')
            for those in list(alike.values())[:20]:
                print(f'        {those[0]}' + (f'   (and {len(those) - 1} like it)' if len(those) > 1 else ''))
            if len(alike) > 20:
                print(f'        … and {len(alike) - 20} other kinds')
        else:
            self.passed += 1
            print(f'ok      {what}{": " + note if note else ""}')
        sys.stdout.flush()


class ServerLog:
    """What the server said, in terms of the kills that there were."""

    def __init__(self, text, killer):
        self.strange = []
        self.recovered = collections.defaultdict(list)
        self.recovery_s = []
        self.ended = collections.Counter()
        crashes = collections.defaultdict(list)
        for line in text.splitlines():
            if found := ABNORMAL.fullmatch(line):
                if not self.is_explained(found, killer, crashes):
                    self.strange.append(line)
            elif found := RECOVERED.fullmatch(line):
                at = parse_time(found['at'])
                self.recovered[found['cell']].append(at)
                if crashes[found['cell']]:
                    self.recovery_s.append(at - crashes[found['cell']].pop())
                crashes[found['cell']].clear()
            elif (found := STARTS_OVER.fullmatch(line)) and int(found['pid']) in killer.killed:
                self.ended['recovery killed'] += 1
            elif line and not EXPECTED.fullmatch(line):
                self.strange.append(line)
        self.unrecovered = sorted(cell for cell, times in crashes.items() if times)

    def is_explained(self, found, killer, crashes):
        """A killed session, or one that was ended with it."""
        crash = crashes[found['cell']]
        signo = killer.killed.get(int(found['pid']))
        if signo is not None and found['how'].startswith(f'signal {signo:d} '):
            self.ended['killed'] += 1
            if not crash:
                crash.append(parse_time(found['at']))
            return True
        self.ended['by itself, when asked to' if found['how'] == 'exit status 2' else f'otherwise: {found["how"]}'] += 1
        return bool(crash) and found['how'] in ('exit status 2', 'signal 9 (Killed)', 'signal 3 (Quit)')


def disturbances(load):
    """Connections that ended though nothing was killed in their cell shortly before, or ended with another error."""
    for cell, connected, ended, error in load.lost:
        is_killed = any(connected - EXPLAINED_SECONDS <= kill <= ended + 0.05 and kill >= ended - EXPLAINED_SECONDS for kill in cell.kills)
        if not is_killed:
            yield f'cell {cell.name}, connected for {ended - connected:.3f} s, without a kill: {error or "closed"}'
        elif error is not None and error.sqlstate not in ('57P01', '57P02', '57P03'):
            yield f'cell {cell.name}: {error}'


def last_words(load):
    """PostgreSQL's own for the others of a killed cell: 57P02 as a warning, and the end."""
    for cell, connected, ended, error in load.lost:
        if error is not None and error.sqlstate == '57P01':
            yield f'cell {cell.name}: {error}'


def spread(values):
    return f'{statistics.median(values):.2f} s, at most {max(values):.2f} s, of {len(values)}' if values else 'none'


async def check_cells(load):
    for i in range(0, len(load.cells), 4):
        async def check(cell):
            try:
                await cell.check()
            except (Ended, PgError, TimeoutError) as error:
                cell.complain(f'cannot be checked: {type(error).__name__} {error}')
        await asyncio.gather(*(check(cell) for cell in load.cells[i:i + 4]))


async def mixed_load(args, checks, server):
    before = server.settled_descriptor_count()
    load = Load(args, server)
    began = time.monotonic()
    await load.prepare()
    idle = server.settled_descriptor_count()
    made_mib = memory_mib(server)
    print(f'{len(load.cells)} cells made in {time.monotonic() - began:.1f} s: {made_mib["cells"]:.0f} MiB; seed {args.seed}', flush=True)
    killer, late = await load.run(args.seconds)

    checks.add('every client ends', [f'{late} hang'] if late else [])
    if server.process.poll() is not None:
        checks.add('the server lives', [f'exit status {server.process.poll()}', *server.stderr().splitlines()[-20:]])
        return
    served_again = e2e.wait_until(lambda: not server.sessions(), 15)
    checks.add('no session is left', [] if served_again else [str(p) for p in server.sessions()])

    problems = {cell.name: list(cell.problems) for cell in load.cells}
    running = [p for found in problems.values() for p in found]
    checks.add('right all the while: totals, scans, answers', running,
               f'{sum(c.operations for c in load.cells)} operations, {sum(len(c.kills) for c in load.cells)} kills')
    for cell in load.cells:
        cell.problems.clear()
    await check_cells(load)
    checks.add('right at the end: totals, acknowledged rows, tables, indexes', [p for cell in load.cells for p in cell.problems],
               f'{sum(len(j.acknowledged()) for c in load.cells for j in c.journals.values())} rows acknowledged, '
               f'{sum(len(j.doubtful) for c in load.cells for j in c.journals.values())} in doubt')

    log = ServerLog(server.stderr(), killer)
    checks.add('a kill disturbs no other cell', disturbances(load), ', '.join(f'{k} {v}' for k, v in sorted(load.counts.items())))
    checks.add('who loses a connection hears why', last_words(load))
    checks.add('a killed cell is served again soon', [f'after {s:.1f} s' for s in load.outages_s if s > SERVED_AGAIN_SECONDS] +
               [f'{cell} was not recovered' for cell in log.unrecovered], f'clients {spread(load.outages_s)}; from crash to recovery {spread(log.recovery_s)}')
    checks.add('nothing strange in the log', log.strange, ', '.join(f'{k} {v}' for k, v in sorted(log.ended.items())))
    checks_memory(checks, server, load, before, idle)


def checks_memory(checks, server, load, before, idle):
    after = server.settled_descriptor_count(15)
    supervisor = server.process.pid
    expected = before[supervisor] + len(load.cells)
    wrong = [f'{pid}: {before[pid]} without cells, {idle[pid]} with {len(load.cells)}, {after[pid]} at the end' for pid in after
             if after[pid] != (expected if pid == supervisor else before[pid])]
    checks.add('no descriptor is leaked', wrong, str(sorted(after.values())))
    left = [p for p in server.processes() if p.pid not in (supervisor, server.fork_server().pid)]
    checks.add('no process is leaked', [str(p) for p in left])
    sizes = cell_sizes_mib(server)
    single = sizes[1:] if load.by_name.get(SHARED) else sizes
    end_mib = memory_mib(server)
    note = (f'PSS {load.most_pss_mib:.0f} MiB under load, {end_mib["pss"]:.0f} at the end; cells {end_mib["cells"]:.0f} MiB, '
            f'the largest {sizes[0]:.0f}, the median {statistics.median(sizes):.1f}')
    wrong = [f'a cell of {s:.0f} MiB' for s in single if s > SINGLE_MIB_MAX]
    if sizes[0] > SHARED_MIB_MAX or load.most_pss_mib > PSS_MIB_MAX:
        wrong.append(note)
    checks.add('memory is bounded', wrong, note)


def check_end(checks, server):
    try:
        status = server.stop()
    except subprocess.TimeoutExpired:
        status = 'it does not end'
    checks.add('SIGTERM ends it in order', [] if status == 0 else [f'exit status {status}'])
    case = e2e.unittest.TestCase()
    try:
        server.assert_nothing_left(case)
        checks.add('nothing is left', [])
    except AssertionError as error:
        checks.add('nothing is left', [str(error)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--seconds', type=float, default=30, help='of load')
    parser.add_argument('--seed', type=int, default=int(time.time()) % 100000)
    parser.add_argument('--sessions', type=int, default=200, help=f'clients of one cell, {MAX_CONNECTIONS} of which PostgreSQL lets in at a time')
    parser.add_argument('--cells', type=int, default=200, help='cells with one client each')
    parser.add_argument('--log', help='where the server\'s messages are kept')
    args = parser.parse_args()
    if not args.sessions and not args.cells:
        parser.error('nothing to do')

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    e2e.MEMORY_LIMIT_BYTES = PSS_MIB_MAX << 20
    checks = Checks()
    server = Server('--autovacuum-naptime', '5', '--max-cells', str(args.cells + 10))
    try:
        server.start()
        asyncio.run(mixed_load(args, checks, server))
        check_end(checks, server)
    finally:
        if args.log:
            with open(args.log, 'w', encoding='utf-8') as f:
                f.write(server.stderr())
        server.release()
    print(f'{checks.passed} passed, {checks.failed} failed', flush=True)
    return 1 if checks.failed else 0


if __name__ == '__main__':
    sys.exit(main())

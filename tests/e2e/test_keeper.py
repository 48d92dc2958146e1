"""Cells as things: created, copied, dropped, saved and restored by `pgcell cell`; templates; warm and idle cells; memory for all."""
import os
import signal
import socket
import threading
import time
import unittest

from pgwire import PgError
from server import PGCELL, OwnServerCase, run_program, sql_error, wait_until


class KeeperCase(OwnServerCase):
    def cell(self, server, *arguments):
        port = server.socket_file.rsplit('.', 1)[1]
        return run_program([PGCELL, 'cell', '--socket-dir', server.socket_dir, '--port', port, *arguments])

    def must(self, server, *arguments):
        done = self.cell(server, *arguments)
        self.assertEqual((done.status, done.stderr), (0, ''), arguments)
        return done.stdout

    def must_not(self, server, sqlstate, *arguments):
        done = self.cell(server, *arguments)
        self.assertEqual((done.status, done.stdout), (1, ''), arguments)
        self.assertIn(f'pgcell cell: {sqlstate} ', done.stderr)
        return done.stderr

    def cells(self, server):
        lines = [line.split('\t') for line in self.must(server, 'list').splitlines()]
        return {name: (state, int(sessions), int(size)) for name, state, sessions, size in lines}

    def fill(self, server, cell, rows=1000):
        with server.connect(f'postgres@{cell}') as c:
            c.query(f"create table t as select g as i, repeat('x', 100) as v from generate_series(1, {rows}) g")

    def count(self, server, cell):
        with server.connect(f'postgres@{cell}') as c:
            return int(c.query('select count(*) from t').value)


class Copies(KeeperCase):
    def test_clone_of_an_idle_cell(self):
        server = self.serve()
        self.fill(server, 'a')
        self.assertTrue(wait_until(lambda: self.cells(server)['a'][1] == 0))
        self.must(server, 'clone', 'a', 'b')
        self.assertEqual(self.cells(server)['b'][0], 'ready')
        self.assertEqual(self.count(server, 'b'), 1000)
        with server.connect('postgres@b') as c:
            c.query('delete from t where i > 10')
        self.assertEqual((self.count(server, 'a'), self.count(server, 'b')), (1000, 10))
        self.assertNotIn(' recovered', self.log())

    def test_clone_of_a_busy_cell_is_of_one_moment(self):
        """Each transaction writes the same number into two tables: a copy must never see one of them alone, nor lose what was acknowledged."""
        server = self.serve()
        with server.connect('postgres@a') as c:
            c.query('create table one (i int)')
            c.query('create table two (i int)')
        acknowledged, is_over = [0] * 4, threading.Event()

        def write(number):
            with server.connect('postgres@a') as w:
                while not is_over.is_set():
                    w.query('begin; insert into one values (%d); insert into two values (%d); commit' % (number, number))
                    acknowledged[number] += 1

        writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for w in writers:
            w.start()
        try:
            for copy in range(5):
                time.sleep(0.2)
                before = list(acknowledged)
                self.must(server, 'clone', 'a', f'copy{copy}')
                with server.connect(f'postgres@copy{copy}') as c:
                    for n in range(4):
                        ones = int(c.query(f'select count(*) from one where i = {n}').value)
                        self.assertEqual(ones, int(c.query(f'select count(*) from two where i = {n}').value))
                        self.assertGreaterEqual(ones, before[n])
                        self.assertGreater(ones, 0)
        finally:
            is_over.set()
            for w in writers:
                w.join()
        self.assertEqual(self.cells(server)['a'][0], 'ready')  # its sessions went on

    def test_snapshot_and_restore(self):
        server = self.serve()
        path = os.path.join(server.folder, 'snapshot')
        self.fill(server, 'a')
        with server.connect('postgres@a') as busy:
            busy.query('begin; insert into t values (0)')
            self.must(server, 'snapshot', 'a', path)
            self.assertEqual(busy.query('select count(*) from t').value, '1001')
        self.assertTrue(wait_until(lambda: self.cells(server)['a'][1] == 0))
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.must(server, 'drop', 'a')
        self.must(server, 'restore', path, 'b')
        self.assertEqual(self.count(server, 'b'), 1000)
        other = self.serve()  # another server of the same build
        self.must(other, 'restore', path, 'c')
        self.assertEqual(self.count(other, 'c'), 1000)

    def test_files_that_are_no_snapshots(self):
        server = self.serve()
        path = os.path.join(server.folder, 'snapshot')
        self.fill(server, 'a')
        self.must(server, 'snapshot', 'a', path)
        with open(path, 'rb') as f:
            good = f.read()
        table = 4096 + int.from_bytes(good[96:104], 'little') * 8
        for what, bad in {'empty': b'', 'short': good[:100], 'without its last page': good[:-4096], 'text': b'x' * 8192,
                          'magic': b'X' + good[1:], 'version': good[:16] + b'\xff' + good[17:], 'size': good[:89] + b'\xff' + good[90:],
                          'runs': good[:100] + b'\xff' + good[101:], 'a run': good[:4100] + b'\xff' + good[4101:],
                          'the table alone': good[:table]}.items():
            with self.subTest(what):
                with open(path, 'wb') as f:
                    f.write(bad)
                self.must_not(server, '58P01', 'restore', path, 'b')
        with open(path, 'wb') as f:
            f.write(good[:24] + b'0' * 64 + good[88:])
        self.assertIn('another build', self.must_not(server, '58P01', 'restore', path, 'b'))
        self.must_not(server, '58P01', 'restore', '/dev/null', 'b')
        self.assertNotIn('b', self.cells(server))
        self.assertEqual(self.count(server, 'a'), 1000)

    def test_requests_that_make_no_sense(self):
        server = self.serve()
        self.fill(server, 'a')
        self.must_not(server, '42P04', 'create', 'a')
        self.must_not(server, '42P04', 'clone', 'a', 'a')
        self.must_not(server, '3D000', 'clone', 'nobody', 'b')
        self.must_not(server, '3D000', 'drop', 'nobody')
        for name in ('new', '-', 'ü', 'a/b', '~1', 'x' * 64):
            done = self.cell(server, 'create', '--', name) if name == '-' else self.cell(server, 'create', name)
            self.assertEqual(done.status, 0 if name == '-' else 1, name)
        unused = os.path.join(server.folder, 'unused')
        self.must_not(server, '3D000', 'snapshot', 'nobody', unused)
        self.assertFalse(os.path.exists(unused))
        self.must(server, 'create', 'fresh')
        self.must_not(server, '55000', 'snapshot', 'fresh', unused)
        for arguments in ((), ('create',), ('create', 'a', 'b'), ('explode',), ('list', 'x')):
            self.assertEqual(self.cell(server, *arguments).status, 2, arguments)
        self.assertEqual(run_program([PGCELL, 'cell', '--socket-dir', '/nonexistent', 'list']).status, 1)

    def test_the_control_socket_takes_anything(self):
        server = self.serve()
        path = server.socket_file.replace('.s.PGSQL.', '.s.pgcell.')
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        for bad in (b'x', b'list now', b'create', b'create a b c d', b'drop  ', b'\0', b'clone\0a b', b'y' * 5000, b' '):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.settimeout(5)
                s.connect(path)
                s.send(bad)
                got = s.recv(4096)
                self.assertTrue(got == b'' or got.startswith(b'error '), (bad, got))
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s, open('/dev/null', 'rb') as f:
            s.connect(path)
            socket.send_fds(s, [b'list'], [f.fileno()] * 3)  # more than one: refused by hanging up
            self.assertEqual(s.recv(100), b'')
        silent = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(100)]
        for s in silent:
            s.connect(path)
        with server.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')
        for s in silent:
            s.close()
        self.assertTrue(wait_until(lambda: self.cell(server, 'list').status == 0))

    def test_drop(self):
        server = self.serve()
        self.fill(server, 'a', 100000)
        self.must(server, 'create', 'never-used')
        held = server.cell_bytes()
        with server.connect('postgres@a') as c:
            self.must_not(server, '55006', 'drop', 'a')
            self.must(server, 'drop', 'a', '--force')
            self.assertEqual(c.read_fatal().sqlstate, '57P01')
        self.must(server, 'drop', 'never-used')
        self.assertEqual(self.cells(server), {})
        self.assertTrue(wait_until(lambda: server.cell_bytes() < held // 10))
        with server.connect('postgres@a') as c, sql_error(self, '42P01'):
            c.query('select * from t')

    def test_a_killed_copy_leaves_its_source_alone(self):
        server = self.serve()
        self.fill(server, 'a', 400000)
        with server.connect('postgres@a') as c:
            c.query('select 1')
            for _ in range(5):
                before = set(server.processes())
                thread = threading.Thread(target=self.cell, args=(server, 'clone', 'a', 'b'))
                thread.start()
                copier = []
                wait_until(lambda: copier.extend(set(server.processes()) - before) or copier, step=0.001)
                for process in copier:
                    try:
                        os.kill(process.pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                thread.join()
                self.assertEqual(c.query('select count(*) from t').value, '400000')
                if 'b' in self.cells(server):
                    self.must(server, 'drop', 'b')
        self.must(server, 'clone', 'a', 'b')
        self.assertEqual(self.count(server, 'b'), 400000)


class Templates(KeeperCase):
    def test_new_cells_start_from_the_template(self):
        server = self.serve('--template', 'migrated')
        self.fill(server, 'migrated')
        for cell in ('a', 'b', 'new'):
            self.assertEqual(self.count(server, cell), 1000)
        with server.connect('postgres@migrated') as c:
            c.query('insert into t values (0)')  # in use, and newer from now on
            self.assertEqual(self.count(server, 'c'), 1001)
        self.assertEqual(self.count(server, 'a'), 1000)

    def test_many_clients_of_a_new_cell_at_once(self):
        server = self.serve('--template', 'migrated')
        self.fill(server, 'migrated', 50000)
        results, threads = [], []
        for i in range(20):
            threads.append(threading.Thread(target=lambda n=i: results.append(self.count(server, f'c{n % 4}'))))
            threads[-1].start()
        for t in threads:
            t.join()
        self.assertEqual(results, [50000] * 20)

    def test_a_template_on_request(self):
        server = self.serve()
        self.fill(server, 'base')
        self.must(server, 'create', 'a', '--template', 'base')
        self.must(server, 'create', 'b')
        self.assertEqual(self.count(server, 'a'), 1000)
        with sql_error(self, '42P01'):
            self.count(server, 'b')
        self.must_not(server, '3D000', 'create', 'c', '--template', 'nobody')


class Pool(KeeperCase):
    def test_warm_cells_are_taken_and_replaced(self):
        server = self.serve('--warm', '3', '--max-cells', '8')
        for i in range(8):
            with server.connect(f'postgres@c{i}') as c:
                self.assertEqual(c.query('select count(*) from pg_class where relname = $$t$$').value, '0')
                c.query('create table t (i int)')
        self.assertEqual(len(self.cells(server)), 8)
        with self.assertRaises(PgError) as caught:
            server.connect('postgres@one-more')
        self.assertEqual(caught.exception.sqlstate, '53400')

    def test_warm_cells_of_a_template(self):
        server = self.serve('--warm', '2', '--template', 'base')
        self.fill(server, 'base')
        for i in range(6):
            with server.connect(f'postgres@late{i}') as c:
                c.query('select 1')
            time.sleep(0.15)
        self.assertEqual(self.count(server, 'late5'), 1000)

    def test_idle_cells_go(self):
        server = self.serve('--idle-timeout', '1', '--template', 'base')
        self.fill(server, 'base')
        with server.connect('postgres@used') as used:
            with server.connect('postgres@left') as c:
                c.query('select 1')
            self.assertTrue(wait_until(lambda: 'left' not in self.cells(server), seconds=6))
            self.assertEqual(used.query('select 1').value, '1')
            self.assertEqual(set(self.cells(server)), {'base', 'used'})

    def test_memory_for_all_cells(self):
        server = self.serve('--total-memory', '60')
        with server.connect('postgres@big') as c:
            c.query("create table t as select repeat('x', 1000) from generate_series(1, 70000)")
            self.assertTrue(wait_until(lambda: self.is_refused(server, '53200')))
            self.assertEqual(self.must_not(server, '53200', 'create', 'x').count('memory'), 2)
            c.query('drop table t')
            self.assertTrue(wait_until(lambda: not self.is_refused(server, '53200'), seconds=10))

    def is_refused(self, server, sqlstate):
        try:
            with server.connect('postgres@small') as c:
                c.query('select 1')
        except PgError as error:
            self.assertEqual(error.sqlstate, sqlstate)
            return True
        return False


class Limits(KeeperCase):
    def test_memory_of_a_cell(self):
        """53100 as on a disk that is full; there is room again after a DROP; other cells notice nothing."""
        server = self.serve('--cell-memory', '96')
        with server.connect('postgres@small') as c:
            c.query('create table t (v text)')
            with sql_error(self, '53100'):
                c.query("insert into t select repeat('x', 1000) from generate_series(1, 200000)")
            with server.connect('postgres@other') as other:
                other.query("create table t as select repeat('x', 1000) from generate_series(1, 5000)")
            c.query('drop table t')
            c.query('checkpoint')
            c.query("create table u as select repeat('x', 1000) from generate_series(1, 3000)")
            self.assertEqual(c.query('select count(*) from u').value, '3000')
        self.assertLess(self.cells(server)['small'][2], 150 << 20)

    def test_statement_time(self):
        server = self.serve('--statement-time', '1')
        with server.connect() as c:
            c.query('set statement_timeout = 0')
            for sql in ('select pg_sleep(30)', 'select count(*) from generate_series(1, 10000000000)'):
                begin = time.monotonic()
                with sql_error(self, '57014'):
                    c.query(sql)
                self.assertLess(time.monotonic() - begin, 8)
            begin = time.monotonic()
            c.query('begin')
            time.sleep(2.5)  # idle in a transaction is no statement
            self.assertEqual(c.query('select 1').value, '1')
            for _ in range(40):  # nor are many short ones a long one
                c.query('select pg_sleep(0.05)')

    def test_connection_rate(self):
        server = self.serve('--connection-rate', '5')
        outcomes = []
        for _ in range(20):
            try:
                with server.connect() as c:
                    outcomes.append(c.query('select 1').value)
            except PgError as error:
                outcomes.append(error.sqlstate)
        self.assertIn('53300', outcomes)
        self.assertLess(5, outcomes.count('1') + 1)
        time.sleep(1)
        with server.connect() as c:
            self.assertEqual(c.query('select 1').value, '1')

    @unittest.skipUnless(os.geteuid() == 0, 'nice values can be taken back by root only')
    def test_fairness_between_cells(self):
        """Many that work in one cell weigh as much as one: that is what the kernel is told; and it is taken back."""
        server = self.serve('--fair')
        many = [server.connect('postgres@many') for _ in range(8)]
        one = server.connect('postgres@one')
        for c in (*many, one):
            c.send_query('select count(*) from generate_series(1, 10000000000)')
        self.assertTrue(wait_until(lambda: {self.nice(c) for c in many} == {10}))  # 1.25 ** 10 is 9.3
        self.assertEqual(self.nice(one), 0)
        for c in (*many[1:], one):
            os.kill(c.pid, signal.SIGINT)
        self.assertTrue(wait_until(lambda: {self.nice(c) for c in many} == {0}))
        for c in (*many, one):
            c.vanish()

    def nice(self, c):
        with open(f'/proc/{c.pid}/stat', encoding='ascii') as f:
            return int(f.read().rsplit(')', 1)[1].split()[16])

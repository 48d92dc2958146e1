"""What an operator sees and does: metrics, health, readiness, draining, reloading."""
import json
import os
import signal
import socket
import threading
import time
import unittest
import urllib.error
import urllib.request

from prometheus_client import parser

from pgwire import PgError
from server import OwnServerCase, wait_until


class Operated(OwnServerCase):
    def operated(self, *options, **kwargs):
        """A server with metrics on a free port."""
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            address = '127.0.0.1:%d' % free.getsockname()[1]
        server = self.serve('--metrics-listen', address, *options, **kwargs)
        server.url = f'http://{address}'
        return server

    @staticmethod
    def get(server, path):
        try:
            with urllib.request.urlopen(server.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.read().decode()

    def metrics(self, server):
        status, text = self.get(server, '/metrics')
        self.assertEqual(status, 200)
        return {(s.name, *s.labels.values()): s.value for family in parser.text_string_to_metric_families(text)
                for s in family.samples}


class Metrics(Operated):
    def test_errors_by_sqlstate(self):
        server = self.operated()
        with server.connect() as c:
            for statement, sqlstate, times in (('select 1/0', '22012', 3), ('select nothing', '42703', 1),
                                               ("do $$ begin perform 1/0; exception when others then null; end $$", None, 1)):
                for _ in range(times):
                    try:
                        c.query(statement)
                    except PgError as error:
                        self.assertEqual(error.sqlstate, sqlstate)
            found = self.metrics(server)
            self.assertEqual(found[('pgcell_errors_total', '22012')], 3, 'an error that is caught is none')
            self.assertEqual(found[('pgcell_errors_total', '42703')], 1)
        with self.assertRaises(PgError):
            server.connect('nosuch')
        self.assertTrue(wait_until(lambda: self.metrics(server).get(('pgcell_errors_total', '3D000')) == 1))
        self.assertEqual(self.metrics(server)[('pgcell_errors_total', '22012')], 3)

    def test_bytes(self):
        server = self.operated()
        with server.connect() as c:
            # counted a moment after they were sent
            c.query('select 1')
            time.sleep(0.2)
            before = self.metrics(server)
            c.query("select repeat('x', 1000000)")
            time.sleep(0.2)
            after = self.metrics(server)
        out = after[('pgcell_client_bytes_total', 'out')] - before[('pgcell_client_bytes_total', 'out')]
        into = after[('pgcell_client_bytes_total', 'in')] - before[('pgcell_client_bytes_total', 'in')]
        self.assertTrue(1000000 < out < 1000300, out)
        self.assertEqual(into, 5 + len("select repeat('x', 1000000)") + 1)

    def test_start_latency(self):
        server = self.operated()
        for _ in range(10):
            server.connect('postgres@new').vanish()
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_sessions',)] == 0))
        found = self.metrics(server)
        self.assertEqual(found[('pgcell_session_start_seconds_count',)], 10)
        self.assertEqual(found[('pgcell_session_ready_seconds_count',)], 10)
        self.assertLess(found[('pgcell_session_start_seconds_sum',)], found[('pgcell_session_ready_seconds_sum',)])

    def test_memory_of_cells(self):
        server = self.operated()
        with server.connect() as c:
            before = self.metrics(server)[('pgcell_memory_bytes', 'cells')]
            c.query("create table t as select repeat('x', 1000) from generate_series(1, 20000)")
            after = self.metrics(server)[('pgcell_memory_bytes', 'cells')]
        self.assertTrue(15e6 < after - before < 100e6, (before, after))

    def test_recovery(self):
        server = self.operated()
        with server.connect() as c:
            os.kill(c.pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: self.metrics(server)[('pgcell_recoveries_total', 'ok')] == 1))
        self.assertEqual(self.metrics(server)[('pgcell_session_ends_total', 'signal')], 1)

    def test_ready_is_a_query(self):
        server = self.operated()
        self.assertEqual(self.get(server, '/readyz'), (200, 'ok\n'))
        self.assertEqual(self.get(server, '/healthz'), (200, 'ok\n'))
        self.assertEqual(self.metrics(server)[('pgcell_session_starts_total', 'ok')], 1)
        self.assertTrue(wait_until(lambda: sum(v for k, v in self.metrics(server).items() if k[0] == 'pgcell_cells') == 0),
                        'its cell is gone')

    def test_scrapes_while_sessions_come_and_go(self):
        server = self.operated()
        end = time.monotonic() + 3
        failures = []

        def clients():
            while time.monotonic() < end:
                try:
                    with server.connect('postgres@new') as c:
                        c.query('select 1')
                except Exception as error:  # told below
                    failures.append(error)

        threads = [threading.Thread(target=clients) for _ in range(4)]
        for thread in threads:
            thread.start()
        last = {}
        while time.monotonic() < end:
            now = self.metrics(server)
            for key, value in last.items():
                if key[0].endswith(('_total', '_count', '_bucket')):
                    self.assertGreaterEqual(now[key], value, key)
            last = now
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class Log(OwnServerCase):
    def test_json(self):
        server = self.serve('--log-format', 'json', '--verbose')
        with server.connect('postgres@shop') as c:
            for statement in ('select 1/0', 'select "a\n\tb\\"', "do $$ begin raise warning '%', repeat('\u00e9\"', 4000); end $$"):
                try:
                    c.query(statement)
                except PgError:
                    pass
            pid = c.pid
        self.assertTrue(wait_until(lambda: 'ended with' in server.stderr()))
        lines = [json.loads(line) for line in server.stderr().splitlines()]
        ours = [line for line in lines if line.get('cell') == 'shop' and line.get('session') == pid]
        self.assertTrue(all(isinstance(line['message'], str) for line in lines))
        errors = [line for line in ours if line['level'] == 'error']
        self.assertEqual(len(errors), 2, lines)
        self.assertRegex(errors[0]['message'], r'ERROR:  division by zero\n.*STATEMENT:  select 1/0$')
        self.assertIn('a\n\t\tb\\', errors[1]['message'])
        warning = [line for line in ours if line['level'] == 'warning']
        self.assertEqual([line.get('truncated') for line in warning], [True])

    def test_traps_have_a_cell(self):
        server = self.serve('--log-format', 'json')
        with server.connect('postgres@shop') as c:
            os.kill(c.pid, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: ' signal 9' in server.stderr()))
        line = json.loads(server.stderr().splitlines()[0])
        self.assertEqual((line['cell'], line['session'], line['level']), ('shop', c.pid, 'error'))


class Drain(Operated):
    def test_statements_finish(self):
        server = self.operated('--drain-timeout', '20000')
        idle, in_transaction, busy, many = (server.connect(f'postgres@{n}') for n in range(4))
        for c in (idle, in_transaction, busy, many):
            self.addCleanup(c.vanish)
        in_transaction.query('begin')
        busy.send_query('select pg_sleep(1.5), 42')
        many.send_query('select pg_sleep(1); select pg_sleep(0.5); select 43')
        time.sleep(0.3)
        started = time.monotonic()
        server.send_signal(signal.SIGTERM)
        self.assertEqual(idle.read_fatal().sqlstate, '57P01')
        self.assertEqual(in_transaction.read_fatal().sqlstate, '57P01')
        self.assertLess(time.monotonic() - started, 1)
        self.assertEqual(self.get(server, '/readyz')[0], 503)
        with self.assertRaises(OSError):
            server.connect(timeout=2)
        self.assertEqual(busy.collect()[-1].rows[0][1], '42')
        self.assertEqual(busy.read_fatal().sqlstate, '57P01')
        self.assertEqual(many.collect()[-1].value, '43')
        self.assertEqual(many.read_fatal().sqlstate, '57P01')
        self.assertGreater(time.monotonic() - started, 1)
        self.assertEqual(server.wait(10), 0)
        server.assert_nothing_left(self)

    def test_a_client_that_never_pauses_is_ended_between_statements(self):
        server = self.operated('--drain-timeout', '20000')
        c = server.connect()
        self.addCleanup(c.vanish)
        seen = []

        def work():
            try:
                while True:
                    c.query('select 1')
            except (PgError, OSError, EOFError) as error:
                seen.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.3)
        started = time.monotonic()
        server.send_signal(signal.SIGTERM)
        thread.join(10)
        self.assertEqual(len(seen), 1)
        # the next statement may have met a closed socket, which loses the message
        self.assertTrue(isinstance(seen[0], (EOFError, OSError)) or seen[0].sqlstate == '57P01', seen)
        self.assertIn('terminating connection due to administrator command', server.stderr())
        self.assertEqual(server.wait(10), 0)
        self.assertLess(time.monotonic() - started, 3)

    def test_limit(self):
        server = self.operated('--drain-timeout', '700')
        c = server.connect()
        self.addCleanup(c.vanish)
        c.send_query('select pg_sleep(60)')
        time.sleep(0.3)
        started = time.monotonic()
        server.send_signal(signal.SIGTERM)
        self.assertEqual(c.read_fatal().sqlstate, '57P01')
        self.assertGreater(time.monotonic() - started, 0.6)
        self.assertEqual(server.wait(10), 0)
        self.assertLess(time.monotonic() - started, 5)

    def test_second_signal(self):
        server = self.operated()
        c = server.connect()
        self.addCleanup(c.vanish)
        c.send_query('select pg_sleep(60)')
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(3), 1)
        server.assert_nothing_left(self)


class Reload(Operated):
    def test_limits_change(self):
        server = self.make()
        path = os.path.join(server.folder, 'pgcell.conf')

        def write(text):
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)

        write('max-cells = 1\n')
        server = self.operated('--config', path)
        with server.connect('postgres@one') as _:
            with self.assertRaises(PgError) as caught:
                server.connect('postgres@two')
            self.assertEqual(caught.exception.sqlstate, '53400')
            write('max-cells = 2\nmax-sessions = 7\n')
            server.send_signal(signal.SIGHUP)
            self.assertTrue(wait_until(lambda: 'parameter "max-cells" changed to "2"' in server.stderr()))
            self.assertRegex(server.stderr(), r'warning parameter "max-sessions" cannot be changed without restarting the server\n')
            with server.connect('postgres@two') as c:
                self.assertEqual(c.query('select 1').value, '1')


if __name__ == '__main__':
    unittest.main()

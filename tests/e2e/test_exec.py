"""`pgcell exec`: SQL without a server."""
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

from port import MemoryWatch
from server import MARK, PGCELL, PSQL, clean_environment, limit_time, processes_marked, run_program, wait_until

# What psql prints is what exec prints; the first column of the errors apart, which is the SQLSTATE.
AS_PSQL = [
    "select 1 as a, 'x' as b",
    'select 1 where false',
    "select 1; select 'ä€日本' as w, null as n, true",
    "select E'a\\nb\\tc' as \"m\nx\", 12.5::numeric, E'l\\nmm' as z",
    'create table t (a int); insert into t values (1), (2) returning *; update t set a = 3; delete from t; select * from t',
    "copy (select g, 'a\tb' from generate_series(1, 3) g) to stdout",
    "select E'\\r\\x07\\x7f' as c, 5::oid, 'a'::\"char\", 3::money",
    "select repeat('x', 100) as long, g from generate_series(1, 3) g",
    "select 'a,b' as \"q\"\"x\", 'c\"d' as y, E'e\\nf', '', null, '\\.'",
    "select array[1, 2], '{\"a\": [1,2]}'::json, 'NaN'::float8, interval '1 day', E'\\x01'::text",
    'explain (costs off) select 1',
    "do $$ begin raise notice 'hi %', 1 using hint = 'a hint', detail = 'a detail'; end $$",
    'select 1/0',
    'selec 1',
    'select a\nfrom nowhere\nwhere x',
    'select "é", x',
    'table pg_nope',
    'select ' + '1+' * 60 + 'x' + '+1' * 60,
    'do $$ begin perform 1/0; end $$',
    "create function f() returns int language sql as 'select x'",
    'select * from pg_type order by oid limit 30',
    'select proname, prosrc from pg_proc order by oid desc limit 40',
    'select chr(128512), chr(769) || \'a\'',
    'begin; select 1; rollback',
    '',
    ';',
]


class ExecCase(unittest.TestCase):
    seconds = 120

    def setUp(self):
        limit_time(self)
        self.mark = f'exec-{os.getpid()}-{id(self)}'
        self.folder = tempfile.TemporaryDirectory(prefix='pgcell-exec-')
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(lambda: self.assertTrue(wait_until(lambda: not processes_marked(self.mark), 5)))

    def environment(self):
        return clean_environment(TMPDIR=self.folder.name, **{MARK: self.mark})

    def run_it(self, *arguments, **kwargs):
        return run_program([PGCELL, 'exec', *arguments], env=self.environment(), **kwargs)

    def good(self, *arguments, **kwargs):
        outcome = self.run_it(*arguments, **kwargs)
        self.assertEqual((outcome.status, outcome.stderr), (0, ''), outcome.stdout)
        return outcome.stdout

    def json(self, sql):
        return json.loads(self.good('--format=json', '-c', sql))


class AsPsql(ExecCase):
    def compare(self, sql, fmt):
        options = ['--csv', '-q'] if fmt == 'csv' else []
        theirs = run_program([PGCELL, 'run', '--', PSQL, '-X', *options, '-P', 'pager=off', '-c', sql], env=self.environment(), text=False)
        ours = self.run_it('-c', sql, f'--format={fmt}', text=False)
        self.assertEqual(ours.stdout, theirs.stdout)
        # what the sessions of the server log is on its standard error as well
        said = b''.join(line + b'\n' for line in theirs.stderr.split(b'\n') if line and not re.match(rb'\d{4}-\d\d-\d\d |\t', line))
        self.assertEqual(re.sub(rb'^ERROR:  [0-9A-Z]{5}: ', b'ERROR:  ', ours.stderr, flags=re.M), said)
        self.assertEqual(ours.status, theirs.status)

    def test_aligned(self):
        for sql in AS_PSQL:
            with self.subTest(sql=sql[:60]):
                self.compare(sql, 'aligned')

    def test_csv(self):
        for sql in AS_PSQL:
            with self.subTest(sql=sql[:60]):
                self.compare(sql, 'csv')


class Json(ExecCase):
    def test_types(self):
        row = self.json("select 1 as i, -9223372036854775808 as big, 1.50 as n, 1e300::float8 as f, 'NaN'::float4 as nan, true as t, "
                        "false as f2, null as nil, '{\"a\": [1, null]}'::json as j, '\"x\"'::jsonb as jb, '2026-01-01'::date as d, "
                        "array[1,2] as a, 7::oid as o, 'text' as s")[0]
        self.assertEqual(row, {'i': 1, 'big': -9223372036854775808, 'n': 1.5, 'f': 1e300, 'nan': 'NaN', 't': True, 'f2': False,
                               'nil': None, 'j': {'a': [1, None]}, 'jb': 'x', 'd': '2026-01-01', 'a': '{1,2}', 'o': 7, 's': 'text'})

    def test_a_line_for_each_result(self):
        lines = self.good('--format', 'json', '-c', "select 1 as a; create table t (); select 2 as b where false; select E'{\n}'::json as j",
                          '-c', 'select').splitlines()
        self.assertEqual([json.loads(line) for line in lines], [[{'a': 1}], [], [{'j': {}}], [{}]])

    def test_every_character(self):
        rows = self.json("select chr(c) as ch from generate_series(1, 55295) c union all select chr(c) from generate_series(57344, 131071) c")
        self.assertEqual([row['ch'] for row in rows], [chr(c) for c in [*range(1, 55296), *range(57344, 131072)]])

    def test_another_encoding_is_json_all_the_same(self):
        outcome = self.run_it('--format=json', '-c', "set client_encoding = 'latin1'; select 'ä\"' as a", text=False)
        self.assertEqual(outcome.status, 0)
        self.assertEqual(json.loads(outcome.stdout.decode('utf-8')), [{'a': '\ufffd"'}])

    def test_an_error_in_the_middle(self):
        outcome = self.run_it('--format=json', '-c', 'select 1 / (3 - g) as x from generate_series(1, 5) g')
        self.assertEqual(outcome.status, 1)
        self.assertIn('22012: division by zero', outcome.stderr)
        self.assertEqual(self.run_it('--format=json', '-c', 'select 1/0').stdout, '')


class Sources(ExecCase):
    def test_statements_then_the_file(self):
        path = os.path.join(self.folder.name, 'f.sql')
        with open(path, 'w', encoding='utf-8') as f:
            f.write('\ufeffselect n from t; -- a comment\n')
        self.assertEqual(self.good('-c', 'create table t (n int)', '--format', 'csv', path, '-c', 'insert into t values (1), (2)'), 'n\n1\n2\n')

    def test_standard_input(self):
        with tempfile.TemporaryFile('w+') as stdin:
            stdin.write('select 1 as a;\nselect 2 as b')
            stdin.seek(0)
            self.assertEqual(self.good('--format=csv', '-', stdin=stdin), 'a\n1\nb\n2\n')

    def test_each_runs_in_a_cell_of_its_own(self):
        self.good('-c', 'create table t ()')
        self.assertEqual(self.run_it('-c', 'table t').status, 1)

    def test_each_c_is_a_transaction(self):
        outcome = self.run_it('--format=csv', '-c', 'create table t as select 1 as n', '-c', 'insert into t values (2); select 1/0',
                              '-c', 'select 3')
        self.assertEqual((outcome.status, outcome.stdout), (1, ''))  # the first error is the end
        self.assertEqual(self.good('--format=csv', '-c', 'create database d', '-c', 'vacuum', '-c', 'select 1 as a'), 'a\n1\n')

    def test_database_and_user(self):
        self.assertEqual(self.good('--format=csv', '--database=template1', '-c', 'select current_database() as d'), 'd\ntemplate1\n')
        for option in ('--database', '--user'):
            outcome = self.run_it(f'{option}=nothing', '-c', 'select 1')
            self.assertEqual((outcome.status, outcome.stdout), (1, ''))
            self.assertRegex(outcome.stderr, r'FATAL:  [0-9A-Z]{5}: (database|role) "nothing" does not exist')

    def test_usage(self):
        for arguments, said in (([], 'no SQL'), (['a', 'b'], 'one file'), (['/nowhere.sql'], 'No such file'), ([self.folder.name], 'directory'),
                                (['-c'], '-c needs'), (['--format=xml', '-c', ''], 'xml'), (['-x'], 'not known')):
            with self.subTest(arguments=arguments):
                outcome = self.run_it(*arguments)
                self.assertEqual((outcome.status, outcome.stdout), (2, ''))
                self.assertIn(said, outcome.stderr)
        path = os.path.join(self.folder.name, 'zero')
        with open(path, 'wb') as f:
            f.write(b'select 1;\0')
        self.assertIn('zero byte', self.run_it(path).stderr)


class Conversation(ExecCase):
    def test_copy_from_standard_input_is_refused(self):
        outcome = self.run_it('-c', 'create table t (v text); copy t from stdin; select 1')
        self.assertEqual(outcome.status, 1)
        self.assertIn('pgcell exec has no data for COPY FROM STDIN', outcome.stderr)

    def test_notifications(self):
        outcome = self.run_it('--format=csv', '-c', 'listen c', '-c', "notify c, 'hello'")
        self.assertEqual((outcome.status, outcome.stdout), (0, ''))
        self.assertRegex(outcome.stderr, r'^Asynchronous notification "c" with payload "hello" received from server process with PID \d+\.\n$')

    def test_the_session_ends(self):
        outcome = self.run_it('-c', 'select pg_terminate_backend(pg_backend_pid())')
        self.assertEqual(outcome.status, 1)
        self.assertIn('57P01', outcome.stderr)

    def test_settings_of_the_session(self):
        self.assertEqual(self.good('--format=csv', '-c', "select current_setting('application_name'), current_setting('client_encoding')"),
                         'current_setting,current_setting\npgcell exec,UTF8\n')

    def start(self, *arguments, **kwargs):
        process = subprocess.Popen([PGCELL, 'exec', *arguments], env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True, **kwargs)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def test_the_session_crashes(self):
        process = self.start('-c', 'select pg_sleep(60)')
        self.assertTrue(wait_until(lambda: len(processes_marked(self.mark)) >= 3))
        time.sleep(0.3)
        newest = max(processes_marked(self.mark), key=lambda p: (p.started, p.pid))
        os.kill(newest.pid, signal.SIGKILL)
        self.assertEqual(process.wait(10), 1)
        self.assertIn(b'ended unexpectedly', process.stderr.read())

    def test_signals(self):
        for signo in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=signo.name):
                process = self.start('-c', 'select pg_sleep(60)')
                time.sleep(0.5)
                process.send_signal(signo)
                self.assertEqual(process.wait(10), 128 + signo)
                self.assertIn(b'FATAL:  57P01', process.stderr.read())

    def test_a_reader_that_has_seen_enough(self):
        process = self.start('--format=csv', '-c', 'select generate_series(1, 100000000)')
        self.assertEqual(process.stdout.readline(), b'generate_series\n')
        process.stdout.close()
        self.assertEqual(process.wait(10), 1)
        self.assertEqual(process.stderr.read(), b'')

    def test_a_full_disk(self):
        with open('/dev/full', 'wb') as full:
            done = subprocess.run([PGCELL, 'exec', '-c', 'select 1'], env=self.environment(), stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, timeout=20, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b'standard output: No space left', done.stderr)


class Streams(ExecCase):
    def test_results_are_never_held(self):
        for fmt in ('aligned', 'csv', 'json'):
            with self.subTest(format=fmt):
                process = subprocess.Popen([PGCELL, 'exec', '--format', fmt, '-c', "select generate_series(1, 200000), repeat('x', 1100) as v"],
                                           env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                got = len(process.stdout.read(1 << 22))
                with MemoryWatch([process.pid]) as memory:
                    while piece := process.stdout.read(1 << 20):
                        got += len(piece)
                process.stdout.close()
                self.assertEqual(process.wait(10), 0)
                self.assertGreater(got, 200 << 20)
                self.assertLess(memory.largest[process.pid] - memory.first[process.pid], 4 << 10)

    def test_long_values(self):
        self.assertEqual(len(self.good('--format=csv', '-c', f"select repeat('y', {30 << 20}) as v")), (30 << 20) + 3)
        sql = "select length('" + 'z' * (5 << 20) + "') as n"
        with tempfile.TemporaryFile('w+') as stdin:
            stdin.write(sql)
            stdin.seek(0)
            self.assertEqual(self.good('--format=csv', '-', stdin=stdin), f'n\n{5 << 20}\n')


if __name__ == '__main__':
    unittest.main()

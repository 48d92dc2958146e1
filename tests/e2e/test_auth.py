"""Passwords: SCRAM-SHA-256 by PostgreSQL's own pg_hba and roles, in every cell, before anybody is let in."""
import os
import re
import subprocess
import tempfile

from test_tls import SYSTEM_PSQL, Certificates
from server import PGCELL, PSQL, OwnServerCase, clean_environment, run_program


class Passwords(OwnServerCase):
    def serve_with(self, password, *options, mode=0o600):
        self.password_file = os.path.join(self.folder(), 'password')
        with open(self.password_file, 'w', encoding='utf-8') as f:
            f.write(password + '\n')
        os.chmod(self.password_file, mode)
        return self.serve('--auth', 'scram-sha-256', '--password-file', self.password_file, *options)

    def folder(self):
        made = tempfile.TemporaryDirectory()
        self.addCleanup(made.cleanup)
        return made.name

    def psql(self, server, database, password, sql='select 1', user='postgres', unix=False):
        environment = clean_environment(PGPASSWORD=password) if password is not None else clean_environment()
        return run_program([PSQL, '-X', '-w', '-At', '-d', server.conninfo(database, user, unix), '-c', sql], env=environment)

    def test_every_cell_asks(self):
        server = self.serve_with("se'cret \\ ü")
        for database in ('postgres', 'postgres@a', 'postgres@new'):
            for unix in (False, True):
                with self.subTest(database, unix=unix):
                    self.assertEqual(self.psql(server, database, "se'cret \\ ü", unix=unix).stdout, '1\n')
                    wrong = self.psql(server, database, 'wrong', unix=unix)
                    self.assertEqual(wrong.status, 2)
                    self.assertIn('password authentication failed for user "postgres"', wrong.stderr)
                    self.assertIn('no password supplied', self.psql(server, database, None, unix=unix).stderr)

    def test_roles_of_a_cell_have_their_own_passwords(self):
        server = self.serve_with('one')
        self.psql(server, 'postgres@a', 'one', "create role app login password 'two'")
        self.assertEqual(self.psql(server, 'postgres@a', 'two', 'select current_user', user='app').stdout, 'app\n')
        self.assertEqual(self.psql(server, 'postgres@a', 'one', user='app').status, 2)
        self.assertEqual(self.psql(server, 'postgres@b', 'two', user='app').status, 2)
        self.assertEqual(self.psql(server, 'postgres@a', 'one', "alter role postgres password 'three'").status, 0)
        self.assertEqual(self.psql(server, 'postgres@a', 'one').status, 2)
        self.assertEqual(self.psql(server, 'postgres@a', 'three').status, 0)
        self.assertEqual(self.psql(server, 'postgres@b', 'one').status, 0)

    def test_cells_made_in_any_way_ask(self):
        server = self.serve_with('one', '--warm', '2', '--template', 'base')
        cell = [PGCELL, 'cell', '--socket-dir', server.socket_dir, '--port', server.socket_file.rsplit('.', 1)[1]]
        self.assertEqual(run_program([*cell, 'create', 'made']).status, 0)
        self.assertEqual(self.psql(server, 'postgres@base', 'one', 'create table t (i int)').status, 0)
        self.assertEqual(run_program([*cell, 'clone', 'made', 'cloned']).status, 0)
        self.assertEqual(run_program([*cell, 'create', 'templated', '--template', 'base']).status, 0)
        for name in ('made', 'cloned', 'templated', 'by-template'):
            self.assertEqual(self.psql(server, f'postgres@{name}', 'wrong').status, 2, name)
            self.assertEqual(self.psql(server, f'postgres@{name}', 'one').status, 0, name)
        for i in range(5):
            self.assertEqual(self.psql(server, f'postgres@w{i}', 'wrong').status, 2)
        self.assertEqual(self.psql(server, 'postgres@by-template', 'one', 'select count(*) from t').stdout, '0\n')
        self.assertNotIn('~', run_program([*cell, 'list']).stdout)

    def test_the_password_is_not_in_any_cell(self):
        server = self.serve_with('needle-in-a-haystack')
        self.assertEqual(self.psql(server, 'postgres@a', 'needle-in-a-haystack').status, 0)
        found = 0
        folder = f'/proc/{server.process.pid}/fd'
        for fd in os.listdir(folder):
            if 'pgcell-cluster' in os.readlink(f'{folder}/{fd}'):
                found += 1
                done = subprocess.run(['grep', '-c', '-a', 'needle-in-a-haystack', f'{folder}/{fd}'], capture_output=True, text=True, check=False)
                self.assertEqual(done.stdout, '0\n')
        self.assertGreater(found, 1)

    def test_other_machines_need_a_password(self):
        server = self.make(listen='0.0.0.0:0')
        server.launch()
        self.assertEqual(server.process.wait(20), 1)
        self.assertIn('authentication is not set up', server.stderr())
        self.assertIn('--auth', server.stderr())
        server = self.serve_with('one', '--listen', '0.0.0.0:0')  # the last one counts
        server.port = int(re.search(r'0\.0\.0\.0:(\d+)', server.ready_line)[1])
        self.assertEqual(self.psql(server, 'postgres', 'one').stderr, '')
        self.assertEqual(self.psql(server, 'postgres', 'x').status, 2)

    def test_password_files_that_are_none(self):
        folder = self.folder()
        path = os.path.join(folder, 'password')
        for text, mode, said in (('one\n', 0o644, 'chmod 600'), ('\nsecond line\n', 0o600, 'first line is empty'),
                                 ('', 0o600, 'first line is empty'), ('x' * 2000, 0o600, 'too long')):
            with open(path, 'w', encoding='ascii') as f:
                f.write(text)
            os.chmod(path, mode)
            server = self.make('--auth', 'scram-sha-256', '--password-file', path)
            server.launch()
            self.assertEqual(server.process.wait(20), 1, text[:20])
            self.assertIn(said, server.stderr())
        for options, said in ((('--auth', 'scram-sha-256'), 'belong together'), (('--password-file', path), 'belong together'),
                              (('--auth', 'md5'), 'not known'), (('--auth', 'scram-sha-256', '--password-file', '/nonexistent'), 'No such file')):
            server = self.make(*options)
            server.launch()
            self.assertIn(server.process.wait(20), (1, 2))
            self.assertIn(said, server.stderr())

    def test_over_tls(self):
        files = Certificates()
        self.addCleanup(files.release)
        server = self.serve_with('one', *files.options('--tls-only'))
        target = f'host=localhost port={server.port} user=postgres dbname=postgres@a sslmode=verify-full sslrootcert={files.ca}'
        psql = [SYSTEM_PSQL, '-X', '-w', '-At', '-d', target, '-c', 'select 1']
        self.assertEqual(run_program(psql, env=clean_environment(PGPASSWORD='one')).stdout, '1\n')
        wrong = run_program(psql, env=clean_environment(PGPASSWORD='two'))
        self.assertEqual(wrong.status, 2)
        self.assertIn('password authentication failed', wrong.stderr)
        # the driver is Debian's Python's
        driver = run_program(['/usr/bin/python3', '-c', 'import psycopg2, sys; c = psycopg2.connect(sys.argv[1]).cursor(); '
                              'c.execute("select 6 * 7"); print(c.fetchone()[0])', target + ' password=one'])
        self.assertEqual((driver.stdout, driver.status), ('42\n', 0), driver.stderr)
        plain = run_program([PSQL, '-X', '-w', '-At', '-d', server.conninfo('postgres@a'), '-c', 'select 1'], env=clean_environment(PGPASSWORD='one'))
        self.assertEqual(plain.status, 2)
        self.assertIn('no encryption', plain.stderr)

"""Dead rows go, and statistics come, without anybody asking."""
import time

from server import OwnServerCase, wait_until

DIRTY = ('create table t as select i, repeat(i::text, 10) as s from generate_series(1, 10000) i', 'delete from t where i > 100')
COUNTS = "select n_dead_tup, autovacuum_count > 0, autoanalyze_count > 0 from pg_stat_user_tables where relname = 't'"
DONE = [('0', 't', 't')]


class Autovacuum(OwnServerCase):
    def dirty(self, server, database='postgres'):
        with server.connect(database) as c:
            for sql in DIRTY:
                c.query(sql)

    def counts(self, server, database='postgres'):
        with server.connect(database) as c:
            return c.query(COUNTS).rows

    def test_dead_rows_go(self):
        server = self.serve('--autovacuum-naptime', '1')
        self.dirty(server)
        self.assertTrue(wait_until(lambda: self.counts(server) == DONE, 15, 0.3), server.stderr())
        with server.connect() as c:
            self.assertEqual(c.query('select count(*) from t').value, '100')
            self.assertEqual(c.query("select reltuples from pg_class where relname = 't'").value, '100')

    def test_while_clients_work(self):
        server = self.serve('--autovacuum-naptime', '1')
        self.dirty(server)
        end = time.monotonic() + 4
        with server.connect() as c:
            while time.monotonic() < end:
                c.query('update t set s = s || s where i <= 5')
                c.query('update t set s = left(s, 10)')
            self.assertEqual(c.query(COUNTS).rows[0][1:], ('t', 't'))
            self.assertEqual(c.query('select count(*) from t').value, '100')

    def test_in_many_cells(self):
        server = self.serve('--autovacuum-naptime', '1')
        cells = [f'postgres@c{i}' for i in range(12)]
        for database in cells:
            self.dirty(server, database)
        self.assertTrue(wait_until(lambda: all(self.counts(server, database) == DONE for database in cells), 30, 0.5), server.stderr())

    def test_where_it_is_off(self):
        server = self.serve('--autovacuum-naptime', '1')
        with server.connect() as c:
            c.query('alter system set autovacuum = off')
            c.query('select pg_reload_conf()')
        self.dirty(server)
        time.sleep(3)
        self.assertEqual(self.counts(server)[0][1:], ('f', 'f'))
        self.assertEqual(server.stderr(), '')

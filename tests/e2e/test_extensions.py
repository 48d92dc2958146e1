"""Extensions: what is offered works, an error inside one does no harm, versions change, and what is not there is refused as PostgreSQL does."""
import os
import shutil
import subprocess
import tempfile
import unittest

from pgwire import PgError
from server import OwnServerCase, ROOT, ServerCase, sql_error

BUILD = os.path.join(ROOT, 'build')
TREE = os.path.join(BUILD, 'guest', 'postgresql')

# For each extension something that its own code refuses, and the SQLSTATE.
REFUSED = {
    'amcheck': ("SELECT bt_index_check('pg_class'::regclass)", '42809'),
    'autoinc': ('SELECT autoinc()', 'XX000'),
    'bloom': ('CREATE TABLE t (i int); CREATE INDEX ON t USING bloom (i) WITH (length = 99999)', '22023'),
    'btree_gin': ('CREATE TABLE t (i int); INSERT INTO t VALUES (0); CREATE INDEX ON t USING gin ((1 / i))', '22012'),
    'btree_gist': ("SELECT '1,2'::gbtreekey4", '0A000'),
    'citext': ("SELECT regexp_replace('a'::citext, '('::citext, 'b')", '2201B'),
    'cube': ("SELECT '(1,2),(1)'::cube", '22P02'),
    'dict_int': ('CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = intdict_template, MAXLEN = -1)', '22023'),
    'dict_xsyn': ("CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = xsyn_template, RULES = 'nowhere')", 'F0000'),
    'earthdistance': ("SELECT ll_to_earth(91, 0) <@ '(1,2),(1)'::cube", '22P02'),
    'file_fdw': ('CREATE SERVER s FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE t (i int) SERVER s OPTIONS (filename \'/nowhere\'); '
                 'SELECT * FROM t', '58P01'),
    'fuzzystrmatch': ("SELECT levenshtein(repeat('a', 300), 'b')", '22023'),
    'hstore': ("SELECT 'a=>'::hstore", '42601'),
    'insert_username': ('SELECT insert_username()', 'XX000'),
    'intagg': ('SELECT int_array_aggregate(1 / 0)', '22012'),
    'intarray': ("SELECT '1&'::query_int", '42601'),
    'isn': ("SELECT '9780123456789'::isbn13", '22P02'),
    'lo': ('SELECT lo_manage()', 'XX000'),
    'ltree': ("SELECT 'a..b'::ltree", '42601'),
    'moddatetime': ('SELECT moddatetime()', 'XX000'),
    'pageinspect': ("SELECT page_header('\\x00'::bytea)", '22023'),
    'pg_buffercache': ("SELECT pg_buffercache_evict(-1)", 'XX000'),
    'pg_freespacemap': ("SELECT pg_freespace('pg_class'::regclass, -1)", '22023'),
    'pg_logicalinspect': ("SELECT pg_get_logical_snapshot_meta('0-0.snap')", '58P01'),
    'pg_prewarm': ("SELECT pg_prewarm('pg_class', 'nothing')", '22023'),
    'pg_stat_statements': ('SELECT * FROM pg_stat_statements', '55000'),
    'pg_surgery': ("SELECT heap_force_kill('pg_class'::regclass, ARRAY[NULL]::tid[])", '22004'),
    'pg_trgm': ("SET pg_trgm.similarity_threshold = 2", '22023'),
    'pg_visibility': ("SELECT pg_visibility('pg_class'::regclass, -1)", '22023'),
    'pg_walinspect': ("SELECT pg_get_wal_record_info('FFFFFFFF/0')", '22023'),
    'pgcrypto': ("SELECT digest('a', 'nothing')", '22023'),
    'pgrowlocks': ("SELECT * FROM pgrowlocks('pg_views')", '42809'),
    'pgstattuple': ("SELECT pgstattuple('pg_views')", '0A000'),
    'refint': ('SELECT check_primary_key()', 'XX000'),
    'seg': ("SELECT '1 .. 0'::seg", '22023'),
    'tablefunc': ("SELECT * FROM crosstab('SELECT 1') AS t (a int, b int)", '22023'),
    'tcn': ('SELECT triggered_change_notification()', '39P01'),
    'tsm_system_rows': ('SELECT count(*) FROM pg_class TABLESAMPLE system_rows(-1)', '2202H'),
    'tsm_system_time': ('SELECT count(*) FROM pg_class TABLESAMPLE system_time(-1)', '2202H'),
    'unaccent': ("CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = unaccent, RULES = 'nowhere')", 'F0000'),
    'uuid-ossp': ("SELECT uuid_generate_v5('x'::uuid, 'a')", '22P02'),
    'vector': ("SELECT '[1,2]'::vector <-> '[1]'::vector", '22000'),
    'plpgsql': ("DO $$ BEGIN RAISE 'ours'; END $$", 'P0001'),
}
# modules without an extension
LOADABLE = ('auto_explain', 'passwordcheck', 'pg_overexplain', 'auth_delay', 'pg_stat_statements')


def linked():
    """The names of the extensions that the build has put into the native module."""
    with open(os.path.join(TREE, 'extensions.txt'), encoding='utf-8') as f:
        return {line.split()[1] for line in f if not line.startswith('native ')} | {'plpgsql'}


class Extensions(ServerCase):
    seconds = 120

    def test_what_is_offered_is_what_is_linked(self):
        c = self.connect()
        self.assertEqual(set(c.query('SELECT name FROM pg_available_extensions').column), linked())
        self.assertEqual(linked(), set(REFUSED), 'an extension without an entry in REFUSED')

    def test_each_is_created_and_recovers_from_an_error_of_its_own(self):
        for name, (bad, state) in sorted(REFUSED.items()):
            with self.subTest(extension=name), self.server.connect(f'postgres@e-{name}') as c:
                c.query(f'CREATE EXTENSION IF NOT EXISTS "{name}" CASCADE')
                # raised and reported
                with self.assertRaises(PgError) as caught:
                    c.query_all(bad)
                self.assertEqual(caught.exception.sqlstate, state, caught.exception)
                self.assertEqual(c.query('SELECT 6 * 7').value, '42')
                # raised and caught in the session
                quoted = bad.replace("'", "''")
                c.query(f"DO $do$ BEGIN EXECUTE '{quoted}'; EXCEPTION WHEN OTHERS THEN CREATE TABLE caught AS SELECT SQLSTATE AS s; END $do$"
                        if '$$' not in bad else 'CREATE TABLE caught AS SELECT \'P0001\' AS s')
                self.assertEqual(c.query('SELECT s FROM caught').value, state)
                c.query(f'DROP EXTENSION "{name}" CASCADE')

    def test_every_version_can_be_created_and_updated(self):
        c = self.connect()
        versions = c.query("""SELECT v.name, v.version, e.default_version FROM pg_available_extension_versions v JOIN pg_available_extensions e
            USING (name) WHERE v.version <> e.default_version ORDER BY 1, 2""").rows
        self.assertGreater(len(versions), 40)
        paths = {(name, source, target) for name in {v[0] for v in versions}
                 for source, target in c.query(f"SELECT source, target FROM pg_extension_update_paths('{name}') WHERE path IS NOT NULL").rows}
        for name, version, default in versions:
            with self.subTest(extension=name, version=version):
                c.query(f'CREATE EXTENSION "{name}" VERSION "{version}" CASCADE')
                if (name, version, default) in paths:
                    c.query(f'ALTER EXTENSION "{name}" UPDATE')
                    self.assertEqual(c.query(f"SELECT extversion FROM pg_extension WHERE extname = '{name}'").value, default)
                c.query(f'DROP EXTENSION "{name}" CASCADE')
                c.query('DROP EXTENSION IF EXISTS cube CASCADE')

    def test_cascade_brings_what_is_required(self):
        c = self.connect()
        with sql_error(self, '42704'):
            c.query('CREATE EXTENSION earthdistance')
        c.query('CREATE EXTENSION earthdistance CASCADE')
        self.assertEqual(c.query("SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension").value, 'cube earthdistance plpgsql')

    def test_load(self):
        c = self.connect()
        for name in LOADABLE:
            c.query(f"LOAD '{name}'")
        c.query("LOAD '$libdir/hstore'")
        c.query("SET auto_explain.log_min_duration = 0")
        c.query('SET client_min_messages = log')
        self.assertEqual(c.query('SELECT 1').value, '1')

    def test_what_is_not_there(self):
        c = self.connect()
        c.query('CREATE EXTENSION hstore')
        for sql, state in (
                ('CREATE EXTENSION nothing', '0A000'),
                ('CREATE EXTENSION postgres_fdw', '0A000'),
                ("CREATE EXTENSION citext VERSION '99'", '22023'),
                ("ALTER EXTENSION hstore UPDATE TO '99'", '22023'),
                ('CREATE EXTENSION hstore', '42710'),
                ('CREATE EXTENSION "../hstore"', '22023'),
                ("LOAD 'nothing'", '58P01'),
                ("LOAD '/nowhere/nothing.so'", '58P01'),
                ("LOAD '/data/PG_VERSION'", 'XX000'),
                ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS '$libdir/hstore', 'nothing'", '42883'),
                ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/nowhere/lib.so', 'f'", '58P01'),
        ):
            with self.subTest(sql=sql), sql_error(self, state):
                c.query(sql)
        self.assertEqual(c.query("SELECT 'a=>1'::hstore -> 'a'").value, '1')

    def test_a_control_file_that_asks_for_a_library_that_is_missing(self):
        c = self.connect()
        for name, text in (('ghost.control', "module_pathname = '$libdir/ghost'\ndefault_version = '1'\n"),
                           ('ghost--1.sql', "CREATE FUNCTION ghost() RETURNS int LANGUAGE c AS 'MODULE_PATHNAME';\n")):
            made = c.query(f"SELECT lo_from_bytea(0, convert_to($t${text}$t$, 'UTF8'))").value
            c.query(f"SELECT lo_export({made}, '/pgcell/share/postgresql/extension/{name}')")
        with sql_error(self, '58P01'):
            c.query('CREATE EXTENSION ghost')
        self.assertEqual(c.query('SELECT 1').value, '1')

    def test_a_session_that_uses_extensions_ends_and_the_next_starts_without_them(self):
        with self.server.connect(self.database) as c:
            c.query('CREATE EXTENSION pg_trgm')
            self.assertEqual(c.query("SELECT show_limit()::text").value, '0.3')
            c.query('SET pg_trgm.similarity_threshold = 0.9')
        with self.server.connect(self.database) as c:
            self.assertEqual(c.query('SELECT show_limit()::text').value, '0.3')
            self.assertEqual(c.query("SELECT similarity('word', 'two words')::text").value, '0.36363637')

    def test_vectors(self):
        c = self.connect()
        c.query('CREATE EXTENSION vector')
        c.query("CREATE TABLE v (id int, e vector(3)); INSERT INTO v SELECT i, ARRAY[sin(i), cos(i), i % 7] FROM generate_series(1, 2000) i")
        nearest = "SELECT string_agg(id::text, ' ') FROM (SELECT id FROM v ORDER BY e <-> '[0.5,0.5,3]' LIMIT 5) s"
        exact = c.query(nearest).value
        c.query('CREATE INDEX ON v USING hnsw (e vector_l2_ops)')
        c.query('SET enable_seqscan = off')
        self.assertIn('v_e_idx', str(c.query(f'EXPLAIN {nearest}').rows))
        self.assertEqual(c.query(nearest).value, exact)

    def test_distances_are_those_of_javascript(self):
        """SIMD adds up in the same order in every host. tests/extensions/cases.js has the same sum."""
        c = self.connect()
        c.query('CREATE EXTENSION vector')
        c.query('CREATE TABLE s AS SELECT i, (SELECT array_agg(((i * j) % 97) / 97.0::real ORDER BY j) FROM generate_series(1, 101) j)::vector(101) e '
                'FROM generate_series(1, 50) i')
        self.assertEqual(c.query("SELECT md5(string_agg((a.e <-> b.e)::text || (a.e <=> b.e)::text || (a.e <#> b.e)::text || (a.e <+> b.e)::text, ',' "
                                 'ORDER BY a.i, b.i)) FROM s a, s b').value, 'b503ee3db20b72e15369b7ca26739001')


class Preloaded(OwnServerCase):
    def test_shared_preload_libraries(self):
        """They are the image's: its PostgreSQL has started."""
        with tempfile.TemporaryDirectory() as folder:
            image = os.path.join(folder, 'preload.img')
            conf = os.path.join(folder, 'postgresql.conf')
            shutil.copy(os.path.join(BUILD, 'guest', 'cluster', 'data', 'postgresql.conf'), conf)
            with open(conf, 'a', encoding='utf-8') as f:
                f.write("shared_preload_libraries = 'pg_stat_statements, auto_explain'\n")
            subprocess.run([os.path.join(ROOT, 'guest', 'image', 'build.sh'), BUILD, image], check=True, stdout=subprocess.DEVNULL,
                           env=dict(os.environ, PGCELL_IMAGE_EXTRA=f'/data/postgresql.conf={conf}'))
            server = self.serve(image=image)
            with server.connect() as c:
                self.assertEqual(c.query('SHOW shared_preload_libraries').value, 'pg_stat_statements, auto_explain')
                c.query('CREATE EXTENSION pg_stat_statements')
                c.query('SELECT 1 + 1')
                self.assertEqual(c.query("SELECT calls FROM pg_stat_statements WHERE query = 'SELECT $1 + $2'").value, '1')
            server.stop()


if __name__ == '__main__':
    unittest.main()

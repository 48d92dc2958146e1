"""What a person does with psql, over TCP and over the Unix socket."""
import base64
import hashlib
import os
import unittest

from server import PSQL, ServerCase, clean_environment, find_tool, run_program

BIG_BYTES = 50 * 1000 * 1000


class PsqlTests:
    """Run twice, see the two classes below."""

    unix = False
    seconds = 120

    def run_psql(self, script, status=0, **kwargs):
        kwargs.setdefault('unix', self.unix)
        database = kwargs.pop('database', self.database)
        outcome = self.server.psql(script, database, **kwargs)
        self.assertEqual(outcome.status, status, outcome.stderr)
        return outcome

    def values(self, script, **kwargs):
        return self.run_psql(script, **kwargs).stdout.splitlines()

    def test_100000_rows_an_index_and_aggregates(self):
        lines = self.values('''
            create table t (id int primary key, g int not null, v text);
            insert into t select i, i % 1000, 'value ' || i from generate_series(1, 100000) i;
            create index t_g on t (g);
            analyze t;
            select count(*), sum(id), avg(g)::numeric(10,2), max(v), count(distinct g) from t;
            explain (costs off) select * from t where g = 42;
            select count(*), min(id), max(id) from t where g = 42;
            select g, count(*) from t group by g having g < 2 order by g;
            ''')
        self.assertEqual(lines[0], '100000|5000050000|499.50|value 99999|1000')
        self.assertIn('t_g', '\n'.join(lines[1:-3]))
        self.assertEqual(lines[-3:], ['100|42|99042', '0|100', '1|100'])

    def test_plpgsql_exception_block(self):
        lines = self.values('''
            create table log (line text);
            create function divide(a int, b int) returns text language plpgsql as $$
            begin
                insert into log values ('lost: the block is a subtransaction');
                return (a / b)::text;
            exception
                when division_by_zero then
                    insert into log values ('kept');
                    return 'caught ' || sqlstate || ': ' || sqlerrm;
            end $$;
            select divide(10, 2);
            select divide(1, 0);
            select line from log;
            ''')
        self.assertEqual(lines, ['5', 'caught 22012: division by zero', 'lost: the block is a subtransaction', 'kept'])

    def test_error_inside_a_transaction_and_rollback(self):
        outcome = self.run_psql('''
            create table t (i int);
            begin;
            insert into t values (1);
            select 1/0;
            select 'not run';
            rollback;
            select count(*) from t;
            begin;
            insert into t values (2);
            savepoint s;
            select 1/0;
            rollback to s;
            insert into t values (3);
            commit;
            select sum(i) from t;
            ''', stop=False)
        self.assertEqual(outcome.stdout.splitlines(), ['0', '5'])
        self.assertEqual(outcome.stderr.count('ERROR:  division by zero'), 2)
        self.assertEqual(outcome.stderr.count('current transaction is aborted, commands ignored until end'), 1)

    def test_an_error_gives_exit_status_3(self):
        outcome = self.run_psql('select 1;\nselect nonsense;\nselect 2;\n', status=3)
        self.assertEqual(outcome.stdout.splitlines(), ['1'])
        self.assertIn('column "nonsense" does not exist', outcome.stderr)
        self.assertIn('LINE 1: select nonsense;', outcome.stderr)

    def test_full_text_search(self):
        lines = self.values('''
            create table doc (id serial primary key, body text,
                              tsv tsvector generated always as (to_tsvector('english', body)) stored);
            insert into doc (body) select 'filler text number ' || i from generate_series(1, 5000) i;
            insert into doc (body) values ('The quick brown foxes jumped over the lazy dogs'), ('A fox ran');
            create index doc_tsv on doc using gin (tsv);
            analyze doc;
            select to_tsvector('english', 'The quick brown foxes jumped over the lazy dogs');
            select body from doc where tsv @@ to_tsquery('english', 'fox & jump');
            select count(*) from doc where tsv @@ plainto_tsquery('english', 'foxes');
            select ts_headline('english', body, to_tsquery('english', 'dog')) from doc where tsv @@ 'dog'::tsquery;
            set enable_seqscan = off;
            explain (costs off) select id from doc where tsv @@ to_tsquery('english', 'fox');
            ''')
        self.assertEqual(lines[0], "'brown':3 'dog':9 'fox':4 'jump':5 'lazi':8 'quick':2")
        self.assertEqual(lines[1], 'The quick brown foxes jumped over the lazy dogs')
        self.assertEqual(lines[2], '2')
        self.assertEqual(lines[3], 'The quick brown foxes jumped over the lazy <b>dogs</b>')
        self.assertIn('doc_tsv', '\n'.join(lines[4:]))

    def big_text(self):
        """50 MB that do not compress, in a file."""
        text = base64.b64encode(os.urandom(BIG_BYTES * 3 // 4))
        path = os.path.join(self.server.folder, f'big-{self.cell}-{self.unix}')
        with open(path, 'wb') as f:
            f.write(text)
        self.addCleanup(os.unlink, path)
        return path, hashlib.md5(text).hexdigest()

    def test_50_mb_text_in_and_out_by_statement(self):
        path, md5 = self.big_text()
        lines = self.values(f"""
            create table big (id int, v text);
            \\set content `cat {path}`
            insert into big values (1, :'content');
            select length(v), md5(v) from big;
            """)
        self.assertEqual(lines, [f'{BIG_BYTES}|{md5}'])
        out = self.run_psql('select v from big;', text=False).stdout
        self.assertEqual(hashlib.md5(out.rstrip(b'\n')).hexdigest(), md5)

    def test_50_mb_text_in_and_out_by_copy(self):
        path, md5 = self.big_text()
        out_path = path + '-out'
        lines = self.values(f"""
            create table big (v text);
            \\copy big from '{path}'
            select length(v), md5(v) from big;
            \\copy big to '{out_path}'
            """)
        self.addCleanup(os.unlink, out_path)
        self.assertEqual(lines, [f'{BIG_BYTES}|{md5}'])
        with open(out_path, 'rb') as f:
            self.assertEqual(hashlib.md5(f.read().rstrip(b'\n')).hexdigest(), md5)

    def test_copy_from_a_file_and_back(self):
        path = os.path.join(self.server.folder, f'rows-{self.cell}-{self.unix}.csv')
        rows = ''.join(f'{i},"row ""{i}"", with a comma"\n' for i in range(20000))
        with open(path, 'w', encoding='utf-8') as f:
            f.write(rows)
        self.addCleanup(os.unlink, path)
        outcome = self.run_psql(f"""
            create table t (i int, v text);
            \\copy t from '{path}' (format csv)
            \\copy t to stdout (format csv, force_quote (v))
            """)
        self.assertEqual(outcome.stdout, rows)

    def test_describing_commands(self):
        outcome = self.run_psql('''
            create table customer (id int primary key, name text not null default 'nobody', born date);
            create index on customer (name);
            create view adults as select * from customer where born < '2000-01-01';
            comment on table customer is 'who buys';
            \\pset format aligned
            \\pset tuples_only off
            \\d customer
            \\dt+
            \\d
            \\l
            \\du
            \\df pg_catalog.now
            \\dn
            \\conninfo
            ''')
        text = outcome.stdout
        for expected in ('Table "public.customer"', 'integer', "'nobody'::text", '"customer_pkey" PRIMARY KEY, btree (id)',
                         '"customer_name_idx" btree (name)', 'who buys', 'adults', 'template0', 'template1', 'UTF8', 'C.UTF-8',
                         'builtin', 'Superuser', 'timestamp with time zone', 'public'):
            self.assertIn(expected, text)
        self.assertEqual(outcome.stderr, '')

    def test_a_multi_line_session_with_variables(self):
        lines = self.values('''
            create table t as select generate_series(1, 5) as i;
            select sum(i) as total from t \\gset
            \\echo total is :total
            \\if :{?total}
            select :total * 2;
            \\endif
            select format('insert into t values (%s)', i + 5) from t where i < 3 \\gexec
            select count(*) from t;
            select i from t where i = $1 \\bind 6 \\g
            ''')
        self.assertEqual(lines, ['total is 15', '30', '7', '6'])

    def test_connecting_to_another_cell_from_within(self):
        lines = self.values(f'''
            create table t as select 'first' as v;
            \\connect postgres@{self.cell}-2
            create table t as select 'second' as v;
            select v from t;
            ''')
        self.assertEqual(lines[-1], 'second')
        self.assertEqual(self.values('select v from t'), ['first'])


class PsqlOverTcp(PsqlTests, ServerCase):
    unix = False


class PsqlOverUnixSocket(PsqlTests, ServerCase):
    unix = True


class DumpAndRestore(ServerCase):
    seconds = 120

    SCHEMA = '''
        create table author (id serial primary key, name text unique not null);
        create table book (id serial primary key, author int references author, title text, tags text[], doc jsonb,
                           price numeric(10,2) check (price > 0), published timestamptz default '2020-01-01');
        insert into author (name) select 'author ' || i from generate_series(1, 100) i;
        insert into book (author, title, tags, doc, price)
            select i % 100 + 1, E'title\\t' || i, array['a', i::text], jsonb_build_object('n', i), i from generate_series(1, 5000) i;
        create index on book using gin (doc);
        create view cheap as select * from book where price < 100;
        create function twice(int) returns int language sql immutable as 'select $1 * 2';
        create function audit() returns trigger language plpgsql as $$ begin new.title := trim(new.title); return new; end $$;
        create trigger audit before insert on book for each row execute function audit();
        create type mood as enum ('sad', 'happy');
        create sequence s start 42;
        create materialized view totals as select author, sum(price) from book group by author;
        '''
    SUMMARY = '''
        select count(*), sum(price), md5(string_agg(b::text, ',' order by id)) from book b;
        select count(*), md5(string_agg(a::text, ',' order by id)) from author a;
        select count(*) from cheap;
        select twice(21), nextval('s'), 'happy'::mood;
        select count(*) from pg_index where indrelid = 'book'::regclass;
        select sum(sum) from totals;
        '''

    def setUp(self):
        super().setUp()
        self.pg_dump = find_tool('pg_dump')
        if self.pg_dump is None:
            self.skipTest('pg_dump is not installed')

    def psql(self, script, database):
        outcome = self.server.psql(script, database, timeout=40)
        self.assertEqual(outcome.status, 0, outcome.stderr)
        return outcome.stdout

    def test_pg_dump_restores_into_another_cell(self):
        other = f'postgres@{self.cell}-copy'
        self.psql(self.SCHEMA, self.database)
        dump = run_program([self.pg_dump, '-d', self.server.conninfo(self.database)], timeout=60, env=clean_environment())
        if 'server version mismatch' in dump.stderr:
            self.skipTest('pg_dump is older than the server')
        self.assertEqual(dump.status, 0, dump.stderr)
        self.psql(dump.stdout, other)
        expected = self.psql(self.SUMMARY, self.database)
        self.assertEqual(self.psql(self.SUMMARY, other), expected)
        self.assertTrue(expected.startswith('5000|12502500.00|'), expected)

    def test_pg_restore_reads_a_custom_format_dump(self):
        pg_restore = find_tool('pg_restore')
        other = f'postgres@{self.cell}-copy'
        path = os.path.join(self.server.folder, 'dump')
        self.psql(self.SCHEMA, self.database)
        dump = run_program([self.pg_dump, '-Fc', '-f', path, '-d', self.server.conninfo(self.database)], timeout=60,
                           env=clean_environment())
        if 'server version mismatch' in dump.stderr:
            self.skipTest('pg_dump is older than the server')
        self.assertEqual(dump.status, 0, dump.stderr)
        restore = run_program([pg_restore, '--exit-on-error', '-d', self.server.conninfo(other), path], timeout=60,
                              env=clean_environment())
        self.assertEqual(restore.status, 0, restore.stderr)
        self.assertEqual(self.psql(self.SUMMARY, other), self.psql(self.SUMMARY, self.database))


if __name__ == '__main__':
    unittest.main()

"""What the two servers are asked to do.

A workload is made ready once, then runs as often as wanted; each run returns its seconds and a text with all that a client saw of it,
which has to be the same on both servers. Contents are computed, never random, so that it can be.
"""
import os
import re
import subprocess
import tempfile

PGBENCH_SECONDS = 180
TEXT = ("(array['lorem','ipsum','dolor','postgres','cell','vacuum','index','query','walrus','elephant'])[1 + (g * {0}) % 10]")
WORDS = " || ' ' || ".join(TEXT.format(n) for n in (1, 3, 7, 11, 13, 17, 19, 23))


class Sql:
    """`run` is timed, as one simple query unless it is a function of (Connection); `before` and `check` are not."""

    def __init__(self, name, what, run, setup=(), before=(), check=None):
        self.name, self.what, self.run, self.setup, self.before, self.check = name, what, run, setup, before, check

    def open(self, server):
        # a private cell that ends with the connection; the native server has a database of this name
        connection = server.connect('postgres@new' if server.name == 'pgcell' else 'bench')
        try:
            for sql in self.setup:
                connection.query(sql)
        except BaseException:
            connection.close()
            raise
        return connection

    def once(self, connection):
        for sql in self.before:
            connection.query(sql)
        seconds, answer = connection.timed(self.run) if isinstance(self.run, str) else self.run(connection)
        seen = answer.digest()
        if self.check:
            seen += connection.query(self.check).digest()
        return seconds, seen

    def plan(self, connection):
        """How the planner goes about it, if it is a query."""
        if not isinstance(self.run, str) or not self.run.lstrip().upper().startswith(('SELECT', 'WITH')):
            return None
        return '\n'.join(row[0] for row in connection.query('EXPLAIN (COSTS OFF) ' + self.run).rows)

    def close(self, connection):
        connection.close()


class Pgbench:
    """Seconds are transactions divided by the rate that pgbench reports, connecting not counted."""

    def __init__(self, name, what, pgbench, scale, transactions, options, script=None, check=None):
        self.name, self.what, self.pgbench, self.scale = name, what, pgbench, scale
        self.transactions, self.options, self.script, self.check = transactions, options, script, check

    def open(self, server):
        database = f'postgres@{self.name}' if server.name == 'pgcell' else 'bench'
        if self.scale:
            self.run(server, database, '-i', '-q', '-s', str(self.scale))
        return server, database

    def run(self, server, database, *options):
        done = subprocess.run([self.pgbench, '-h', server.directory, '-p', server.port, '-U', 'postgres', *options, database],
                              capture_output=True, text=True, timeout=PGBENCH_SECONDS, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f'pgbench {" ".join(options)}: {done.stderr.strip()[-500:]}')
        return done.stdout

    def once(self, opened):
        server, database = opened
        # the seed makes both servers do the same
        options = ['-n', '-c', '1', '-t', str(self.transactions), '--random-seed=42', *self.options]
        with tempfile.NamedTemporaryFile('w', suffix='.sql') as script:
            if self.script:
                script.write(self.script)
                script.flush()
                options += ['-f', script.name]
            text = self.run(server, database, *options)
        rate = float(re.search(r'^tps = ([\d.]+) ', text, re.M)[1])
        seen = re.search(r'^number of transactions actually processed: .*$', text, re.M)[0]
        if self.check:
            connection = server.connect(database)
            try:
                seen += connection.query(self.check).digest()
            finally:
                connection.close()
        return self.transactions / rate, seen

    def plan(self, _):
        return None

    def close(self, opened):
        pass


def table(rows):
    """A table to read: `rows` rows with an integer of few and one of many values, a text and a numeric."""
    return [f'CREATE TABLE big AS SELECT g AS id, (g::int8 * 7919 % 1000)::int AS few, (g::int8 * 104729 % 1000003)::int AS many,'
            f" md5(g::text) AS txt, (g % 10007)::numeric / 7 AS num FROM generate_series(1, {rows}) g", 'VACUUM ANALYZE big']


def texts(rows):
    return [f'CREATE TABLE texts AS SELECT g AS id, {WORDS} AS body FROM generate_series(1, {rows}) g', 'VACUUM ANALYZE texts']


def copy_data(rows):
    return ''.join(f'{i}\t{i * 7919 % 1000}\trow number {i} of the copy\n' for i in range(1, rows + 1)).encode()


def make_workloads(build, factor):
    """factor: 1 for the sizes that the names tell, less for a quick run."""
    pgbench = os.path.join(build, 'native', 'install', 'bin', 'pgbench')

    def n(count):
        return max(1, int(count * factor))

    accounts = 'SELECT count(*), sum(abalance) FROM pgbench_accounts'
    balances = ('SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), '
                '(SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)')
    few_inserts = [f"INSERT INTO t VALUES ({i}, 'row number {i}', {i * 7919 % 1000})" for i in range(n(20_000))]
    data = copy_data(n(300_000))
    three = 'CREATE TABLE t (a int, b text, c int)'
    sum_of_t = 'SELECT count(*), sum(a::int8), sum(c::int8), sum(length(b)) FROM t'

    return [
        Pgbench('select-1', f'SELECT 1, {n(5_000)} round trips', pgbench, 0, n(5_000), ['-M', 'simple'], script='SELECT 1;\n'),
        Pgbench('pgbench-select-simple', f'pgbench -S, simple protocol, {n(10_000)} transactions', pgbench, 5, n(10_000),
                ['-S', '-M', 'simple'], check=accounts),
        Pgbench('pgbench-select-prepared', f'pgbench -S, prepared, {n(10_000)} transactions', pgbench, 5, n(10_000),
                ['-S', '-M', 'prepared'], check=accounts),
        Pgbench('pgbench-tpcb-simple', f'pgbench TPC-B-like, simple protocol, {n(2_000)} transactions', pgbench, 5, n(2_000),
                ['-M', 'simple'], check=balances),
        Pgbench('pgbench-tpcb-prepared', f'pgbench TPC-B-like, prepared, {n(2_000)} transactions', pgbench, 5, n(2_000),
                ['-M', 'prepared'], check=balances),
        Sql('insert-rows', f'{n(20_000)} INSERTs of one row in one transaction',
            lambda c: c.timed_pipeline(['BEGIN', *few_inserts, 'COMMIT']),
            setup=[three], before=['TRUNCATE t'], check=sum_of_t),
        Sql('insert-bulk', f'INSERT … SELECT of {n(300_000)} rows',
            f"INSERT INTO t SELECT g, md5(g::text), g % 1000 FROM generate_series(1, {n(300_000)}) g",
            setup=[three], before=['TRUNCATE t'], check=sum_of_t),
        Sql('create-index', f'two B-trees (int, text) on {n(300_000)} rows',
            'CREATE INDEX i_many ON big (many); CREATE INDEX i_txt ON big (txt)',
            setup=table(n(300_000)), before=['DROP INDEX IF EXISTS i_many, i_txt'],
            check="SELECT pg_relation_size('i_many') > 0, pg_relation_size('i_txt') > 0"),
        Sql('update', f'UPDATE of {n(100_000)} rows with a primary key',
            "UPDATE t SET c = c + 1, b = b || '!'",
            setup=['CREATE TABLE t (a int PRIMARY KEY, b text, c int)'],
            before=['TRUNCATE t', f"INSERT INTO t SELECT g, 'row ' || g, g % 1000 FROM generate_series(1, {n(100_000)}) g"],
            check=sum_of_t),
        Sql('copy-in', f'COPY FROM STDIN of {n(300_000)} rows', lambda c: c.timed_copy_in('COPY t FROM STDIN', data),
            setup=['CREATE TABLE t (a int, c int, b text)'], before=['TRUNCATE t'], check=sum_of_t),
        Sql('copy-out', f'COPY TO STDOUT of {n(300_000)} rows', 'COPY big TO STDOUT', setup=table(n(300_000))),
        Sql('aggregate', f'GROUP BY over {n(500_000)} rows, 1,000 groups',
            'SELECT few, count(*), sum(many), min(txt), max(id), avg(many) FROM big GROUP BY few ORDER BY few',
            setup=table(n(500_000))),
        Sql('hash-join', f'hash join of {n(500_000)} with {n(100_000)} rows',
            f'SELECT count(*), sum(a.many + b.few), max(b.txt) FROM big a JOIN (SELECT * FROM big WHERE id <= {n(100_000)}) b'
            ' ON a.many = b.id',
            setup=table(n(500_000))),
        Sql('sort', f'ORDER BY text, int over {n(500_000)} rows',
            f'SELECT txt, id FROM big ORDER BY txt, id OFFSET {n(500_000) - 10}', setup=table(n(500_000))),
        Sql('window', f'window functions over {n(200_000)} rows',
            'SELECT sum(r), sum(l), max(s) FROM (SELECT rank() OVER w AS r, lag(many) OVER w AS l, sum(many) OVER w AS s FROM big'
            ' WINDOW w AS (PARTITION BY few ORDER BY many, id)) x',
            setup=table(n(200_000))),
        Sql('like-regexp', f'LIKE, ILIKE and regular expressions over {n(100_000)} texts',
            "SELECT count(*) FILTER (WHERE body LIKE '%walrus%query%'), count(*) FILTER (WHERE body ILIKE '%ELEPHANT cell%'),"
            " count(*) FILTER (WHERE body ~ 'post(gres|man) [a-d]\\w+ .*x$'), sum(length(regexp_replace(body, 'o.', '*', 'g')))"
            ' FROM texts',
            setup=texts(n(100_000))),
        Sql('full-text', f'to_tsvector and ranking of {n(20_000)} texts',
            "SELECT id, ts_rank(to_tsvector('english', body), q)::numeric(8, 5) AS rank FROM texts,"
            " to_tsquery('english', 'walrus & (query | indexes)') q WHERE to_tsvector('english', body) @@ q"
            ' ORDER BY rank DESC, id LIMIT 20',
            setup=texts(n(20_000))),
        Sql('jsonb', f'jsonb made, taken apart and aggregated, {n(100_000)} rows',
            "SELECT doc->>'k' AS k, count(*), sum((doc->'v'->>1)::int), jsonb_agg(doc->'v'->0 ORDER BY (doc->>'i')::int)->0"
            " FROM (SELECT jsonb_build_object('i', id, 'k', few % 50, 'v', jsonb_build_array(txt, many)) AS doc FROM big) s"
            ' GROUP BY 1 ORDER BY 1',
            setup=table(n(100_000))),
        Sql('plpgsql', f'PL/pgSQL loop of {n(500_000)} rounds',
            f'SELECT rounds({n(500_000)})',
            setup=['CREATE FUNCTION rounds(n int) RETURNS int8 LANGUAGE plpgsql AS $$ DECLARE s int8 := 0; BEGIN FOR i IN 1..n LOOP'
                   ' IF i % 3 = 0 THEN s := s + i; ELSE s := s # i; END IF; END LOOP; RETURN s; END $$']),
        Sql('recursive', f'recursive CTE, {n(200_000)} steps',
            'WITH RECURSIVE r(i, v) AS (SELECT 1, 1::int8 UNION ALL SELECT i + 1, (v * 1103515245 + 12345) % 2147483648 FROM r'
            f' WHERE i < {n(200_000)}) SELECT count(*), sum(v), max(v) FROM r'),
        Sql('numeric', f'numeric arithmetic, {n(200_000)} rows',
            'SELECT sum(num * num / 3.7), avg(num ^ 2), sum(sqrt(num)), max(round(ln(num + 1), 12)), stddev(num) FROM big',
            setup=table(n(200_000))),
        Sql('ddl', f'{n(200)} tables with an index made and dropped',
            'DO $$ BEGIN ' + f'FOR i IN 1..{n(200)} LOOP '
            "EXECUTE format('CREATE TABLE d%s (a int PRIMARY KEY, b text DEFAULT ''x'')', i); END LOOP; "
            f"FOR i IN 1..{n(200)} LOOP EXECUTE format('DROP TABLE d%s', i); END LOOP; END $$",
            check="SELECT count(*) FROM pg_class WHERE relname ~ '^d\\d+$'"),
    ]

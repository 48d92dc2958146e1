#!/usr/bin/python3
"""Measures pgvector: building an HNSW index and searching in it, in pgcell natively and in Node, beside native PostgreSQL and PGlite.

usage: vectors.py [--build DIR] [--vectors N] [--dimensions N] [--rounds N] [--only NAME]... [--json FILE]

The same statements everywhere, in turns (one round: each contestant once, a new server or process every time). Vectors are made by SQL from one
seed, so that they are the same. What is told is the time by the clock and the CPU time of the process that worked: by the latter, others at
work on the machine count less. The exact search's answer must be the same everywhere. PGlite and its vector extension are taken from the folder
in $PGLITE (with node_modules/@electric-sql/pglite and pglite-pgvector).
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import servers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
NODE = os.path.join(ROOT, 'tests', 'conformance', 'node_modules', 'node-24', 'bin', 'node')

MEASURES = ('insert', 'build', 'search', 'exact')


def statements(vectors, dimensions):
    """(what is measured or None, SQL)"""
    search = ("SELECT sum(s) FROM (SELECT (SELECT sum(id) FROM (SELECT id FROM items o ORDER BY o.e <-> q.e LIMIT 10) x) s"
              ' FROM items q WHERE id % {} = 0) y')
    return (
        (None, 'CREATE EXTENSION vector'),
        (None, 'SELECT setseed(0.5)'),
        (None, f'CREATE TABLE items (id int PRIMARY KEY, e vector({dimensions}))'),
        ('insert', f'INSERT INTO items SELECT i, (SELECT array_agg((random() - 0.5)::real) FROM generate_series(1, {dimensions}) WHERE i = i) '
                   f'FROM generate_series(1, {vectors}) i'),
        (None, "SET maintenance_work_mem = '128MB'"),
        (None, 'SET max_parallel_maintenance_workers = 0'),
        (None, 'SET max_parallel_workers_per_gather = 0'),
        ('build', 'CREATE INDEX ON items USING hnsw (e vector_l2_ops)'),
        ('search', search.format(vectors // 500)),
        (None, 'SET enable_indexscan = off'),
        ('exact', search.format(vectors // 20)),
    )


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def run_server(server, todo):
    result = {}
    with server:
        connection = server.connect('postgres', timeout_s=1200)
        pid = int(connection.query('SELECT pg_backend_pid()').rows[0][0])
        for name, sql in todo:
            cpu, begin = cpu_seconds(pid), time.perf_counter()
            rows = connection.query(sql).rows
            if name:
                result[name] = {'ms': (time.perf_counter() - begin) * 1000, 'cpu_ms': (cpu_seconds(pid) - cpu) * 1000}
            if name == 'exact':
                result['answer'] = rows[0][0]
        connection.close()
    return result


def run_node(which, todo):
    done = subprocess.run([NODE, os.path.join(HERE, 'pglite', 'vectors.js'), which], input=json.dumps(todo), capture_output=True, text=True,
                          timeout=2400, check=False)
    if done.returncode != 0:
        sys.exit(f'{which}: {done.stderr[-2000:]}')
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--vectors', type=int, default=20000)
    parser.add_argument('--dimensions', type=int, default=384)
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--only', action='append')
    parser.add_argument('--json')
    args = parser.parse_args()
    todo = statements(args.vectors, args.dimensions)
    contestants = {
        'native': lambda: run_server(servers.Native(args.build), todo),
        'pgcell': lambda: run_server(servers.Pgcell(args.build), todo),
        'pgcell in Node': lambda: run_node('pgcell', todo),
        'PGlite in Node': lambda: run_node('pglite', todo),
    }
    chosen = [name for name in contestants if not args.only or name in args.only]
    results = {name: [] for name in chosen}
    for number in range(args.rounds):
        for name in chosen if number % 2 == 0 else reversed(chosen):
            results[name].append(contestants[name]())
            print(f'{name}: ' + ', '.join(f'{m} {results[name][-1][m]["ms"] / 1000:.1f} s (CPU {results[name][-1][m]["cpu_ms"] / 1000:.1f})' for m in MEASURES), flush=True)
    answers = {result['answer'] for runs in results.values() for result in runs}
    print(f'{args.vectors} vectors of {args.dimensions}; medians of CPU seconds, and times the first')
    for measure in MEASURES:
        medians = {name: statistics.median(run[measure]['cpu_ms'] for run in runs) for name, runs in results.items()}
        base = medians[chosen[0]]
        print(f'  {measure:7}' + ''.join(f' {name} {value / 1000:.2f} ({value / base:.2f})' for name, value in medians.items()))
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as f:
            json.dump(results, f, indent=1)
    if len(answers) != 1:
        sys.exit(f'the answers differ: {answers}')


if __name__ == '__main__':
    main()

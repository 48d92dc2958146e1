#!/usr/bin/python3
"""Measures pgcell beside native PostgreSQL 18 of the same source and settings.

Both keep their data in memory and serve one client over a Unix socket; what is compared is measured in turns (A B, B A, A B …), so
that a machine that gets slower or faster for a while does it to both. Each answer is compared, too: a row whose answers differ, or
that fails, fails the run.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import traceback

import report
import servers
import wire
import workloads

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def ms(seconds):
    return seconds * 1000


def spread(samples_s):
    """Milliseconds: median and 90th percentile."""
    ordered = sorted(samples_s)
    return {'median_ms': round(ms(statistics.median(ordered)), 3),
            'p90_ms': round(ms(ordered[min(len(ordered) - 1, int(len(ordered) * 0.9))]), 3), 'samples': len(ordered)}


def first_row(server, database):
    """Connects and asks for a row: (seconds, connection)."""
    begin = time.perf_counter()
    connection = server.connect(database, timeout_s=30)
    rows = connection.query('SELECT 1').rows
    seconds = time.perf_counter() - begin
    if rows != [['1']]:
        connection.close()
        raise RuntimeError(f'SELECT 1 answered {rows}')
    return seconds, connection


def connect_times(server, databases):
    samples = []
    for database in databases:
        seconds, connection = first_row(server, database)
        samples.append(seconds)
        # close() waits until the server has closed its end: the next one does not wait for this session's end
        connection.close()
    return spread(samples)


def measure_start(args):
    """From exec of the server to its first row."""
    def once():
        with servers.Pgcell(args.build) as server:
            _, connection = first_row(server, 'postgres')
            seconds = time.perf_counter() - server.started_at
            connection.close()
            return seconds

    once()
    yield 'start', 'pgcell', spread([once() for _ in range(args.starts)])

    samples = []
    for _ in range(2 if args.quick else 5):
        begin = time.perf_counter()
        with servers.Native(args.build) as server:
            _, connection = first_row(server, 'postgres')
            samples.append(time.perf_counter() - begin)
            connection.close()
    yield 'start', 'native with initdb', spread(samples)


def measure_connections(args):
    count = args.connections
    with servers.Pgcell(args.build) as server:
        connect_times(server, [f'postgres@warm{i}' for i in range(5)])
        yield 'connect', 'pgcell: new cell', connect_times(server, [f'postgres@c{i}' for i in range(count)])
        yield 'connect', 'pgcell: private cell (@new)', connect_times(server, ['postgres@new'] * count)
        yield 'connect', 'pgcell: existing cell', connect_times(server, ['postgres@c0'] * count)
    with servers.Native(args.build) as server:
        connect_times(server, ['postgres'] * 5)
        yield 'connect', 'native: existing database', connect_times(server, ['postgres'] * count)
        samples = []
        admin = server.connect('postgres')
        for i in range(min(count, 20)):
            begin = time.perf_counter()
            admin.query(f'CREATE DATABASE c{i}')
            _, connection = first_row(server, f'c{i}')
            samples.append(time.perf_counter() - begin)
            connection.close()
        admin.close()
        yield 'connect', 'native: CREATE DATABASE and connect', spread(samples)


def measure_memory(args):
    """What one more idle session after SELECT 1 weighs."""
    def weigh(server, databases):
        _, connection = first_row(server, databases[0])
        connection.close()
        time.sleep(1)
        before, open_connections = servers.memory_kib(server.process.pid), []
        try:
            for database in databases:
                open_connections.append(first_row(server, database)[1])
            time.sleep(1)
            after = servers.memory_kib(server.process.pid)
        finally:
            for connection in open_connections:
                connection.close()
        result = {f'{key}_mib': round((after[key] - before[key]) / 1024 / len(databases), 3)
                  for key in ('pss', 'pss_private', 'pss_shmem', 'page_tables')}
        result['processes'] = round((after['processes'] - before['processes']) / len(databases), 2)
        result['server_pss_mib'] = round(before['pss'] / 1024, 1)
        result['samples'] = len(databases)
        return result

    with servers.Pgcell(args.build) as server:
        yield 'memory', 'pgcell: further cell with an idle session', weigh(server, [f'postgres@m{i}' for i in range(args.cells)])
    with servers.Native(args.build) as server:
        yield 'memory', 'native: further idle session, same database', weigh(server, ['postgres'] * min(args.cells, 90))


class Contest:
    """One workload on both servers, in turns."""

    def __init__(self, workload, contestants, rounds):
        self.workload, self.contestants, self.rounds = workload, contestants, rounds

    def run(self):
        opened, times, seen, plans = {}, {}, {}, {}
        result = {'name': self.workload.name, 'what': self.workload.what, 'is_same': False}
        try:
            for server in self.contestants:
                opened[server.name] = self.workload.open(server)
                times[server.name] = []
                plans[server.name] = self.workload.plan(opened[server.name])
            for number in range(self.rounds + 1):
                for server in self.contestants if number % 2 else reversed(self.contestants):
                    seconds, text = self.workload.once(opened[server.name])
                    seen.setdefault(number, {})[server.name] = text
                    # the first round warms up
                    if number > 0:
                        times[server.name].append(seconds)
        finally:
            for connection in opened.values():
                self.workload.close(connection)
        for name, samples in times.items():
            result[name + '_ms'] = round(ms(statistics.median(samples)), 3)
            result[name + '_samples_ms'] = [round(ms(s), 3) for s in samples]
        result['ratio'] = round(statistics.median(times['pgcell']) / statistics.median(times['native']), 3)
        # what an undisturbed machine would have shown: far from the ratio of the medians, others were at work
        result['best_ratio'] = round(min(times['pgcell']) / min(times['native']), 3)
        result['is_same'] = all(len(set(texts.values())) == 1 for texts in seen.values())
        result['has_same_plan'] = len(set(plans.values())) == 1
        if not result['has_same_plan']:
            result['plans'] = plans
        return result


def prepare_native(server):
    """Workloads do not meet in one database there: each finds an empty one of the same name."""
    admin = server.connect('postgres')
    admin.query('DROP DATABASE IF EXISTS bench')
    admin.query('CREATE DATABASE bench')
    admin.close()


def measure_workloads(args):
    chosen = [w for w in workloads.make_workloads(args.build, args.factor) if not args.only or w.name in args.only]
    pgcell = native = None
    try:
        for workload in chosen:
            if pgcell is None or not pgcell.is_alive():
                pgcell = servers.Pgcell(args.build)
            if native is None or not native.is_alive():
                native = servers.Native(args.build)
            try:
                prepare_native(native)
                yield Contest(workload, [pgcell, native], args.rounds).run()
            except (OSError, EOFError, RuntimeError, wire.ServerError, subprocess.TimeoutExpired) as error:
                yield {'name': workload.name, 'what': workload.what, 'error': f'{type(error).__name__}: {error}',
                       'log': pgcell.lines[-10:]}
                # a session that hangs must not stand in the way of the next workload
                pgcell.stop()
                native.stop()
    finally:
        for server in (pgcell, native):
            if server is not None:
                server.stop()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'), help='build folder')
    parser.add_argument('--quick', action='store_true', help='half a minute to two: fewer rounds, a fifth of the rows')
    parser.add_argument('--rounds', type=int, help='rounds per workload after the warm-up (default 7; 3 if --quick)')
    parser.add_argument('--part', action='append', choices=('start', 'connect', 'memory', 'queries'), help='only this part')
    parser.add_argument('--only', action='append', metavar='WORKLOAD', help='only this workload (implies --part queries)')
    parser.add_argument('--write-docs', action='store_true', help='write docs/benchmarks.md anew')
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.factor = 0.2 if args.quick else 1
    args.starts = 10 if args.quick else 20
    args.connections = 50 if args.quick else 100
    args.cells = 100
    args.parts = ['queries'] if args.only else args.part or ['start', 'connect', 'memory', 'queries']
    if args.write_docs and (args.quick or args.only or args.part):
        parser.error('--write-docs needs the whole run')
    for needed in ('pgcell', 'pgcell.img', 'native/install/bin/postgres', 'native/install/bin/pgbench'):
        if not os.path.exists(os.path.join(args.build, needed)):
            parser.error(f'{needed} is missing in {os.path.relpath(args.build)}: run "make all peer" first')
    return args


def main():
    args = parse_arguments()
    # ended like Ctrl-C, so that the servers are
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = {'machine': report.machine(), 'versions': report.versions(args.build), 'settings': report.settings(ROOT),
               'options': {'rounds': args.rounds, 'factor': args.factor, 'quick': args.quick}, 'rows': [], 'queries': []}
    failures = 0
    for part, measure in (('start', measure_start), ('connect', measure_connections), ('memory', measure_memory)):
        if part not in args.parts:
            continue
        report.print_heading(part)
        try:
            for kind, name, values in measure(args):
                results['rows'].append({'kind': kind, 'name': name, **values})
                report.print_row(results['rows'][-1])
        except (OSError, EOFError, RuntimeError, wire.ServerError) as error:
            failures += 1
            results['rows'].append({'kind': part, 'name': part, 'error': f'{type(error).__name__}: {error}'})
            print(f'  FAILED: {error}', flush=True)
            traceback.print_exc()
    if 'queries' in args.parts:
        report.print_heading('queries')
        for row in measure_workloads(args):
            results['queries'].append(row)
            failures += 'error' in row or not row['is_same']
            report.print_query(row)
    results['machine']['load_at_end'] = round(os.getloadavg()[0], 1)
    results['geometric_mean'] = report.geometric_mean(results['queries'], 'ratio')
    results['geometric_mean_of_best'] = report.geometric_mean(results['queries'], 'best_ratio')
    results['targets'] = report.targets(results)
    report.print_targets(results)

    os.makedirs(os.path.join(args.build, 'bench'), exist_ok=True)
    with open(os.path.join(args.build, 'bench', 'results.json'), 'w', encoding='utf-8') as f:
        json.dump(results, f, indent=1)
    if failures:
        print(f'bench: {failures} rows failed or answered differently')
        return 1
    if args.write_docs:
        with open(os.path.join(ROOT, 'docs', 'benchmarks.md'), 'w', encoding='utf-8') as f:
            f.write(report.document(results))
        print('bench: docs/benchmarks.md is written')
    return 0


if __name__ == '__main__':
    sys.exit(main())

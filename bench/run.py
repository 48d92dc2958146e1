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
NODES = [os.path.join(ROOT, 'tests', 'conformance', 'node_modules', name, 'bin', 'node') for name in ('node-24', 'node-26')]
PARTS = ('start', 'connect', 'memory', 'transports', 'queries', 'pglite')

TRANSPORTS = ('imports', 'polling', 'callbacks')
# imports may lose this much to another transport
IMPORTS_RATIO_TARGET = 1.05
TRANSPORTS_HEADING = 'The three transports of the portable modules'
TRANSPORTS_METHOD = """\
All in one process of Node, one session of each module in turns, raw bytes or the package's handlers; {processes} processes for each engine,
which compile the modules in another order each. A workload is warmed up until its times do not fall any more. Times are by the
clock, median and quartiles. Ratios are of the CPU times of the same turn, so that others at work on the machine count less: median and
quartiles of all turns, then the lowest and the highest median of a process. Aimed at: imports at most 1.05 times each other one."""
TRANSPORTS_REASONS = """\
Imports copy the least. `SELECT 1` passes between JavaScript and the module four times (one call of it, two reads, of which the second
finds nothing, and a write); so it does over polling (signal, run, length, acknowledge), with two copies more in the module, and
callbacks take the table and the trampoline module on the way. PostgreSQL's own work is nearly all of the time: what is left between
the three is no more than what the place of code and memory makes from process to process, in either direction. The result leaves
PostgreSQL in some 12,450 writes of 8 KiB, which imports and callbacks show to the host where they lie; over polling nobody takes output
while the guest runs, so all of it is queued in its memory and copied twice more. COPY reads message by message over imports and
callbacks; polling has to have all input before the guest runs, in a buffer that doubles. Parsing and storing the rows is most of that
time, so there the difference is in the memory more than in the time (about 110 MiB are the table, in all three)."""


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


def quartiles(samples):
    return statistics.quantiles(samples, n=4)


def transports_row(runs):
    """One workload on one engine: the turns of all processes. Ratios are of CPU times of one turn."""
    row = {key: runs[0][key] for key in ('name', 'what', 'unit', 'engine')}
    row |= {'processes': len(runs), 'turns': sum(len(run['transports'][0]['seconds']) for run in runs), 'transports': {}}
    for transport in TRANSPORTS:
        seconds, ratios, memory_bytes = [], [], []
        for run in runs:
            of = {t['transport']: t for t in run['transports']}
            seconds += of[transport]['seconds']
            ratios.append([imports / other for imports, other in zip(of['imports']['cpuSeconds'], of[transport]['cpuSeconds'])])
            memory_bytes.append(of[transport]['memoryBytes'])
        scale = {'µs': 1e6, 'ms': 1e3}[row['unit']]
        row['transports'][transport] = {'quartiles': [round(q * scale, 3) for q in quartiles(seconds)],
                                        'imports_ratio_quartiles': [round(q, 4) for q in quartiles(sum(ratios, []))],
                                        'imports_ratio_of_processes': [round(statistics.median(r), 4) for r in ratios],
                                        'memory_mib': round(max(memory_bytes) / 1024 / 1024, 1)}
    return row


def measure_transports(args):
    """The three portable modules in one process of Node, several times: each process puts code and memory elsewhere."""
    for node in args.nodes:
        runs = {}
        for number in range(args.processes):
            command = [node, os.path.join(ROOT, 'bench', 'transports.js'), f'--turns={args.turns}', f'--first={number}']
            with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, 'PGCELL_BUILD': args.build}) as process:
                try:
                    output, _ = process.communicate(timeout=900)
                finally:
                    process.kill()
            if process.returncode != 0:
                raise RuntimeError(f'{os.path.relpath(node, ROOT)}: exit status {process.returncode}')
            for line in output.splitlines():
                run = json.loads(line)
                runs.setdefault(run['name'], []).append(run)
        for each in runs.values():
            yield transports_row(each)


def measure_pglite(args):
    """bench/pglite/run.js, which prints its own tables."""
    os.makedirs(os.path.join(args.build, 'bench'), exist_ok=True)
    file = os.path.join(args.build, 'bench', 'pglite.json')
    command = [NODES[0], os.path.join(ROOT, 'bench', 'pglite', 'run.js'), f'--json={file}'] + (['--quick'] if args.quick else [])
    with subprocess.Popen(command) as process:
        try:
            status = process.wait(timeout=1800)
        finally:
            process.terminate()
    if status != 0:
        raise RuntimeError(f'bench/pglite/run.js: exit status {status}')
    with open(file, encoding='utf-8') as f:
        return json.load(f)


def transports_target(rows):
    """By how much imports lose to another transport, where they lose most."""
    ratios = [values['imports_ratio_quartiles'][1] for row in rows for name, values in row['transports'].items() if name != 'imports']
    if not ratios:
        return []
    return [{'what': 'imports beside polling and callbacks, the worst', 'value': round(max(ratios), 3), 'limit': IMPORTS_RATIO_TARGET,
             'unit': 'times', 'is_met': max(ratios) <= IMPORTS_RATIO_TARGET}]


def print_transports(row):
    print(f"  {row['what']}; {row['engine']}")
    for name, t in row['transports'].items():
        low, middle, high = t['quartiles']
        ratios = t['imports_ratio_quartiles']
        beside = '' if name == 'imports' else f'; imports {ratios[1]:.3f} times that ({ratios[0]:.3f} to {ratios[2]:.3f})'
        print(f"    {name:<10} {middle:9.2f} {row['unit']} ({low:.2f} to {high:.2f}), memory {t['memory_mib']:.1f} MiB{beside}", flush=True)


def transports_section(rows):
    """Of docs/benchmarks.md."""
    def spread_text(low, middle, high, digits):
        return f'{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})'

    def ratio_texts(name, t):
        medians = t['imports_ratio_of_processes']
        return ['', ''] if name == 'imports' else [spread_text(*t['imports_ratio_quartiles'], 3), f'{min(medians):.3f} to {max(medians):.3f}']

    lines = ['## ' + TRANSPORTS_HEADING, '', TRANSPORTS_METHOD.format(**rows[0]), '']
    lines += report.table(['', 'engine', 'transport', 'time', 'imports : this', 'processes', 'turns', 'memory at the end'], [
        [row['what'], row['engine'], name, spread_text(*t['quartiles'], 2 if row['unit'] == 'µs' else 1) + f" {row['unit']}",
         *ratio_texts(name, t), row['turns'], f"{t['memory_mib']:.1f} MiB"]
        for row in rows for name, t in row['transports'].items()], right=(3, 4, 5, 6, 7))
    return '\n'.join(lines + [TRANSPORTS_REASONS, '', ''])


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
    parser.add_argument('--part', action='append', choices=PARTS, help='only this part')
    parser.add_argument('--only', action='append', metavar='WORKLOAD', help='only this workload (implies --part queries)')
    parser.add_argument('--write-docs', action='store_true', help='write docs/benchmarks.md anew')
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    args.rounds = args.rounds or (3 if args.quick else 7)
    args.factor = 0.2 if args.quick else 1
    args.starts = 10 if args.quick else 20
    args.connections = 50 if args.quick else 100
    args.cells = 100
    # every process has its own order of the modules
    args.nodes, args.processes, args.turns = (NODES[:1], 1, 8) if args.quick else (NODES, 4, 10)
    args.parts = ['queries'] if args.only else args.part or list(PARTS)
    if args.write_docs and (args.quick or args.only or args.part):
        parser.error('--write-docs needs the whole run')
    needs = ['pgcell', 'pgcell.img', 'native/install/bin/postgres', 'native/install/bin/pgbench']
    if 'transports' in args.parts:
        needs += ['pgcell.wasm', 'pgcell-polling.wasm', 'pgcell-callbacks.wasm', 'pgcell-trampoline.wasm']
    if 'pglite' in args.parts and not os.path.exists(os.path.join(ROOT, 'js', 'dist', 'pgcell.wasm')):
        parser.error('js/dist/pgcell.wasm is missing: run "make js" first')
    for needed in needs:
        if not os.path.exists(os.path.join(args.build, needed)):
            parser.error(f'{needed} is missing in {os.path.relpath(args.build)}: run "make all peer" first')
    return args


def main():
    args = parse_arguments()
    # ended like Ctrl-C, so that the servers are
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = {'machine': report.machine(), 'versions': report.versions(args.build), 'settings': report.settings(ROOT),
               'options': {'rounds': args.rounds, 'factor': args.factor, 'quick': args.quick}, 'rows': [], 'queries': [], 'transports': [], 'pglite': None}
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
    if 'transports' in args.parts:
        print(f'\n{TRANSPORTS_HEADING}', flush=True)
        try:
            for row in measure_transports(args):
                results['transports'].append(row)
                print_transports(row)
        except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            failures += 1
            print(f'  FAILED: {error}', flush=True)
    if 'pglite' in args.parts:
        print(f'\n{report.PGLITE_HEADING}', flush=True)
        try:
            results['pglite'] = measure_pglite(args)
        except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            failures += 1
            print(f'  FAILED: {error}', flush=True)
    results['machine']['load_at_end'] = round(os.getloadavg()[0], 1)
    results['geometric_mean'] = report.geometric_mean(results['queries'], 'ratio')
    results['geometric_mean_of_best'] = report.geometric_mean(results['queries'], 'best_ratio')
    results['targets'] = report.targets(results) + transports_target(results['transports'])
    report.print_targets(results)

    os.makedirs(os.path.join(args.build, 'bench'), exist_ok=True)
    with open(os.path.join(args.build, 'bench', 'results.json'), 'w', encoding='utf-8') as f:
        json.dump(results, f, indent=1)
    if failures:
        print(f'bench: {failures} rows failed or answered differently')
        return 1
    if args.write_docs:
        with open(os.path.join(ROOT, 'docs', 'benchmarks.md'), 'w', encoding='utf-8') as f:
            before, settings, after = report.document(results).partition('## Settings\n')
            f.write(before + transports_section(results['transports']) + report.pglite_section(results['pglite']) + settings + after)
        print('bench: docs/benchmarks.md is written')
    return 0


if __name__ == '__main__':
    sys.exit(main())

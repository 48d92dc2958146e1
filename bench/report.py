"""Tables for the terminal and for docs/benchmarks.md."""
import math
import os
import platform
import re
import subprocess
import time

# what issue 2 asks for: where the number is, and its limit
TARGETS = (
    ('start to first row', 'start', 'pgcell', 'median_ms', 25, 'ms'),
    ('first row in a new cell', 'connect', 'pgcell: new cell', 'median_ms', 8, 'ms'),
    ('further cell with an idle session', 'memory', 'pgcell: further cell with an idle session', 'pss_mib', 4, 'MiB'),
)
RATIO_TARGET = 1.3
HEADINGS = {
    'start': 'From exec of the server to its first row',
    'connect': 'From connecting to the first row',
    'memory': 'Memory',
    'queries': 'Query time, pgcell beside native',
}
PGLITE_HEADING = 'pgcell in JavaScript, beside PGlite'
PGLITE_METHOD = """\
The npm package beside PGlite {pglite}, both in memory, in {engine}; each measurement in a process of its own, the two in turns.
Medians of the processes. "Times" says how many times as fast, or as small, pgcell is; by CPU time (of all threads, V8's compilers among
them) others at work on the machine count less. PGlite starts with initdb, by the end of which V8 has compiled much of PostgreSQL: what
the first suite of a process takes has to be seen with that."""


def machine():
    model = 'unknown'
    with open('/proc/cpuinfo', encoding='utf-8') as f:
        for line in f:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    with open('/proc/meminfo', encoding='utf-8') as f:
        total_kib = int(re.search(r'MemTotal:\s+(\d+)', f.read())[1])
    return {'cpu': model, 'cores': os.cpu_count(), 'ram_gib': round(total_kib / 1024 / 1024, 1),
            'kernel': f'{platform.system()} {platform.release()}', 'load_at_start': round(os.getloadavg()[0], 1), 'date': time.strftime('%Y-%m-%d', time.gmtime())}


def first_line(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.split('\n', 1)[0].strip()


def versions(build):
    return {'pgcell': first_line([os.path.join(build, 'pgcell'), 'image', 'info', os.path.join(build, 'pgcell.img')]),
            'native': first_line([os.path.join(build, 'native', 'install', 'bin', 'postgres'), '--version'])}


def settings(root):
    with open(os.path.join(root, 'guest', 'image', 'postgresql.conf'), encoding='utf-8') as f:
        return [line.strip() for line in f if line.strip() and not line.startswith('#')]


def geometric_mean(queries, key):
    ratios = [row[key] for row in queries if key in row]
    return round(math.exp(sum(map(math.log, ratios)) / len(ratios)), 3) if ratios else None


def targets(results):
    found = []
    for what, kind, name, key, limit, unit in TARGETS:
        for row in results['rows']:
            if row['kind'] == kind and row['name'] == name and key in row:
                found.append({'what': what, 'value': row[key], 'limit': limit, 'unit': unit, 'is_met': row[key] <= limit})
    mean = results['geometric_mean']
    if mean is not None:
        found.append({'what': 'query time beside native, geometric mean', 'value': mean, 'limit': RATIO_TARGET, 'unit': 'times',
                      'is_met': mean <= RATIO_TARGET})
    return found


# ---- terminal ----

def print_heading(part):
    print(f'\n{HEADINGS[part]}', flush=True)


def values_text(row):
    if row['kind'] == 'memory':
        return (f"{row['pss_mib']:9.2f} MiB PSS (private {row['pss_private_mib']:.2f}, shared memory {row['pss_shmem_mib']:.2f}; "
                f"page tables {row['page_tables_mib']:.2f} more; the server alone {row['server_pss_mib']}), mean of {row['samples']}")
    return f"{row['median_ms']:9.2f} ms median, {row['p90_ms']:.2f} ms 90th percentile of {row['samples']}"


def print_row(row):
    print(f"  {row['name']:<46} {values_text(row)}", flush=True)


def print_query(row):
    if 'error' in row:
        print(f"  {row['name']:<26} FAILED: {row['error']}", flush=True)
        for line in row.get('log', ()):
            print(f'      server: {line}')
        return
    notes = ('' if row['is_same'] else '  ANSWERS DIFFER') + ('' if row['has_same_plan'] else '  (other plan)')
    print(f"  {row['name']:<26} {row['pgcell_ms']:10.1f} ms {row['native_ms']:10.1f} ms native {row['ratio']:6.2f} times"
          f" (of the best {row['best_ratio']:.2f}){notes}",
          flush=True)


def print_targets(results):
    print()
    m = results['machine']
    # one core is the client's, the other the server's: the load of a quiet run comes close to 1
    if m['load_at_start'] > 0.5 or m['load_at_end'] > 1.6:
        print(f"others were at work on this machine (load {m['load_at_start']} before, {m['load_at_end']} after): the times say less")
    if results['geometric_mean'] is not None:
        print(f"geometric mean of the best rounds' ratios: {results['geometric_mean_of_best']}")
    for t in results['targets']:
        print(f"{t['what']}: {t['value']} {t['unit']} (at most {t['limit']}: {'met' if t['is_met'] else 'MISSED'})", flush=True)


# ---- docs/benchmarks.md ----

def table(header, rows, right=()):
    lines = ['| ' + ' | '.join(header) + ' |', '|' + '|'.join('--:' if i in right else '---' for i in range(len(header))) + '|']
    return lines + ['| ' + ' | '.join(str(c) for c in row) + ' |' for row in rows] + ['']


def document(results):
    m, v = results['machine'], results['versions']
    rows = {kind: [r for r in results['rows'] if r['kind'] == kind] for kind in ('start', 'connect', 'memory')}
    queries = sorted(results['queries'], key=lambda r: r['ratio'])
    losses = [r for r in queries if r['ratio'] > 1]
    wins = [r for r in queries if r['ratio'] <= 1]
    lines = [
        '# Benchmarks', '',
        '<!-- written by bench/run.py --write-docs -->', '',
        'Made by', '', '    make bench BENCH_OPTIONS=--write-docs', '',
        f"on {m['date']}: {m['cpu']}, {m['cores']} cores, {m['ram_gib']} GiB of memory, {m['kernel']};",
        f"load {m['load_at_start']} before and {m['load_at_end']} after.", '',
        f"- pgcell: {v['pgcell']}", f"- native: {v['native']}, compiled by the same clang with -O2 from the same source", '',
        'Both have the same settings (below), encoding, locale, checksums and WAL segment size, keep their data in memory (native in',
        '/dev/shm) and serve one client over a Unix socket. The differences that stay: native has a checkpointer, a background writer',
        'and a WAL writer that can use the second core, a cell does that work in its session; a cell\'s pointers have 32 bits.', '',
        '## What was aimed at', '']
    lines += table(['', 'measured', 'at most', ''], [
        [t['what'], f"{t['value']} {t['unit']}", f"{t['limit']} {t['unit']}", 'met' if t['is_met'] else '**missed**']
        for t in results['targets']], right=(1, 2))
    lines += ['## ' + HEADINGS['start'], '', 'Warm page cache. Native has to run initdb first when it is to start from nothing, which is in its number.', '']
    lines += table(['', 'median', '90th percentile', 'of'], [
        [r['name'], f"{r['median_ms']:.1f} ms", f"{r['p90_ms']:.1f} ms", r['samples']] for r in rows['start']], right=(1, 2, 3))
    lines += ['## ' + HEADINGS['connect'], '', 'A client in Python, SELECT 1, over the Unix socket.', '']
    lines += table(['', 'median', '90th percentile', 'of'], [
        [r['name'], f"{r['median_ms']:.2f} ms", f"{r['p90_ms']:.2f} ms", r['samples']] for r in rows['connect']], right=(1, 2, 3))
    lines += ['## ' + HEADINGS['memory'], '',
              'Per further session, each idle after SELECT 1: proportional set size of all the server\'s processes (memfd pages are in it),',
              'minus the same before. A native session shares its database with the others; a cell is a whole server of its own.', '']
    lines += table(['', 'PSS', 'private', 'shared memory', 'page tables (not in PSS)', 'server alone'], [
        [r['name']] + [f"{r[k]:.2f} MiB" for k in ('pss_mib', 'pss_private_mib', 'pss_shmem_mib', 'page_tables_mib', 'server_pss_mib')]
        for r in rows['memory']], right=(1, 2, 3, 4, 5))
    lines += ['## ' + HEADINGS['queries'], '',
              f"Median of {results['options']['rounds']} rounds after a warm-up, the two in turns; both gave the same answers. Geometric mean of "
              f"the {len(queries)} ratios: **{results['geometric_mean']}** (of the best rounds: {results['geometric_mean_of_best']}).",
              f"pgcell is slower in {len(losses)} of them (at worst {queries[-1]['ratio']:.2f} times, {queries[-1]['name']}) and as fast or "
              f"faster in {len(wins)}.", '']
    lines += table(['workload', 'what', 'pgcell', 'native', 'ratio', 'plan'], [
        [r['name'], r['what'], f"{r['pgcell_ms']:.1f} ms", f"{r['native_ms']:.1f} ms", f"{r['ratio']:.2f}",
         'same' if r['has_same_plan'] else 'other'] for r in queries], right=(2, 3, 4))
    lines += ['## Settings', '', 'Other than PostgreSQL\'s own defaults, on both:', '']
    lines += ['    ' + s for s in results['settings']]
    return '\n'.join(lines) + '\n'


def pglite_section(results):
    lines = ['## ' + PGLITE_HEADING, '', PGLITE_METHOD.format(**results), '']
    for found in results['tables']:
        rows = []
        for row in found['rows']:
            pgcell, pglite = (row['of'][name] for name in ('pgcell', 'pglite'))
            rows.append([row['name'], f"{pgcell['median']:.2f} {row['unit']}", f"{pglite['median']:.2f} {row['unit']}",
                         f"{row['times']:.2f}", f"{row['cpuTimes']:.2f}" if 'cpuTimes' in row else ''])
        mean = found.get('geometricMean')
        if mean:
            rows.append(['geometric mean', '', '', f"**{mean['times']:.2f}**", f"**{mean['cpuTimes']:.2f}**"])
        lines += table([found['heading'], 'pgcell', 'PGlite', 'times', 'times, by CPU'], rows, right=(1, 2, 3, 4))
    return '\n'.join(lines) + '\n'

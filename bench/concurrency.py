#!/usr/bin/env python3
"""Transactions per second with several clients in one cell, beside native PostgreSQL from the same source with the same settings.

usage: concurrency.py [--seconds N] [--rounds N] [--clients N,N,...] [--scale N] [--protocol MODE] [--only WORKLOAD] [--json FILE]

pgbench's TPC-B-like and select-only, the two servers in turns, a round of each point that does not count first. Medians of the rounds and
their ratio; the bar is 60 % of native at each point. Exit status 1 if a point is below it. bench/servers.py tells how the servers
are started: in memory, over Unix sockets.
"""
import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys

import report
import servers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
RATIO_BAR = 0.6
CLIENTS = (1, 2, 4, 8, 16)
WORKLOADS = {'tpcb': ('pgbench TPC-B-like', ['-b', 'tpcb-like']), 'select': ('pgbench select-only', ['-b', 'select-only'])}
WARM_UP_SECONDS = 1
INIT_SECONDS = 300  # at most
BALANCES = ('SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers), '
            '(SELECT sum(bbalance) FROM pgbench_branches), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)')


class Contestant:
    """A server with pgbench's tables in it."""

    def __init__(self, server, args):
        self.server, self.args = server, args
        self.name = server.name
        self.database = 'postgres@concurrency' if self.name == 'pgcell' else 'postgres'
        self.pgbench('-i', '-q', '-s', str(args.scale), timeout=INIT_SECONDS)

    def pgbench(self, *options, timeout):
        command = [os.path.join(self.args.build, 'native', 'install', 'bin', 'pgbench'), '-h', self.server.directory, '-p', self.server.port,
                   '-U', 'postgres', *options, self.database]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError(f'{self.name}: pgbench {" ".join(options)}: {done.stderr.strip()[-500:]}')
        return done.stdout

    def run(self, workload, clients, seconds):
        """pgbench vacuums the small tables first, and empties the history. Returns (transactions per second, mean latency in ms)."""
        text = self.pgbench(*WORKLOADS[workload][1], '-M', self.args.protocol, '-c', str(clients), '-j', str(min(clients, 2)),
                            '-T', str(seconds), '--random-seed=42', timeout=seconds + 60)
        if not re.search(r'^number of failed transactions: 0 ', text, re.M):
            raise RuntimeError(f'{self.name}: {text}')
        return float(re.search(r'^tps = ([\d.]+) ', text, re.M)[1]), float(re.search(r'^latency average = ([\d.]+) ms', text, re.M)[1])

    def check_balances(self):
        """All three tables have the same sum. The history was emptied meanwhile."""
        c = self.server.connect(self.database)
        try:
            accounts, tellers, branches, _ = c.query(BALANCES).rows[0]
        finally:
            c.close()
        if not accounts == tellers == branches:
            raise RuntimeError(f'{self.name}: accounts {accounts}, tellers {tellers}, branches {branches}')


def measure(args, contestants):
    for workload in args.workloads:
        for clients in args.clients:
            rates, latencies = {c.name: [] for c in contestants}, {c.name: [] for c in contestants}
            for number in range(args.rounds + 1):
                for contestant in contestants if number % 2 else reversed(contestants):
                    rate, latency = contestant.run(workload, clients, args.seconds if number else WARM_UP_SECONDS)
                    if number:
                        rates[contestant.name].append(rate)
                        latencies[contestant.name].append(latency)
            point = {'workload': workload, 'clients': clients, 'tps_samples': rates}
            for contestant in contestants:
                contestant.check_balances()
                point[f'{contestant.name}_tps'] = round(statistics.median(rates[contestant.name]), 1)
                point[f'{contestant.name}_latency_ms'] = round(statistics.median(latencies[contestant.name]), 3)
            point['ratio'] = round(point['pgcell_tps'] / point['native_tps'], 3)
            # of rounds next to each other: what else the machine did met both
            point['ratio_of_rounds'] = [round(p / n, 3) for p, n in zip(rates['pgcell'], rates['native'])]
            point['is_met'] = point['ratio'] >= RATIO_BAR
            yield point


def print_point(point):
    low, high = min(point['ratio_of_rounds']), max(point['ratio_of_rounds'])
    print(f"  {WORKLOADS[point['workload']][0]:<20} {point['clients']:>7} {point['pgcell_tps']:>9.0f} {point['native_tps']:>9.0f} "
          f"{point['pgcell_latency_ms']:>9.2f} {point['native_latency_ms']:>9.2f} {point['ratio']:>7.3f} ({low:.2f} to {high:.2f})"
          f"{'' if point['is_met'] else '   below ' + str(RATIO_BAR)}", flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'), help='build folder')
    parser.add_argument('--seconds', type=int, default=5, help='of each run')
    parser.add_argument('--rounds', type=int, default=3, help='runs of each server at each point')
    parser.add_argument('--clients', default=','.join(map(str, CLIENTS)), help='numbers of clients')
    parser.add_argument('--scale', type=int, default=16, help="pgbench's; with less than clients they wait for one another's rows")
    parser.add_argument('--protocol', choices=('simple', 'extended', 'prepared'), default='simple')
    parser.add_argument('--only', action='append', choices=list(WORKLOADS), help='only this workload')
    parser.add_argument('--json', metavar='FILE', help='where the results go as well')
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    args.clients = [int(n) for n in args.clients.split(',')]
    args.workloads = args.only or list(WORKLOADS)
    for needed in ('pgcell', 'pgcell.img', 'native/install/bin/postgres', 'native/install/bin/pgbench'):
        if not os.path.exists(os.path.join(args.build, needed)):
            parser.error(f'{needed} is missing in {os.path.relpath(args.build)}: run "make all peer" first')
    return args


def main():
    args = parse_arguments()
    # ended like Ctrl-C, so that the servers are
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = {'machine': report.machine(), 'versions': report.versions(args.build), 'settings': report.settings(ROOT),
               'options': {k: getattr(args, k) for k in ('seconds', 'rounds', 'scale', 'protocol')}, 'ratio_bar': RATIO_BAR, 'points': []}
    with servers.Pgcell(args.build) as pgcell, servers.Native(args.build) as native:
        contestants = [Contestant(pgcell, args), Contestant(native, args)]
        print(f'Transactions per second, {args.protocol} protocol, scale {args.scale}, median of {args.rounds} rounds of {args.seconds} s\n\n'
              f'  {"":<20} {"clients":>7} {"pgcell":>9} {"native":>9} {"pgcell ms":>9} {"native ms":>9} {"ratio":>7}', flush=True)
        for point in measure(args, contestants):
            results['points'].append(point)
            print_point(point)
    results['machine']['load_at_end'] = round(os.getloadavg()[0], 1)
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as f:
            json.dump(results, f, indent=1)
    below = [p for p in results['points'] if not p['is_met']]
    worst = min(results['points'], key=lambda p: p['ratio'])
    print(f"\nbench: the lowest is {worst['ratio']:.3f} of native ({WORKLOADS[worst['workload']][0]}, {worst['clients']} clients), "
          f"{len(below)} of {len(results['points'])} points below {RATIO_BAR}")
    return 1 if below else 0


if __name__ == '__main__':
    sys.exit(main())

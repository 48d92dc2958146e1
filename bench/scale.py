#!/usr/bin/env python3
"""Many cells: what they weigh, how fast they come and go, and that nothing is left of them.

usage: scale.py [--build DIR] [--cells N] [--churn N] [--json FILE] [--write-docs] [--only PART]...

  memory   100 and N cells (1,000) with an idle session each, all answering: proportional set size of all processes and of one more
           session in a cell that has one
  churn    N cells (10,000) made, queried and dropped one after another: time from connecting to the first row, and what has grown
           between the 1,000th and the last: processes, descriptors, memory, files
  warm     connecting to warm cells, and to an existing cell with a password
  clone    copying a cell with 100 MB, idle
  kill     SIGKILL for the server: what is left after a second, and how long until it serves again

Exit status 1 if a bar is missed.
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import resource
import secrets
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import report
import servers
import wire

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BARS = {'100 cells, MiB': 300, 'new cell, first row, ms': 8, 'warm cell, first row, ms': 4, 'existing cell with a password, first row, ms': 8,
        'further session, private, MiB': 3, 'clone of 100 MB, ms': 50}
failures = []


def say(what, value, note=''):
    bar = BARS.get(what)
    is_met = bar is None or value <= bar
    if not is_met:
        failures.append(what)
    print(f'  {what:<46} {value:>10.2f}{"" if bar is None else f"  (at most {bar})"}{"" if is_met else "  MISSED"}{"  " + note if note else ""}', flush=True)
    results.append({'what': what, 'value': round(value, 3), 'bar': bar, 'note': note})


results = []


def first_row_ms(server, database):
    begin = time.perf_counter()
    c = server.connect(database)
    c.query('select 1')
    took = (time.perf_counter() - begin) * 1e3
    return took, c


def cell_command(server, args, *words):
    done = subprocess.run([os.path.join(args.build, 'pgcell'), 'cell', '--socket-dir', server.directory, '--port', server.port, *words],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return done.stdout


def control(server):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(server.socket_path.replace('.s.PGSQL.', '.s.pgcell.'))
    return s


def ask(s, request):
    s.send(request.encode())
    answer = s.recv(1000)
    if not answer.startswith(b'ok'):
        raise RuntimeError(answer.decode())


def memory(args):
    with servers.Pgcell(args.build, '--max-cells', '5000', '--max-sessions', '5000') as server:
        alone = servers.memory_kib(server.process.pid)
        open_ones = []
        for count in sorted({100, args.cells}):
            while len(open_ones) < count:
                open_ones.append(server.connect(f'postgres@c{len(open_ones)}'))
            for number, c in enumerate(open_ones):
                if c.query(f'select {number}').rows[0][0] != str(number):
                    raise RuntimeError(f'cell {number} answers something else')
            now = servers.memory_kib(server.process.pid)
            say(f'{count} cells, MiB', (now['pss'] + now['page_tables']) / 1024, 'page tables included')
            say(f'{count} cells: per cell, MiB', (now['pss'] - alone['pss']) / 1024 / count)
        before = servers.memory_kib(server.process.pid)
        for _ in range(20):
            c = server.connect('postgres@c0')
            c.query('select count(*) from pg_class')
            open_ones.append(c)
        now = servers.memory_kib(server.process.pid)
        say('further session, private, MiB', (now['pss_private'] - before['pss_private']) / 1024 / 20)
        for c in open_ones:
            c.close()


def held(server):
    pid = server.process.pid
    weight = servers.memory_kib(pid)
    return {'processes': weight['processes'], 'descriptors': len(os.listdir(f'/proc/{pid}/fd')), 'KiB': weight['pss'],
            'files': len(os.listdir(server.directory))}


def churn(args):
    with servers.Pgcell(args.build) as server:
        s = control(server)
        times, before = [], None
        for number in range(args.churn):
            took, c = first_row_ms(server, f'postgres@cell{number}')
            times.append(took)
            c.close()
            for _ in range(1000):  # its session has to end
                try:
                    ask(s, f'drop cell{number}')
                    break
                except RuntimeError:
                    time.sleep(0.0005)
            if number + 1 == min(1000, args.churn // 2):
                time.sleep(0.3)
                before = held(server)
        time.sleep(0.3)
        after = held(server)
        say('new cell, first row, ms', statistics.median(times), f'of {args.churn}; 99th percentile {sorted(times)[len(times) * 99 // 100]:.2f}')
        for what in before:
            say(f'churn: {what} grown by', after[what] - before[what], f'from {before[what]}')
        if any(after[w] > before[w] for w in ('processes', 'descriptors', 'files')) or after['KiB'] > before['KiB'] + 2048:
            failures.append('churn leaves something')


def scram(sock, password):
    """As much of RFC 5802 as a client needs; the connection is past the server's list of mechanisms."""
    def send(kind, body):
        sock.sendall(kind + struct.pack('!I', len(body) + 4) + body)

    def receive():
        head = b''
        while len(head) < 5:
            head += sock.recv(5 - len(head))
        body = b''
        while len(body) < struct.unpack('!I', head[1:])[0] - 4:
            body += sock.recv(65536)
        if head[:1] == b'E':
            raise RuntimeError(body.decode(errors='replace'))
        return body
    receive()
    nonce = base64.b64encode(secrets.token_bytes(18)).decode()
    bare = f'n=,r={nonce}'
    first = f'n,,{bare}'.encode()
    send(b'p', b'SCRAM-SHA-256\0' + struct.pack('!I', len(first)) + first)
    challenge = receive()[4:].decode()
    parts = dict(p.split('=', 1) for p in challenge.split(','))
    salted = hashlib.pbkdf2_hmac('sha256', password.encode(), base64.b64decode(parts['s']), int(parts['i']))
    client_key = hmac.digest(salted, b'Client Key', 'sha256')
    final = f'c=biws,r={parts["r"]}'
    signature = hmac.digest(hashlib.sha256(client_key).digest(), f'{bare},{challenge},{final}'.encode(), 'sha256')
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature))).decode()
    send(b'p', f'{final},p={proof}'.encode())
    receive()


def with_password_ms(server, database):
    startup = b'\0\3\0\0user\0postgres\0database\0' + database.encode() + b'\0\0'
    begin = time.perf_counter()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(server.socket_path)
        s.sendall(struct.pack('!I', len(startup) + 4) + startup)
        scram(s, 'secret')
        s.sendall(b'Q\0\0\0\x0dselect 1\0')
        got = b''
        while b'SELECT 1\0Z' not in got:
            got += s.recv(65536)
        return (time.perf_counter() - begin) * 1e3


def warm(args):
    with servers.Pgcell(args.build, '--warm', '250') as server:
        time.sleep(4)  # they are made while no client comes
        times = []
        for number in range(120):  # as many as are taken before more are made
            took, c = first_row_ms(server, f'postgres@w{number}')
            times.append(took)
            c.close()
        say('warm cell, first row, ms', statistics.median(times), f'99th percentile {sorted(times)[-2]:.2f}')
    with tempfile.NamedTemporaryFile('w') as f:
        f.write('secret\n')
        f.flush()
        with servers.Pgcell(args.build, '--auth', 'scram-sha-256', '--password-file', f.name) as server:
            with_password_ms(server, 'postgres')
            times = [with_password_ms(server, 'postgres') for _ in range(100)]
            say('existing cell with a password, first row, ms', statistics.median(times), '4096 iterations on both sides, the client in Python')


def clone(args):
    with servers.Pgcell(args.build) as server:
        c = server.connect('postgres@big')
        c.query("create table t as select g, repeat('x', 1000) as v from generate_series(1, 78500) g")
        size = int(c.query("select pg_database_size('postgres')").rows[0][0])
        c.close()
        time.sleep(0.2)
        held = int(cell_command(server, args, 'list').split('\t')[3])
        s = control(server)
        times = []
        for number in range(9):
            begin = time.perf_counter()
            ask(s, f'clone big copy{number}')
            times.append((time.perf_counter() - begin) * 1e3)
            ask(s, f'drop copy{number}')
        say('clone of 100 MB, ms', statistics.median(times), f'{min(times):.1f} to {max(times):.1f}; the database has {size / 1e6:.0f} MB, the cell {held / 1e6:.0f} MB')


def kill(args):
    server = servers.Pgcell(args.build)
    try:
        connections = [server.connect(f'postgres@k{n}') for n in range(50)]
        pids = servers.descendants(server.process.pid)
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        begin = time.perf_counter()
        while (left := [p for p in pids if os.path.exists(f'/proc/{p}') and open(f'/proc/{p}/stat', encoding='ascii').read().rsplit(')', 1)[1].split()[0] != 'Z']) and time.perf_counter() - begin < 1:
            time.sleep(0.01)
        say('processes left after SIGKILL', len(left), f'of {len(pids)}, after {(time.perf_counter() - begin) * 1e3:.0f} ms')
        if left:
            failures.append('orphans')
        begin = time.perf_counter()
        with tempfile.TemporaryFile() as out:
            again = subprocess.Popen([os.path.join(args.build, 'pgcell'), 'serve', '--listen', '127.0.0.1:' + server.port, '--socket-dir', server.stage],
                                     stdout=subprocess.PIPE, stderr=out, text=True)
            again.stdout.readline()
            wire.Connection(server.socket_path, 'postgres').query('select 1')
            say('restart at the same place, first row, ms', (time.perf_counter() - begin) * 1e3)
            again.terminate()
            again.wait(20)
        del connections
    finally:
        server.stop()


def document(machine, versions):
    lines = ['# Many cells', '', '<!-- written by bench/scale.py --write-docs -->', '', 'Made by', '', '    make bench-scale BENCH_OPTIONS=--write-docs', '',
             f"on {machine['date']}: {machine['cpu']}, {machine['cores']} cores, {machine['ram_gib']} GiB of memory, {machine['kernel']}; "
             f"load {machine['load_at_start']} before. {versions['pgcell']}. Clients are in Python, over the Unix socket. What is measured and how",
             'is said at the top of bench/scale.py; "memory" is the proportional set size of all processes.', '']
    lines += report.table(['', 'measured', 'at most', '', ''], [
        [r['what'], f"{r['value']:.2f}", r['bar'] or '', '' if r['bar'] is None else 'met' if r['value'] <= r['bar'] else '**missed**', r['note']]
        for r in results], right=(1, 2))
    return '\n'.join(lines)


PARTS = {'memory': memory, 'churn': churn, 'warm': warm, 'clone': clone, 'kill': kill}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--build', default=os.path.join(ROOT, 'build'))
    parser.add_argument('--cells', type=int, default=1000)
    parser.add_argument('--churn', type=int, default=10000)
    parser.add_argument('--json', metavar='FILE')
    parser.add_argument('--write-docs', action='store_true', help='write docs/scale.md anew')
    parser.add_argument('--only', action='append', choices=list(PARTS))
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for part in args.only or PARTS:
        print(part, flush=True)
        PARTS[part](args)
    if args.json:
        with open(args.json, 'w', encoding='utf-8') as f:
            json.dump({'machine': report.machine(), 'versions': report.versions(args.build), 'bars': BARS, 'results': results}, f, indent=1)
    if args.write_docs:
        with open(os.path.join(ROOT, 'docs', 'scale.md'), 'w', encoding='utf-8') as f:
            f.write(document(report.machine(), report.versions(args.build)))
    print('scale: ' + (', '.join(failures) + ' missed' if failures else 'every bar is met'))
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())

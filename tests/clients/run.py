#!/usr/bin/env python3
"""Client libraries in several languages, each against a cell of its own of one running server.

usage: run.py [--native] [-v] [LANGUAGE]...

Each program says "ok TOPIC: what" or "FAILED TOPIC: what" for each check and closes with "N passed, N failed". This prints
"clients: LANGUAGE: N passed, N failed" for each, what failed, and "N passed, N failed" at last; exit status 1 on failure.

--native runs the same programs against PostgreSQL itself, to see whose fault a failure is.

    PGCELL   the program (default build/pgcell)
    NODE     Node (default: that in PATH)
"""
import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'e2e'))

import native  # noqa: E402
import server  # noqa: E402  (needs the path above)

BUILT = os.path.join(server.ROOT, 'build', 'tests', 'clients')
INSTALL = os.path.dirname(server.NATIVE_BIN)
NODE = os.environ.get('NODE') or 'node'
JDBC = '/usr/share/java/postgresql.jar'
GO_SOURCES = '/usr/share/gocode'
DEBIAN_PYTHON = '/usr/bin/python3'  # the one that Debian's psycopg2 is for
TOPICS = ('connect', 'types', 'prepared', 'copy', 'errors', 'transactions', 'notifications', 'cancel', 'pool')
BUILD_SECONDS = 300
RUN_SECONDS = 120
STATEMENT_MS = 15_000  # no statement takes longer: one that waits for ever is said by its check


class CannotRun(Exception):
    """What is missing, or the compiler's message."""


def need(path, package):
    found = path if os.path.exists(path) else shutil.which(path)
    if not found:
        raise CannotRun(f'{os.path.basename(path)} is not there: {package}')
    return found


def build(command, **environment):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          timeout=BUILD_SECONDS, cwd=HERE, env=server.clean_environment(**environment))
    if done.returncode:
        raise CannotRun(done.stdout)


def javascript(program):
    def command():
        need(os.path.join(HERE, 'node_modules', 'pg'), 'npm ci in tests/clients')
        # node-postgres warns of what its own cancel() uses
        return [need(NODE, 'Debian package nodejs'), '--no-deprecation', os.path.join(HERE, program)]
    return command


def psycopg2():
    need('/usr/lib/python3/dist-packages/psycopg2', 'Debian package python3-psycopg2')
    return [DEBIAN_PYTHON, os.path.join(HERE, 'use_psycopg2.py')]


def libpq():
    """The libpq of the same release."""
    need(os.path.join(INSTALL, 'include', 'libpq-fe.h'), 'make builds it in build/native')
    program = os.path.join(BUILT, 'libpq')
    library = os.path.join(INSTALL, 'lib')
    build(['cc', '-std=gnu11', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-pthread', '-I', os.path.join(INSTALL, 'include'),
           'libpq.c', '-o', program, '-L', library, f'-Wl,-rpath,{library}', '-lpq'])
    return [program]


def jdbc():
    need(JDBC, 'Debian package libpostgresql-jdbc-java')
    need('javac', 'Debian package openjdk-17-jdk-headless')
    build(['javac', '-Xlint:all', '-Werror', '-cp', JDBC, '-d', BUILT, 'Jdbc.java', 'Checks.java'])
    return ['java', '-Xmx256m', '-cp', f'{JDBC}:{BUILT}', 'Jdbc']


def go():
    need(os.path.join(GO_SOURCES, 'src', 'github.com', 'lib', 'pq'), 'Debian package golang-github-lib-pq-dev')
    need('go', 'Debian package golang-go')
    program = os.path.join(BUILT, 'lib_pq')
    build(['go', 'build', '-o', program, 'lib_pq.go', 'checks.go'], GO111MODULE='off', GOPATH=GO_SOURCES, GOCACHE=os.path.join(BUILT, 'go-cache'))
    return [program]


LANGUAGES = {
    'node-postgres': javascript('node-postgres.js'),
    'postgres.js': javascript('postgres-js.js'),
    'psycopg2': psycopg2,
    'libpq': libpq,
    'jdbc': jdbc,
    'go': go,
}


def run_in_time(command, environment):
    """Exit status and output; a program that takes too long is ended, with all that it started."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors='replace', env=environment, start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f'\n(ended after {RUN_SECONDS} s)\n'
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, output


def judge(status, output):
    """Passed checks, failed ones, and what is wrong with the run besides: a program that stops early must not count as a good one."""
    passed = re.findall(r'^ok (\w+): ', output, re.MULTILINE)
    failed = re.findall(r'^FAILED (\w+): ', output, re.MULTILINE)
    wrong = [f'nothing about {topic}' for topic in TOPICS if topic not in passed + failed]
    closing = re.search(r'^(\d+) passed, (\d+) failed\Z', output.rstrip(), re.MULTILINE)
    if not closing or (int(closing.group(1)), int(closing.group(2))) != (len(passed), len(failed)):
        wrong.append(f'no closing line that says {len(passed)} passed, {len(failed)} failed')
    if status != (1 if failed else 0):
        wrong.append(f'exit status {status}')
    return len(passed), len(failed), wrong


def environment_for(address, name):
    return server.clean_environment(PGHOST=address.host, PGPORT=str(address.port), PGUSER='postgres', PGDATABASE=f'postgres@{name}',
                                    PGOPTIONS='', CLIENTS_SOCKET_DIR=address.socket_dir, CLIENTS_SOCKET_PORT=str(address.socket_port),
                                    CLIENTS_STATEMENT_MS=str(STATEMENT_MS), TZ='America/St_Johns')


@contextlib.contextmanager
def pgcell_server():
    """Yields its address; then it must end well."""
    with server.Server() as running:
        yield native.Address('127.0.0.1', running.port, os.path.dirname(running.socket_file), int(running.socket_file.rsplit('.', 1)[1]))
        died = running.process.poll()
        status = running.stop() if died is None else died
        log = running.stderr()
        if died is not None or status or 'BUG' in log:
            raise CannotRun(f'the server ended with status {status}\n{log[-4000:]}')
        try:
            running.assert_nothing_left(unittest.TestCase())
        except AssertionError as error:
            raise CannotRun(f'the server left something: {error}') from error


def run_all(names, address, verbose):
    total_passed = total_failed = 0
    for name in names:
        started = time.monotonic()
        try:
            command = LANGUAGES[name]()
            status, output = run_in_time(command, environment_for(address, name))
            passed, failed, wrong = judge(status, output)
        except (CannotRun, subprocess.TimeoutExpired) as error:
            passed, failed, wrong, output = 0, 0, [str(error)], ''
        if verbose or wrong:
            print(output, end='')
        elif failed:
            print(re.sub(r'^ok .*\n', '', output, flags=re.MULTILINE), end='')
        for problem in wrong:
            print(f'clients: {name}: FAILED: {problem}')
        failed += len(wrong)
        seconds = f' ({time.monotonic() - started:.1f} s)' if verbose else ''
        print(f'clients: {name}: {passed} passed, {failed} failed{seconds}', flush=True)
        total_passed += passed
        total_failed += failed
    return total_passed, total_failed


def main():
    parser = argparse.ArgumentParser(description='client libraries against one server')
    parser.add_argument('--native', action='store_true', help='against PostgreSQL itself')
    parser.add_argument('-v', action='store_true', dest='verbose', help='name each check, and the time')
    parser.add_argument('languages', nargs='*', metavar='LANGUAGE', help=', '.join(LANGUAGES))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.languages if name not in LANGUAGES]
    if unknown:
        parser.error(f'unknown: {" ".join(unknown)}')
    names = arguments.languages or list(LANGUAGES)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit('clients: told to stop'))  # and so the servers are
    os.makedirs(BUILT, exist_ok=True)
    passed = failed = 0
    peer = native.server(names) if arguments.native else pgcell_server()
    try:
        with peer as address:
            passed, failed = run_all(names, address, arguments.verbose)
    except CannotRun as error:
        print(f'clients: FAILED: {error}')
        failed += 1
    print(f'{passed} passed, {failed} failed', flush=True)
    return 0 if passed and not failed else 1


if __name__ == '__main__':
    sys.exit(main())

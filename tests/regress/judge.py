#!/usr/bin/python3
"""Compares what pg_regress found with the tests that are expected to fail.

usage: judge.py OUTPUT EXPECTED [OPTION]...

OUTPUT is pg_regress's output folder, EXPECTED the list: one line per test, its name and the reason. --partial: not all tests were
run, so those of the list that are missing are not spoken of. --strict: a test of the list that passes is a problem as well.
--differences: folder with NAME.diff for tests of the list; such a test may differ from NAME.out in the folder --source in just this
way. Exit status 0: nothing failed that is not in the list, nothing crashed (as psql saw it, or as the server's log tells), and
pg_regress came to its end.
"""
import argparse
import os
import re
import subprocess
import sys

RESULT = re.compile(r'^(?P<failed>not )?ok \d+\s+[-+]\s+(?P<name>\S+)')
# A crash is never expected, whatever the list says.
CRASH = re.compile(r'server closed the connection unexpectedly|connection to server was lost|could not connect to server')
# The host's own words (PostgreSQL's begin with a date): a trap, a session that died, a cell that was given up.
TROUBLE = re.compile(r'^pgcell: .*\berror\b.*\b(session|cell)=')


def read_expected(path):
    expected = {}
    with open(path, encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            name, _, reason = line.partition(' ')
            if not reason.strip():
                sys.exit(f'judge.py: {path}:{number}: {name} has no reason')
            if name in expected:
                sys.exit(f'judge.py: {path}:{number}: {name} is there twice')
            expected[name] = reason.strip()
    return expected


def read_results(output):
    # what pg_regress printed: it removes its own summary when all is well
    passed, failed = [], []
    with open(os.path.join(output, 'pg_regress.log'), encoding='utf-8') as f:
        for line in f:
            found = RESULT.match(line)
            if found:
                (failed if found['failed'] else passed).append(found['name'])
    return passed, failed


def has_crashed(output, name):
    try:
        with open(os.path.join(output, 'results', name + '.out'), encoding='utf-8', errors='replace') as f:
            return any(CRASH.search(line) for line in f)
    except FileNotFoundError:
        return False


def read_trouble(output):
    try:
        with open(os.path.join(output, 'server.log'), encoding='utf-8', errors='replace') as f:
            return [line.rstrip() for line in f if TROUBLE.search(line)]
    except FileNotFoundError:
        return []


def is_as_approved(name, args):
    approved = os.path.join(args.differences or '', name + '.diff')
    if not args.differences or not os.path.exists(approved):
        return True
    found = subprocess.run(
        ['diff', '-U3', '--label', 'expected', '--label', 'result', os.path.join(args.source, name + '.out'),
         os.path.join(args.output, 'results', name + '.out')], stdout=subprocess.PIPE, check=False).stdout
    with open(approved, 'rb') as f:
        return f.read() == found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('output')
    parser.add_argument('expected')
    parser.add_argument('--mode', choices=('cell', 'native'), default='cell')
    parser.add_argument('--status', type=int, default=0)
    parser.add_argument('--partial', action='store_true')
    parser.add_argument('--strict', action='store_true')
    parser.add_argument('--differences')
    parser.add_argument('--source')
    args = parser.parse_args()

    expected = read_expected(args.expected) if args.mode == 'cell' else {}
    passed, failed = read_results(args.output)
    crashed = [name for name in failed if has_crashed(args.output, name)]
    surprises = [name for name in failed if name not in expected]
    otherwise = [name for name in failed if name in expected and not is_as_approved(name, args)]
    unneeded = [name for name in passed if name in expected]
    trouble = read_trouble(args.output)
    problems = bool(surprises or otherwise or crashed or trouble or (args.strict and unneeded))

    for name in failed:
        print(f'failed{" (expected)" if name in expected else ""}: {name}' + (f': {expected[name]}' if name in expected else ''))
    for name in otherwise:
        print(f'failed, but not as approved: {name}: not the difference of {os.path.relpath(args.differences)}/{name}.diff')
    for name in crashed:
        print(f'crashed: {name}: the connection was lost')
    for line in trouble[:20]:
        print(f'the server: {line}')
    for name in unneeded:
        print(f'passes now, take it off the list: {name}')
    if not args.partial:
        for name in sorted(set(expected) - set(passed) - set(failed)):
            print(f'in the list but not run: {name}')
    # pg_regress: 0 all passed, 1 some did not; anything else means that it did not come to its end
    if args.status not in (0, 1) or not (passed or failed):
        print(f'pg_regress did not come to its end (status {args.status})')
        problems = True
    if failed:
        print(f'the differences are in {os.path.relpath(os.path.join(args.output, "regression.diffs"))}')
    print(f'{len(passed)} passed, {len(failed)} failed')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())

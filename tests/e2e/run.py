#!/usr/bin/env python3
"""Runs the end-to-end tests of pgcell.

usage: run.py [-v] [-k PATTERN]... [MODULE]...

PATTERN is unittest's: a substring of the test's name, or a pattern with *. MODULE: test_psql, test_cells, ...
The environment's PGCELL and PSQL say which programs to use. The last line is "N passed, N failed"; skipped tests are named
above it with their reasons. Exit status 0 means that at least one test passed and none failed.
"""
import argparse
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import server  # noqa: E402  (needs the path above)

LOG_SHOWN = 6000  # bytes of the server's messages with a failure


class Outcomes(unittest.TextTestResult):
    """Counts tests, not their subtests, and shows what the server said."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bad = set()
        self.good = set()
        self.skips = {}
        self._started = {}
        self.slow = []

    def startTest(self, test):
        super().startTest(test)
        self._started[test.id()] = time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        self.slow.append((time.monotonic() - self._started.get(test.id(), 0), test.id()))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.good.add(test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.skips[test.id()] = reason

    def addError(self, test, err):
        super().addError(test, err)
        self._is_bad(test, self.errors)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._is_bad(test, self.failures)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self._is_bad(test, self.failures if failed else self.errors)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.bad.add(test.id())

    def _is_bad(self, test, reports):
        self.bad.add(test.id())
        log = test.log() if hasattr(test, 'log') else ''
        if log:
            subject, text = reports[-1]
            reports[-1] = (subject, f'{text}\nserver:\n{log[-LOG_SHOWN:]}')


def main():
    parser = argparse.ArgumentParser(description='end-to-end tests of pgcell')
    parser.add_argument('-k', action='append', dest='patterns', metavar='PATTERN', help='only tests whose names match')
    parser.add_argument('-v', action='store_const', const=2, default=1, dest='verbosity', help='name each test')
    parser.add_argument('--slow', type=int, default=0, metavar='N', help='name the N slowest tests')
    parser.add_argument('modules', nargs='*')
    arguments = parser.parse_args()

    for path in (server.PGCELL, server.IMAGE):
        if not os.path.exists(path):
            sys.exit(f'{path} is not there: build it first, or set PGCELL')
    if server.PSQL is None:
        sys.exit('psql is not there: install it, or set PSQL')

    loader = unittest.TestLoader()
    if arguments.patterns:
        loader.testNamePatterns = [p if '*' in p else f'*{p}*' for p in arguments.patterns]
    if arguments.modules:
        names = [os.path.basename(m).removesuffix('.py') for m in arguments.modules]
        suite = loader.loadTestsFromNames(names)
    else:
        suite = loader.discover(HERE, pattern='test_*.py')
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=arguments.verbosity, resultclass=Outcomes)
    result = runner.run(suite)

    for seconds, name in sorted(result.slow, reverse=True)[:arguments.slow]:
        print(f'{seconds:7.1f} s  {name}')
    for name, reason in sorted(result.skips.items()):
        print(f'skipped {name}: {reason}')
    good, bad = len(result.good - result.bad), len(result.bad)
    print(f'{good} passed, {bad} failed', flush=True)
    return 0 if good and not bad else 1


if __name__ == '__main__':
    sys.exit(main())

"""What use_psycopg2.py checks with: connections, checks that are counted, and errors that must come."""
import contextlib
import os
import sys
import threading

import psycopg2

OPTIONS = f"-c statement_timeout={os.environ['CLIENTS_STATEMENT_MS']}"
passed = failed = 0


def check(name):
    """Runs the function at once."""
    def run(body):
        global passed, failed
        try:
            body()
            passed += 1
            print(f'ok {name}', flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f'FAILED {name}: {type(error).__name__}: {error}'.replace('\n', ' | '), flush=True)
    return run


def equal(got, expected):
    assert got == expected, f'{got!r} instead of {expected!r}'


def connect(**more):
    return psycopg2.connect(**{'options': OPTIONS, 'connect_timeout': 20, **more})


def ask(connection, sql, parameters=None):
    """Rows, or None."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else None


def value(connection, sql, parameters=None):
    return ask(connection, sql, parameters)[0][0]


@contextlib.contextmanager
def raises(kind, sqlstate=None, text=None, **fields):
    try:
        yield
    except kind as error:
        assert sqlstate in (None, error.pgcode), f'{error.pgcode} instead of {sqlstate}: {error}'
        assert text is None or text in str(error), error
        for name, expected in fields.items():
            equal(getattr(error.diag, name), expected)
        return
    raise AssertionError(f'no {kind.__name__}')


def in_threads(bodies):
    threads = [threading.Thread(target=body, daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), 'a thread hangs'


def finish():
    print(f'{passed} passed, {failed} failed')
    sys.exit(1 if failed else 0)

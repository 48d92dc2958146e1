"""PostgreSQL itself, built for the machine, with the databases that the programs expect: "db@cell" is just a name there."""
import collections
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import server as e2e

Address = collections.namedtuple('Address', 'host port socket_dir socket_port')
START_SECONDS = 30


def as_somebody():
    """PostgreSQL refuses to run as root."""
    return ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups'] if os.geteuid() == 0 else []


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def tool(name):
    return os.path.join(e2e.NATIVE_BIN, name)


@contextlib.contextmanager
def server(cells):
    folder = tempfile.mkdtemp(prefix='pgcell-native-')
    data, port = os.path.join(folder, 'data'), free_port()
    environment = e2e.clean_environment()
    process = None
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, 'nobody', 'nogroup')
        subprocess.run([*as_somebody(), tool('initdb'), '-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '--locale=C', '-E', 'UTF8'],
                       check=True, stdout=subprocess.DEVNULL, env=environment, cwd=folder)
        log = open(os.path.join(folder, 'log'), 'w', encoding='utf-8')
        process = subprocess.Popen([*as_somebody(), tool('postgres'), '-D', data, '-p', str(port), '-k', folder, '-c', 'fsync=off'],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder)
        ask = [tool('psql'), '-X', '-q', '-h', folder, '-p', str(port), '-U', 'postgres', 'postgres']
        end = time.monotonic() + START_SECONDS
        while subprocess.run([*ask, '-c', ''], check=False, stderr=subprocess.DEVNULL, env=environment).returncode:
            if time.monotonic() > end:
                raise TimeoutError('PostgreSQL does not start')
            time.sleep(0.1)
        for cell in cells:
            for database in (f'postgres@{cell}', f'postgres@{cell}-2', f'template1@{cell}'):
                subprocess.run([*ask, '-c', f'create database "{database}"'], check=True, env=environment)
        yield Address('127.0.0.1', port, folder, port)
    finally:
        if process:
            process.send_signal(signal.SIGINT)  # does not wait for clients
            process.wait(30)
            log.close()
        shutil.rmtree(folder, ignore_errors=True)

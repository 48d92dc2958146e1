#!/usr/bin/python3
"""A go-between with which psql's "\\c" works on a server that runs one session at a time.

usage: one-session.py SERVER-SOCKET DIR

psql opens the new connection before it closes the old one. Here a new connection first ends the server's session of the one before
(with the protocol's own Terminate, as psql is about to do), waits until the server has closed it, and only then goes on. Everything
else passes through unchanged. Listens on DIR/.s.PGSQL.5432; ends on SIGINT.
"""
import os
import selectors
import signal
import socket
import sys
import threading

PORT = 5432
END_SECONDS = 30
TERMINATE = b'X\0\0\0\4'


class Pair:
    """A client and its session. The session may be ended while the client is still there."""

    def __init__(self, client, server_path):
        self.client = client
        self.server = socket.socket(socket.AF_UNIX)
        self.server.connect(server_path)
        self.ended = threading.Event()
        self.end_wanted = threading.Event()
        self.wake_reader, self.wake_writer = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def end_session(self):
        self.end_wanted.set()
        self.wake_writer.send(b'.')
        self.ended.wait(END_SECONDS)

    def run(self):
        try:
            self.pump()
        except OSError:
            pass
        finally:
            self.server.close()
            self.ended.set()
            if self.end_wanted.is_set():
                self.drain()
            self.client.close()
            self.wake_reader.close()
            self.wake_writer.close()

    def pump(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.client, selectors.EVENT_READ)
            selector.register(self.server, selectors.EVENT_READ)
            selector.register(self.wake_reader, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self.wake_reader:
                        self.wake_reader.recv(1)
                        selector.unregister(self.client)
                        self.server.sendall(TERMINATE)
                        continue
                    data = key.fileobj.recv(1 << 18)
                    if key.fileobj is self.client:
                        if not data:
                            return
                        self.server.sendall(data)
                    elif not data:
                        return
                    elif not self.end_wanted.is_set():
                        self.client.sendall(data)

    def drain(self):
        """The client says goodbye to a session that is gone already."""
        try:
            while self.client.recv(4096):
                pass
        except OSError:
            pass


def main():
    server_path, directory = sys.argv[1:]
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    path = os.path.join(directory, f'.s.PGSQL.{PORT}')
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print(f'one-session: ready on {path}', flush=True)
    latest = None
    while True:
        client, _ = listener.accept()
        if latest is not None:
            if not latest.ended.is_set():
                latest.end_session()
            latest.ended.wait(END_SECONDS)
        try:
            latest = Pair(client, server_path)
        except OSError as error:
            print(f'one-session: {error}', flush=True)
            client.close()
            latest = None


if __name__ == '__main__':
    main()

"""Just enough of the PostgreSQL protocol to time a server without timing a client program's start.

A query's clock runs from the first byte sent to the last byte of ReadyForQuery; the answer is taken apart afterwards, so that
Python's speed counts as little as can be.
"""
import re
import socket
import struct
import time

STARTUP_3_0 = 3 << 16
READY = re.compile(rb'Z\x00\x00\x00\x05[ITE]')
READY_LENGTH = 6


class ServerError(Exception):
    """An ErrorResponse: its SQLSTATE and message."""


class Answer:
    """What came back: column values as text, command tags, COPY data."""

    def __init__(self, raw):
        self.rows, self.tags, self.copied, self.errors = [], [], [], []
        at = 0
        while at < len(raw):
            kind = raw[at:at + 1]
            length, = struct.unpack_from('!I', raw, at + 1)
            body = raw[at + 5:at + 1 + length]
            at += 1 + length
            if kind == b'D':
                self.rows.append(self.row(body))
            elif kind == b'C':
                self.tags.append(body[:-1].decode())
            elif kind == b'd':
                self.copied.append(body)
            elif kind == b'E':
                fields = {f[:1]: f[1:].decode(errors='replace') for f in body.split(b'\0') if f}
                self.errors.append(f'{fields.get(b"C")}: {fields.get(b"M")}')

    @staticmethod
    def row(body):
        values, at = [], 2
        for _ in range(struct.unpack_from('!H', body)[0]):
            length, = struct.unpack_from('!i', body, at)
            at += 4
            if length < 0:
                values.append(None)
            else:
                values.append(body[at:at + length].decode())
                at += length
        return values

    def check(self):
        if self.errors:
            raise ServerError('; '.join(self.errors))
        return self

    def digest(self):
        """Everything the client could see, for comparing two servers."""
        return repr((self.rows, self.tags, b''.join(self.copied)))


class Connection:
    def __init__(self, socket_path, database, user='postgres', timeout_s=120):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(timeout_s)
        try:
            self.sock.connect(socket_path)
            body = struct.pack('!I', STARTUP_3_0)
            for word in ('user', user, 'database', database, 'client_encoding', 'UTF8'):
                body += word.encode() + b'\0'
            body += b'\0'
            self.sock.sendall(struct.pack('!I', len(body) + 4) + body)
            Answer(self.receive_ready()).check()
        except BaseException:
            self.sock.close()
            raise

    def receive_ready(self):
        """Everything up to ReadyForQuery, which is the last thing a server says before it waits."""
        parts, tail = [], b''
        while True:
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError('the server closed the connection; it had said: ' + repr(tail[-200:]))
            parts.append(data)
            tail = (tail + data)[-READY_LENGTH:] if len(data) < READY_LENGTH else data[-READY_LENGTH:]
            if READY.fullmatch(tail):
                return b''.join(parts)

    @staticmethod
    def message(kind, body):
        return kind + struct.pack('!I', len(body) + 4) + body

    def timed(self, sql):
        """Runs a simple query; (seconds, Answer)."""
        message = self.message(b'Q', sql.encode() + b'\0')
        begin = time.perf_counter()
        self.sock.sendall(message)
        raw = self.receive_ready()
        seconds = time.perf_counter() - begin
        return seconds, Answer(raw).check()

    def query(self, sql):
        return self.timed(sql)[1]

    def timed_pipeline(self, statements, depth=100):
        """Runs statements as simple queries, `depth` of them under way at a time; (seconds, Answer)."""
        batches = []
        for i in range(0, len(statements), depth):
            batch = statements[i:i + depth]
            batches.append((b''.join(self.message(b'Q', s.encode() + b'\0') for s in batch), len(batch)))
        parts = []
        begin = time.perf_counter()
        for data, count in batches:
            self.sock.sendall(data)
            answer = b''
            # answers to these statements are short and have no free text: no other Z can be followed by these bytes
            while len(READY.findall(answer)) < count:
                piece = self.sock.recv(1 << 20)
                if not piece:
                    raise EOFError('the server closed the connection')
                answer += piece
            parts.append(answer)
        seconds = time.perf_counter() - begin
        return seconds, Answer(b''.join(parts)).check()

    def timed_copy_in(self, sql, data, chunk=64 << 10):
        """COPY … FROM STDIN; (seconds, Answer)."""
        frames = b''.join(self.message(b'd', data[i:i + chunk]) for i in range(0, len(data), chunk)) + self.message(b'c', b'')
        message = self.message(b'Q', sql.encode() + b'\0')
        begin = time.perf_counter()
        self.sock.sendall(message)
        first = self.sock.recv(1 << 16)
        if first[:1] != b'G':
            Answer(first).check()
            raise EOFError('no CopyInResponse')
        self.sock.sendall(frames)
        raw = self.receive_ready()
        seconds = time.perf_counter() - begin
        return seconds, Answer(raw).check()

    def close(self):
        try:
            self.sock.sendall(self.message(b'X', b''))
            # the server has ended the session when it closes
            self.sock.settimeout(10)
            while self.sock.recv(1 << 16):
                pass
        except OSError:
            pass
        self.sock.close()

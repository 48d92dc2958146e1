"""A client of PostgreSQL's wire protocol for asyncio: hundreds of them share one process. tests/e2e/pgwire.py has the bytes.

    c = await Client.connect(('127.0.0.1', 5432), 'postgres@cell')
    (await c.query('select 1'))[-1].value
    await c.close()

Raises PgError for an error of the server after which the connection goes on, Ended when the connection is over, with PostgreSQL's
last words, if there were any.
"""
import asyncio
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'e2e'))

from pgwire import PgError, message, parse_fields, results_of, startup_packet  # noqa: E402  (needs the path above)

QUERY_SECONDS = 60  # who waits longer has found a server that hangs
LAST_WORDS = ('57P01', '57P02', '57P03')  # may be warnings as well


class Ended(Exception):
    """The connection is over. `sqlstate` is of the error or warning that came with it, None if it was just closed."""

    def __init__(self, last_words=None):
        super().__init__(f'the connection ended: {last_words or "closed"}')
        self.last_words = last_words
        self.sqlstate = last_words.sqlstate if last_words else None


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.pid = None
        self.key = None
        self._in = bytearray()
        self._last_words = None

    @classmethod
    async def connect(cls, address, database, user='postgres', timeout=QUERY_SECONDS):
        async with asyncio.timeout(timeout):
            try:
                reader, writer = await asyncio.open_connection(*address)
            except OSError as error:
                raise Ended() from error
            self = cls(reader, writer)
            try:
                writer.write(startup_packet([('user', user), ('database', database)]))
                await self._finish_startup()
            except BaseException:
                self.drop()
                raise
        return self

    async def _finish_startup(self):
        while True:
            kind, body = await self._read()
            if kind == 'K':
                self.pid, self.key = struct.unpack_from('!I', body)[0], bytes(body[4:])
            elif kind == 'E':
                raise Ended(PgError(parse_fields(body)))
            elif kind == 'Z':
                return

    async def _read(self):
        """The next message."""
        while True:
            if len(self._in) >= 5:
                length = struct.unpack_from('!I', self._in, 1)[0]
                if len(self._in) > length:
                    kind, body = chr(self._in[0]), bytes(memoryview(self._in)[5:1 + length])
                    del self._in[:1 + length]
                    if kind in 'NE':
                        self._note(PgError(parse_fields(body)))
                    return kind, body
            try:
                data = await self.reader.read(1 << 16)
            except OSError:
                data = b''
            if not data:
                raise Ended(self._last_words)
            self._in += data

    def _note(self, error):
        if error.severity in ('FATAL', 'PANIC') or error.sqlstate in LAST_WORDS:
            self._last_words = error

    async def query(self, sql, timeout=QUERY_SECONDS):
        """The results of all statements."""
        self.writer.write(message(b'Q', sql.encode() + b'\0'))
        batch = []
        async with asyncio.timeout(timeout):
            while not batch or batch[-1][0] != 'Z':
                kind, body = await self._read()
                if kind not in 'NSA':
                    batch.append((kind, body))
        return results_of(batch)

    async def value(self, sql):
        return (await self.query(sql))[-1].rows[0][0]

    async def close(self):
        """As a well-behaved client does."""
        try:
            self.writer.write(message(b'X'))
            await self.writer.drain()
        except OSError:
            pass
        self.drop()

    def drop(self):
        self.writer.close()

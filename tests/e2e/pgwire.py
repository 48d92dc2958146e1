"""A small client for PostgreSQL's wire protocol, version 3: as close to the bytes as a test of a server needs.

    with Connection(address, 'postgres@cell') as c:
        c.query('select 1').value                     # '1'; raises PgError, after ReadyForQuery, if the server refuses
        c.run('select $1::int', ['1']).rows           # the extended protocol
        c.parse('s', 'select 1'); c.sync(); c.send()  # or message by message: queue, send, read
        c.read_batch()                                # every message up to ReadyForQuery, errors included

`address` is (host, port) or the path of a Unix socket. Every read and write is bounded by `timeout` seconds and raises
socket.timeout (TimeoutError) when that is over; EOFError when the server closes. Values are text unless a result is in
binary format; then they are bytes. Notices, notifications and parameters that arrive in between are collected.
"""
import socket
import struct
import threading

PROTOCOL_MAJOR = 3
SSL_REQUEST = struct.pack('!II', 8, 80877103)
GSSENC_REQUEST = struct.pack('!II', 8, 80877104)
CANCEL_CODE = 80877102
TEXT, BINARY = 0, 1
DEFAULT_TIMEOUT = 20


class PgError(Exception):
    """An ErrorResponse; `fields` has every field by its letter."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('S')} {fields.get('C')}: {fields.get('M')}")
        self.fields = fields
        self.severity = fields.get('V') or fields.get('S')
        self.sqlstate = fields.get('C')
        self.message = fields.get('M')
        self.hint = fields.get('H')


class Column:
    def __init__(self, name, table_oid, number, type_oid, type_size, modifier, format_code):
        self.name = name
        self.table_oid = table_oid
        self.number = number
        self.type_oid = type_oid
        self.type_size = type_size
        self.modifier = modifier
        self.format = format_code


class Result:
    """One statement's outcome. `suspended`: the portal has more rows; `empty`: it was an empty query."""

    def __init__(self):
        self.columns = []
        self.rows = []
        self.tag = None
        self.suspended = False
        self.empty = False

    @property
    def value(self):
        return self.rows[0][0]

    @property
    def column(self):
        """The first value of each row."""
        return [row[0] for row in self.rows]

    @property
    def is_complete(self):
        return self.tag is not None or self.suspended or self.empty


def startup_packet(parameters, minor=0, major=PROTOCOL_MAJOR):
    body = struct.pack('!HH', major, minor)
    for name, value in parameters:
        body += _cstring(name) + _cstring(value)
    body += b'\0'
    return struct.pack('!I', len(body) + 4) + body


def cancel_packet(pid, key):
    return struct.pack('!III', 12 + len(key), CANCEL_CODE, pid) + key


def message(kind, body=b''):
    return kind + struct.pack('!I', len(body) + 4) + body


def dial(address, timeout=DEFAULT_TIMEOUT):
    """A connected socket without a word said."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
    else:
        sock = socket.socket(socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(timeout)
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def parse_fields(body):
    """The fields of an ErrorResponse or NoticeResponse."""
    fields = {}
    for field in body.split(b'\0'):
        if field:
            fields[chr(field[0])] = field[1:].decode('utf-8', 'replace')
    return fields


def _cstring(text):
    return (text if isinstance(text, bytes) else text.encode()) + b'\0'


def _encode(value):
    return value if value is None or isinstance(value, (bytes, bytearray)) else str(value).encode()


def _parse_row_description(body):
    columns, at = [], 2
    for _ in range(struct.unpack_from('!H', body)[0]):
        end = body.index(b'\0', at)
        columns.append(Column(body[at:end].decode(), *struct.unpack_from('!IhIhih', body, end + 1)))
        at = end + 19
    return columns


def _parse_data_row(body, columns):
    row, at = [], 2
    for i in range(struct.unpack_from('!H', body)[0]):
        length = struct.unpack_from('!i', body, at)[0]
        at += 4
        if length < 0:
            row.append(None)
            continue
        value = bytes(body[at:at + length])
        at += length
        is_binary = i < len(columns) and columns[i].format == BINARY
        row.append(value if is_binary else value.decode())
    return tuple(row)


class Connection:
    def __init__(self, address, database='postgres', user='postgres', *, parameters=(), minor=0, timeout=DEFAULT_TIMEOUT,
                 start=True):
        self.address = address
        self.pid = None
        self.key = None
        self.parameters = {}
        self.notices = []
        self.notifications = []  # (pid, channel, payload)
        self.status = None  # transaction status of the last ReadyForQuery: 'I', 'T' or 'E'
        self.negotiated = None  # body of NegotiateProtocolVersion
        self._out = bytearray()
        self._in = bytearray()
        self.sock = dial(address, timeout)
        if not start:
            return
        pairs = [('user', user)] if user is not None else []
        if database is not None:
            pairs.append(('database', database))
        try:
            self.sock.sendall(startup_packet(pairs + list(parameters), minor))
            self.finish_startup()
        except BaseException:
            self.sock.close()
            raise

    # ---- life ----

    def finish_startup(self):
        while True:
            kind, body = self.read_message()
            if kind == 'R':
                code = struct.unpack_from('!I', body)[0]
                if code != 0:
                    raise PgError({'S': 'FATAL', 'C': '28000', 'M': f'authentication request {code}'})
            elif kind == 'K':
                self.pid, self.key = struct.unpack_from('!I', body)[0], bytes(body[4:])
            elif kind == 'v':
                self.negotiated = bytes(body)
            elif kind == 'E':
                raise PgError(parse_fields(body))
            elif kind == 'Z':
                return
            else:
                raise AssertionError(f'unexpected message {kind!r} at start-up')

    def close(self):
        """Terminate, as a well-behaved client does."""
        try:
            self.sock.sendall(message(b'X'))
        except OSError:
            pass
        self.sock.close()

    def vanish(self):
        """Gone without a word; the kernel sends a reset if something was unread."""
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def set_timeout(self, seconds):
        self.sock.settimeout(seconds)

    # ---- messages ----

    def _fill(self, length):
        while len(self._in) < length:
            chunk = self.sock.recv(max(65536, min(length - len(self._in), 1 << 22)))
            if not chunk:
                raise EOFError('the server closed the connection')
            self._in += chunk

    def read_raw(self):
        """The next message, whatever it is: ('T', body)."""
        self._fill(5)
        kind, length = struct.unpack_from('!cI', self._in)
        self._fill(1 + length)
        body = bytes(memoryview(self._in)[5:1 + length])
        del self._in[:1 + length]
        return kind.decode('latin-1'), body

    def read_message(self):
        """The next message that is not asynchronous; those are collected."""
        while True:
            kind, body = self.read_raw()
            if kind == 'N':
                self.notices.append(parse_fields(body))
            elif kind == 'A':
                pid = struct.unpack_from('!I', body)[0]
                channel, payload = body[4:-1].split(b'\0')
                self.notifications.append((pid, channel.decode(), payload.decode()))
            elif kind == 'S':
                name, value = body[:-1].split(b'\0')
                self.parameters[name.decode()] = value.decode()
            else:
                if kind == 'Z':
                    self.status = body.decode()
                return kind, body

    def read_batch(self):
        """Every message up to and with ReadyForQuery."""
        batch = []
        while not batch or batch[-1][0] != 'Z':
            batch.append(self.read_message())
        return batch

    def read_to_end(self):
        """Every message up to the server's closing of the connection."""
        batch = []
        try:
            while True:
                batch.append(self.read_message())
        except (EOFError, ConnectionResetError):
            return batch

    def read_fatal(self):
        """The error with which the server ends the connection."""
        error = None
        for kind, body in self.read_to_end():
            if kind == 'E':
                error = PgError(parse_fields(body))
        if error is None:
            raise AssertionError('the connection ended without an error message')
        return error

    def wait_notification(self, timeout=10):
        """The next notification; the connection is idle."""
        before = self.sock.gettimeout()
        self.sock.settimeout(timeout)
        try:
            while not self.notifications:
                kind, body = self.read_raw()
                if kind != 'A':
                    raise AssertionError(f'unexpected message {kind!r}')
                pid = struct.unpack_from('!I', body)[0]
                channel, payload = body[4:-1].split(b'\0')
                self.notifications.append((pid, channel.decode(), payload.decode()))
            return self.notifications.pop(0)
        finally:
            self.sock.settimeout(before)

    # ---- simple queries ----

    def send_query(self, sql):
        self.sock.sendall(message(b'Q', _cstring(sql)))

    def collect(self):
        """The results of a batch. Raises the first error, after ReadyForQuery."""
        return results_of(self.read_batch())

    def query_all(self, sql):
        self.send_query(sql)
        return self.collect()

    def query(self, sql):
        """The last statement's result."""
        return self.query_all(sql)[-1]

    # ---- extended queries: queue, then send() ----

    def parse(self, name, sql, type_oids=()):
        self._queue(b'P', _cstring(name) + _cstring(sql) + struct.pack(f'!H{len(type_oids)}I', len(type_oids), *type_oids))

    def bind(self, portal='', statement='', values=(), formats=(), result_formats=()):
        body = bytearray(_cstring(portal) + _cstring(statement))
        body += struct.pack(f'!H{len(formats)}H', len(formats), *formats)
        body += struct.pack('!H', len(values))
        for value in map(_encode, values):
            if value is None:
                body += struct.pack('!i', -1)
            else:
                body += struct.pack('!i', len(value))
                body += value
        body += struct.pack(f'!H{len(result_formats)}H', len(result_formats), *result_formats)
        self._queue(b'B', bytes(body))

    def describe_statement(self, name=''):
        self._queue(b'D', b'S' + _cstring(name))

    def describe_portal(self, name=''):
        self._queue(b'D', b'P' + _cstring(name))

    def execute(self, portal='', limit=0):
        self._queue(b'E', _cstring(portal) + struct.pack('!I', limit))

    def close_statement(self, name):
        self._queue(b'C', b'S' + _cstring(name))

    def close_portal(self, name):
        self._queue(b'C', b'P' + _cstring(name))

    def flush(self):
        self._queue(b'H')

    def sync(self):
        self._queue(b'S')

    def queue_query(self, sql):
        self._queue(b'Q', _cstring(sql))

    def _queue(self, kind, body=b''):
        self._out += message(kind, body)

    def send(self):
        """Sends what is queued, in one write if the kernel takes it."""
        data, self._out = self._out, bytearray()
        self.sock.sendall(data)

    def send_in_background(self):
        """For more than the sockets' buffers hold: reads can go on meanwhile. join() the result."""
        thread = threading.Thread(target=self.send, daemon=True)
        thread.start()
        return thread

    def run(self, sql, values=(), formats=(), result_formats=(), type_oids=()):
        """Parse, Bind, Describe, Execute, Sync, with the unnamed statement and portal."""
        self.parse('', sql, type_oids)
        self.bind('', '', values, formats, result_formats)
        self.describe_portal('')
        self.execute('')
        self.sync()
        self.send()
        return self.collect()[-1]

    # ---- COPY ----

    def copy_in(self, sql, chunks):
        """Returns the command tag."""
        self.send_query(sql)
        kind, body = self.read_message()
        if kind != 'G':
            results_of([(kind, body)] + (self.read_batch() if kind != 'Z' else []))
            raise AssertionError(f'expected CopyInResponse, got {kind!r}')
        for chunk in chunks:
            self.sock.sendall(message(b'd', chunk))
        self.sock.sendall(message(b'c'))
        return self.collect()[-1].tag

    def copy_out(self, sql):
        """Returns the bytes."""
        self.send_query(sql)
        data = bytearray()
        batch = []
        while not batch or batch[-1][0] != 'Z':
            kind, body = self.read_message()
            if kind == 'd':
                data += body
            else:
                batch.append((kind, body))
        results_of(batch)
        if batch[0][0] != 'H':
            raise AssertionError(f'expected CopyOutResponse, got {batch[0][0]!r}')
        return bytes(data)

    # ---- cancel ----

    def cancel(self, key=None):
        """A cancel request for this connection; returns when the server has closed that other connection."""
        with dial(self.address, 10) as sock:
            sock.sendall(cancel_packet(self.pid, self.key if key is None else key))
            try:
                return sock.recv(1)
            except ConnectionResetError:
                return b''


def results_of(batch):
    """The results in a batch of messages. Raises its first error."""
    results, current = [], Result()
    for kind, body in batch:
        if kind == 'E':
            raise PgError(parse_fields(body))
        if kind == 'T':
            current.columns = _parse_row_description(body)
        elif kind == 'D':
            current.rows.append(_parse_data_row(body, current.columns))
        elif kind == 'C':
            current.tag = body[:-1].decode()
        elif kind == 's':
            current.suspended = True
        elif kind == 'I':
            current.empty = True
        if current.is_complete:
            results.append(current)
            current = Result()
    return results


def kinds(batch):
    """The batch as a string of message types: '12DCZ'."""
    return ''.join(kind for kind, _ in batch)


def errors_of(batch):
    return [PgError(parse_fields(body)) for kind, body in batch if kind == 'E']


def parameter_oids(body):
    count = struct.unpack_from('!H', body)[0]
    return list(struct.unpack_from(f'!{count}I', body, 2))


def row_description(body):
    return _parse_row_description(body)

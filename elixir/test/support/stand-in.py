#!/usr/bin/env python3
"""Stands in for pgcell in tests: does what the real program can't be asked for, or does not know yet.

    serve   the real one's, ending when stdin does
    port    a session of a real server of its own, over stdin and stdout in {packet, 4} frames
    cell    writes down how it was called, and answers as if there were a cell "there"

    STAND_IN_REAL     the real pgcell
    STAND_IN_VERSION  what --version says
    STAND_IN_PIECES   port: frames of at most this many bytes, to be cut everywhere
    STAND_IN_GARBAGE  port: answers the first message with this
    STAND_IN_DEAF     port: does not hear cancel requests
    STAND_IN_LOG      cell: the file to write to
    STAND_IN_PAUSE    serve: seconds before it starts
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

REAL = os.environ.get('STAND_IN_REAL', '')
CANCEL = 80877102


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def say(text):
    sys.stderr.write(text + '\n')
    sys.stderr.flush()


def serve(args):
    time.sleep(float(os.environ.get('STAND_IN_PAUSE', '0')))
    args.remove('--exit-with-stdin')
    with subprocess.Popen([REAL, 'serve', *args], stdin=subprocess.DEVNULL, preexec_fn=die_with_parent) as child:
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())

        def watch():
            while os.read(0, 4096):
                pass
            child.terminate()

        threading.Thread(target=watch, daemon=True).start()
        status = child.wait()
    os._exit(status if status >= 0 else 128 - status)


def receive(stream, size):
    data = bytearray()
    while len(data) < size:
        part = stream.read(size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def message(sock):
    head = receive(sock, 5)
    if head is None:
        return None
    body = receive(sock, struct.unpack('>I', head[1:])[0] - 4)
    return None if body is None else head + body


class Session:
    def __init__(self, args):
        options = dict(zip(args, args[1:]))
        self.folder = tempfile.mkdtemp(prefix='stand-in-')
        self.path = os.path.join(self.folder, 's', '.s.PGSQL.5432')
        self.server = subprocess.Popen([REAL, 'serve', '--listen', 'none', '--socket-dir', os.path.join(self.folder, 's')],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.server.stdout.readline()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)
        self.reader = self.sock.makefile('rb', buffering=1 << 18)
        self.pieces = int(os.environ.get('STAND_IN_PIECES', '0'))
        self.terminated = False
        fields = b''.join(k + b'\0' + v.encode() + b'\0' for k, v in
                          ((b'user', options['--user']), (b'database', options['--database'])))
        self.sock.sendall(struct.pack('>II', len(fields) + 9, 196608) + fields + b'\0')

    def out(self, data):
        size = self.pieces or len(data)
        for start in range(0, len(data), size):
            piece = data[start:start + size]
            sys.stdout.buffer.write(struct.pack('>I', len(piece)) + piece)
            if self.pieces:
                sys.stdout.buffer.flush()
        sys.stdout.buffer.flush()

    def start(self):
        while True:
            got = message(self.reader)
            if got is None:
                self.end(3)
            if got[:1] in b'SKZE':
                self.out(got)
            if got[:1] == b'E':
                self.end(3)
            if got[:1] == b'Z':
                return

    def end(self, status):
        self.server.kill()
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(status)

    def to_session(self):
        while True:
            head = receive(sys.stdin.buffer, 4)
            frame = None if head is None else receive(sys.stdin.buffer, struct.unpack('>I', head)[0])
            if frame is None:
                self.end(0)
            if len(frame) == 16 and struct.unpack('>II', frame[:8]) == (16, CANCEL):
                if not os.environ.get('STAND_IN_DEAF'):
                    other = socket.socket(socket.AF_UNIX)
                    other.connect(self.path)
                    other.sendall(frame)
                    other.close()
                continue
            if os.environ.get('STAND_IN_GARBAGE'):
                self.out(os.environ['STAND_IN_GARBAGE'].encode())
                continue
            self.terminated = frame == b'X\0\0\0\4'
            try:
                self.sock.sendall(frame)
            except OSError:
                return

    def run(self):
        self.start()
        threading.Thread(target=self.to_session, daemon=True).start()
        while True:
            data = self.sock.recv(1 << 16) if self.reader.peek(0) == b'' else self.reader.read1(1 << 16)
            if not data:
                self.end(0 if self.terminated else 4)
            self.out(data)


def port(args):
    Session(args).run()


def cell(args):
    if args == ['--help']:
        return 0
    with open(os.environ['STAND_IN_LOG'], 'a', encoding='utf-8') as log:
        log.write(json.dumps(args) + '\n')
    if args[0] == 'list':
        print('there\trunning\t2\t3145728')
    elif args[0] in ('drop', 'clone') and args[1] != 'there':
        say(f'pgcell cell: there is no cell "{args[1]}"')
        return 1
    return 0


def main():
    command, *args = sys.argv[1:]
    if command == '--version':
        print(os.environ.get('STAND_IN_VERSION', 'pgcell 0.1.0'))
        return 0
    return {'serve': serve, 'port': port, 'cell': cell}[command](args)


sys.exit(main())

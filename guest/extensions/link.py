#!/usr/bin/env python3
"""
usage: link.py module NAME OBJECT OUT.o      OBJECT is all of a module, linked with wasm-ld -r
       link.py table NAME=OUT.o...           writes the table of guest/port/modules.c to the standard output
       link.py sizes TREE                    writes what each folder of extensions.txt adds, in bytes

What a linker makes of a shared library, for modules that are linked into one program: what a module does not export is known
only inside it, and what it exports is called NAME:symbol, so that modules can't clash with one another or with PostgreSQL.  PostgreSQL
compiles modules with -fvisibility=hidden; what has PGDLLEXPORT is exported.

Only names and flags of symbols change, in the object's "linking" section
(https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md).
"""
import os
import re
import sys

SECTION_CUSTOM, SECTION_TYPE, SECTION_IMPORT, SECTION_FUNCTION, SECTION_CODE, SECTION_DATA = 0, 1, 2, 3, 10, 11
SYMBOL_TABLE = 8
FUNCTION, DATA, GLOBAL, SECTION, TAG, TABLE = range(6)
WEAK, LOCAL, HIDDEN, UNDEFINED, EXPLICIT_NAME = 1, 2, 4, 0x10, 0x40
C_TYPES = {0x7F: 'int', 0x7E: 'long long', 0x7D: 'float', 0x7C: 'double'}


class Reader:
    def __init__(self, data, at=0, end=None):
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def number(self):
        value = shift = 0
        while True:
            b = self.byte()
            value |= (b & 0x7F) << shift
            shift += 7
            if b < 0x80:
                return value

    def bytes(self):
        n = self.number()
        self.at += n
        return self.data[self.at - n:self.at]

    def more(self):
        return self.at < self.end


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(text):
    return number(len(text)) + text


def sections(data):
    """(id, name of a custom one, start, start of the contents, end)"""
    if data[:8] != b'\0asm\1\0\0\0':
        sys.exit('link.py: not a WebAssembly object')
    r = Reader(data, 8)
    while r.more():
        start = r.at
        kind = r.byte()
        size = r.number()
        end = r.at + size
        name = r.bytes() if kind == SECTION_CUSTOM else b''
        yield kind, name, start, r.at, end
        r.at = end


def symbols(r):
    """the symbol table's entries as (kind, flags, name or None, what follows the name, index)"""
    for _ in range(r.number()):
        kind = r.byte()
        flags = r.number()
        name, start, index = None, r.at, 0
        if kind == DATA:
            name = r.bytes()
            start = r.at
            if not flags & UNDEFINED:
                r.number(), r.number(), r.number()
            yield kind, flags, name, r.data[start:r.at], None
        elif kind == SECTION:
            yield kind, flags, None, number(r.number()), None
        else:
            index = r.number()
            if not flags & UNDEFINED or flags & EXPLICIT_NAME:
                name = r.bytes()
            yield kind, flags, name, None, index


def localize(name, data):
    out = bytearray(data[:8])
    for kind, section, start, at, end in sections(data):
        if section != b'linking':
            out += data[start:end]
            continue
        r = Reader(data, at, end)
        body = string(section) + number(r.number())
        while r.more():
            sub = r.byte()
            contents = r.bytes()
            if sub == SYMBOL_TABLE:
                contents = rename(name, contents)
            body += bytes([sub]) + string(contents)
        out += bytes([kind]) + string(body)
    return bytes(out)


def rename(module, contents):
    rows = []
    for kind, flags, name, rest, index in symbols(Reader(contents)):
        if not flags & UNDEFINED and kind in (FUNCTION, DATA) and not flags & LOCAL:
            if flags & HIDDEN:
                flags = flags & ~(WEAK | HIDDEN) | LOCAL
            else:
                name = module.encode() + b':' + name
        row = bytes([kind]) + number(flags)
        if kind == DATA:
            row += string(name) + rest
        elif kind == SECTION:
            row += rest
        else:
            row += number(index) + (string(name) if name is not None else b'')
        rows.append(row)
    return number(len(rows)) + b''.join(rows)


def exported_functions(module, data):
    """(public name, parameters, results) of what a module exports, types as C has them"""
    types, functions, found = [], [], []
    for kind, section, _, at, end in sections(data):
        r = Reader(data, at, end)
        if kind == SECTION_TYPE:
            for _ in range(r.number()):
                r.byte()
                types.append((r.bytes(), r.bytes()))
        elif kind == SECTION_IMPORT:
            for _ in range(r.number()):
                r.bytes(), r.bytes()
                what = r.byte()
                if what == 0:
                    functions.append(r.number())
                elif what in (1, 2):
                    if what == 1:
                        r.byte()
                    if r.number() & 1:
                        r.number()
                    r.number()
                elif what == 3:
                    r.byte(), r.byte()
                else:
                    r.byte(), r.number()
        elif kind == SECTION_FUNCTION:
            functions += [r.number() for _ in range(r.number())]
        elif section == b'linking':
            r.number()
            while r.more():
                sub = r.byte()
                contents = r.bytes()
                if sub != SYMBOL_TABLE:
                    continue
                for what, flags, name, _, index in symbols(Reader(contents)):
                    if what == FUNCTION and not flags & (UNDEFINED | LOCAL) and name.startswith(module.encode() + b':'):
                        params, results = types[functions[index]]
                        found.append((name.decode().partition(':')[2], [C_TYPES[t] for t in params], [C_TYPES[t] for t in results]))
    return sorted(found)


def table(modules):
    print('/* made by guest/extensions/link.py */')
    print('#include "modules.h"')
    rows = []
    for argument in modules:
        name, _, path = argument.partition('=')
        ident = re.sub(r'\W', '_', name)
        entries = []
        with open(path, 'rb') as f:
            exported = exported_functions(name, f.read())
        if not any(s == 'Pg_magic_func' for s, _, _ in exported):
            sys.exit(f'link.py: {name} has no PG_MODULE_MAGIC: it is no module of PostgreSQL')
        for symbol, params, results in exported:
            # the exact prototype: the linker replaces a function with another one by a stub that traps
            print(f'extern {results[0] if results else "void"} m_{ident}_{symbol}({", ".join(params) or "void"}) __asm__("{name}:{symbol}");')
            entries.append(f'\t{{"{symbol}", (void *) m_{ident}_{symbol}}},')
        print(f'static const struct pgcell_symbol symbols_{ident}[] = {{')
        print('\n'.join(entries))
        print('\t{0, 0}\n};')
        rows.append(f'\t{{"{name}", symbols_{ident}, {int("/conversion_procs/" in path)}}},')
    print('const struct pgcell_module pgcell_modules[] = {')
    print('\n'.join(rows))
    print('\t{0, 0, 0}\n};')


def sizes(tree):
    """Code and data of the objects: what is linked is less, wasm-opt makes it less again."""
    folders = {}
    with open(os.path.join(tree, 'modules.txt'), encoding='utf-8') as f:
        for line in f:
            kind, _, folder, path = line.split()
            if '/conversion_procs/' in path:
                folder = os.path.dirname(folder)
            row = folders.setdefault(folder, [kind, 0, 0, 0])
            with open(path, 'rb') as obj:
                for section, _, _, at, end in sections(obj.read()):
                    if section in (SECTION_CODE, SECTION_DATA):
                        row[1 if section == SECTION_CODE else 2] += end - at
    with open(os.path.join(tree, 'extensions-list.txt'), encoding='utf-8') as f:
        for line in f:
            kind, folder = line.split()[1], line.split()[0]
            row = folders.setdefault(folder, [kind, 0, 0, 0])
            for where, _, names in os.walk(os.path.join(tree, folder, 'pgcell-share')):
                row[3] += sum(os.path.getsize(os.path.join(where, name)) for name in names)
    print(f'{"folder":42} {"in":6} {"code":>9} {"data":>9} {"files":>9}')
    for folder, (kind, code, data, files) in sorted(folders.items()):
        print(f'{folder:42} {kind:6} {code:9} {data:9} {files:9}')
    for kind in ('slim', 'full', 'native'):
        rows = [row for row in folders.values() if row[0] == kind]
        print(f'{"all that is " + kind:42} {kind:6} ' + ' '.join(f'{sum(row[i] for row in rows):9}' for i in (1, 2, 3)))


def main(argv):
    if len(argv) == 4 and argv[0] == 'module':
        with open(argv[2], 'rb') as f:
            data = f.read()
        with open(argv[3], 'wb') as f:
            f.write(localize(argv[1], data))
    elif len(argv) > 1 and argv[0] == 'table':
        table(argv[1:])
    elif len(argv) == 2 and argv[0] == 'sizes':
        sizes(argv[1])
    else:
        sys.exit(__doc__.strip())


main(sys.argv[1:])

#!/usr/bin/env python3
"""usage: data.py PART.c DATA.S DATA.bin

Moves the module's data out of a part of wasm2c's output: a compiler needs 2 GB and most of a minute for 25 MB of array elements,
and an assembler nothing for a file it includes. PART.c is changed in place; DATA.S includes DATA.bin.
"""
import re
import sys

part, assembly, binary = sys.argv[1:]
array = re.compile(r'^(?:static )?const u8 (data_segment_data_\w+)\[\] = \{$')
blob = bytearray()
symbols = []
lines = []
with open(part) as source:
    for line in source:
        found = array.match(line.rstrip())
        if not found:
            lines.append(line)
            continue
        start = len(blob)
        for line in source:
            if line.startswith('};'):
                break
            blob += bytes(int(word, 16) for word in line.replace(',', ' ').split())
        symbols.append((found[1], start))
        lines.append(f'extern const u8 {found[1]}[{len(blob) - start}];\n')
if not symbols:
    sys.exit(f'data.py: no data in {part}: is it the first part, and of this version of wasm2c?')
with open(binary, 'wb') as to:
    to.write(blob)
with open(assembly, 'w') as to:
    to.write('\t.section .rodata\n\t.balign 16\nmodule_data:\n')
    to.write(f'\t.incbin "{binary}"\n')
    for name, start in symbols:
        to.write(f'\t.globl {name}\n\t.set {name}, module_data + {start}\n')
    to.write('\t.section .note.GNU-stack,"",@progbits\n')
with open(part, 'w') as to:
    to.writelines(lines)

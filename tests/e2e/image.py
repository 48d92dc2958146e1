"""Makes images that a server must refuse: the layout of host/image.h, as far as the tests change it.

    copy = ImageCopy(path_of_the_good_one, path_of_the_copy)
    copy.put('build_id', b'0' * 64); copy.fix_checksum(); copy.save()
"""
import struct

PAGE = 4096
PARTS = 4
PART_BYTES = 32
RUN_BYTES = 8
HEADER_BYTES = 272

# offset and struct code of each field
FIELDS = {
    'magic': (0, '16s'),
    'format_version': (16, 'I'),
    'contract_version': (20, 'I'),
    'build_id': (24, '64s'),
    'postgres_version': (88, '32s'),
    'total_runs': (120, 'I'),
    'file_bytes': (256, 'Q'),
    'checksum': (264, 'Q'),
}
for _part in range(PARTS):
    for _name, _offset, _code in (('offset', 0, 'Q'), ('len_bytes', 8, 'Q'), ('guest_start', 16, 'I'), ('first_run', 20, 'I'),
                                  ('runs', 24, 'I')):
        FIELDS[f'part{_part}.{_name}'] = (128 + _part * PART_BYTES + _offset, _code)


def fnv1a(data, value=0xcbf29ce484222325):
    for byte in data:
        value = ((value ^ byte) * 0x100000001b3) & 0xffffffffffffffff
    return value


class ImageCopy:
    def __init__(self, source, path):
        self.path = path
        with open(source, 'rb') as f:
            self.data = bytearray(f.read())

    def get(self, field):
        offset, code = FIELDS[field]
        return struct.unpack_from('<' + code, self.data, offset)[0]

    def put(self, field, value):
        offset, code = FIELDS[field]
        struct.pack_into('<' + code, self.data, offset, value)

    def checksum(self):
        header = bytearray(self.data[:HEADER_BYTES])
        struct.pack_into('<Q', header, FIELDS['checksum'][0], 0)
        runs = self.data[PAGE:PAGE + self.get('total_runs') * RUN_BYTES]
        return fnv1a(runs, fnv1a(header))

    def fix_checksum(self):
        self.put('checksum', self.checksum())

    def save(self):
        with open(self.path, 'wb') as f:
            f.write(self.data)

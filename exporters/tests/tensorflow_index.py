"""Rewrite the index of a TensorFlow checkpoint, which says where each weight is and what shape it has.

The format is that of LevelDB's tables, with one block: https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

import struct

_MAGIC = 0xDB4775248B80FB57


def edited(index, edit):
    """Return the index with its entries changed by `edit`, which gets a name and a BundleEntryProto."""
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto

    entries = []
    for name, content in _read(index):
        if name:  # the first entry is the header
            entry = BundleEntryProto.FromString(content)
            edit(name.decode(), entry)
            content = entry.SerializeToString()
        entries.append((name, content))
    return _table(entries)


def _read(table):
    _, at = _varint(table, len(table) - 48)
    _, at = _varint(table, at)
    start, at = _varint(table, at)
    length, _ = _varint(table, at)
    for _, handle in _entries(table[start : start + length]):
        start, at = _varint(handle, 0)
        length, _ = _varint(handle, at)
        assert table[start + length] == 0, "a compressed block"
        yield from _entries(table[start : start + length])


def _entries(block):
    (restarts,) = struct.unpack("<I", block[-4:])
    at, key = 0, b""
    while at < len(block) - 4 - 4 * restarts:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _table(entries):
    data, nothing = _block(entries), _block([])
    place = 0, len(data)
    listed = _block([(entries[-1][0] + b"z", _number(place[0]) + _number(place[1]))])
    table = _sealed(data) + _sealed(nothing) + _sealed(listed)
    places = (len(data) + 5, len(nothing), len(data) + len(nothing) + 10, len(listed))
    return table + b"".join(map(_number, places)).ljust(40, b"\0") + struct.pack("<Q", _MAGIC)


def _block(entries):
    content = b"".join(_number(0) + _number(len(k)) + _number(len(v)) + k + v for k, v in entries)
    return content + struct.pack("<II", 0, 1)


def _sealed(block):
    """Append the block's compression, which is none, and its checksum."""
    checksum = _crc32c(block + b"\0")
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return block + b"\0" + struct.pack("<I", masked)


def _crc32c(content):
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum ^= byte
        for _ in range(8):
            checksum = checksum >> 1 ^ (0x82F63B78 if checksum & 1 else 0)
    return checksum ^ 0xFFFFFFFF


def _varint(content, at):
    value = shift = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        shift += 7
        at += 1
        if content[at - 1] < 0x80:
            return value, at


def _number(value):
    content = b""
    while value >= 0x80:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])

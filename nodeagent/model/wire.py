"""Protocol Buffers' wire format, read strictly and without building objects. Standard library only.

Nothing is allocated in proportion to a declared size. Wire types are checked against the field's, fixed-width fields
against the end of their message, and varints against ten bytes. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
PACKED_VALUES_MAX = 4_096
_TEXT_BYTES_MAX = 1_024

Buffer = bytes | mmap.mmap
# Field number -> wire types that it may have; a field that is not listed is skipped whatever it is.
Schema = Mapping[int, tuple[int, ...]]


class Refused(Exception):
    """The file is not accepted. The text says what was found."""


def varint(data: Buffer, at: int, end: int) -> tuple[int, int]:
    """(value as 64 bits unsigned, where it ends)."""
    value = shift = 0
    while True:
        if at >= end:
            raise Refused("a number is cut short")
        if shift > 63:
            raise Refused("a number is longer than ten bytes")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7


def signed(value: int) -> int:
    """A 64-bit value as int64."""
    return value - (1 << 64) if value >> 63 else value


def fields(data: Buffer, at: int, end: int, schema: Schema) -> Iterator[tuple[int, int, int, int]]:
    """(field, wire type, start, end) of each field of a message; for a varint `start` is the value, as int64."""
    while at < end:
        tag, at = varint(data, at, end)
        number, kind = tag >> 3, tag & 7
        if number == 0 or number >= 1 << 29:
            raise Refused("a field number is out of range")
        allowed = schema.get(number)
        if allowed is not None and kind not in allowed:
            raise Refused(f"field {number} has wire type {kind}")
        if kind == VARINT:
            value, at = varint(data, at, end)
            yield number, kind, signed(value), 0
            continue
        if kind == BYTES:
            length, at = varint(data, at, end)
        elif kind == FIXED32:
            length = 4
        elif kind == FIXED64:
            length = 8
        else:
            raise Refused(f"wire type {kind}")
        if length > end - at:
            raise Refused("a field runs past the end of its message")
        yield number, kind, at, at + length
        at += length


def text(data: Buffer, start: int, end: int) -> str:
    """A string field. Longer than 1 KiB, or not UTF-8, is refused."""
    if end - start > _TEXT_BYTES_MAX:
        raise Refused("a name is longer than 1024 bytes")
    try:
        return bytes(data[start:end]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("a name is not UTF-8") from error


def integers(data: Buffer, kind: int, start: int, end: int) -> list[int]:
    """A repeated int64 field, packed or one value of it."""
    if kind == VARINT:
        return [start]
    out: list[int] = []
    while start < end:
        value, start = varint(data, start, end)
        out.append(signed(value))
        if len(out) > PACKED_VALUES_MAX:
            raise Refused("a list of numbers is too long")
    return out

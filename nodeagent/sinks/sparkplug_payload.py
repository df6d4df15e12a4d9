"""Sparkplug B payloads, written without a protobuf library (sparkplug_b.proto of Eclipse Tahu, Sparkplug 3.0, 6.4).

Field numbers are those of Payload and Payload.Metric; an integer is a varint, a double eight bytes little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, Literal

Kind = Literal["Int64", "UInt64", "Double", "Boolean", "String"]
DATATYPES: Final[dict[Kind, int]] = {"Int64": 4, "UInt64": 8, "Double": 10, "Boolean": 11, "String": 12}
_INT32: Final = 3
_VARINT, _EIGHT_BYTES, _LENGTH = 0, 1, 2
_MASK: Final = (1 << 64) - 1


def metric(
    kind: Kind,
    value: float | str | None,
    *,
    at_ms: int,
    name: str = "",
    alias: int | None = None,
    historical: bool = False,
    quality: int | None = None,
) -> bytes:
    """One metric, by name or by the alias that a birth gave it. None is null; `quality` is its Quality property."""
    parts = [
        _bytes(1, name.encode()) if name else b"",
        b"" if alias is None else _integer(2, alias),
        _integer(3, at_ms),
        _integer(4, DATATYPES[kind]),
        _integer(5, 1) if historical else b"",
        b""
        if quality is None
        else _bytes(9, _bytes(1, b"Quality") + _bytes(2, _integer(1, _INT32) + _integer(3, quality))),
        _integer(7, 1) if value is None else _value(kind, value),
    ]
    return b"".join(parts)


def payload(metrics: Iterable[bytes], *, at_ms: int, seq: int | None) -> bytes:
    """A whole message; a death has no `seq`."""
    body = _integer(1, at_ms) + b"".join(_bytes(2, each) for each in metrics)
    return body if seq is None else body + _integer(3, seq)


def _value(kind: Kind, value: float | str) -> bytes:
    if kind == "String":
        return _bytes(15, str(value).encode())
    if kind == "Boolean":
        return _integer(14, int(bool(value)))
    if kind == "Double":
        return _varint(13 << 3 | _EIGHT_BYTES) + struct.pack("<d", value)
    return _integer(11, int(value))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value & _MASK)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)

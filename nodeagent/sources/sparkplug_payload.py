"""Sparkplug B payloads, read without a protobuf library (sparkplug_b.proto of Eclipse Tahu, Sparkplug 3.0 section 6.4).

Only what a reader of values needs: name, alias, timestamp, datatype, is_historical, is_null, the Quality property and
the scalar values. Data sets and templates are met, and have no number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

METRICS_MAX: Final = 100_000
_SIGNED_BITS: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_WIRE_VARINT, _WIRE_64, _WIRE_BYTES, _WIRE_32 = 0, 1, 2, 5
QUALITY_GOOD: Final = 192
QUALITY_BAD: Final = 0


class Undecodable(Exception):
    """Bytes that are no Sparkplug B payload."""


class Metric(NamedTuple):
    """One metric. `value`: None for null and what is no scalar; `quality`: its Quality property, 192 without one."""

    name: str
    alias: int | None
    timestamp_ms: int | None
    value: float | str | None
    historical: bool
    quality: int


class Payload(NamedTuple):
    """One message. `seq`: 0 to 255, None where the message has none (a death)."""

    timestamp_ms: int | None
    seq: int | None
    metrics: tuple[Metric, ...]


def decode(data: bytes) -> Payload:
    """Reads a payload. Raises Undecodable."""
    timestamp: int | None = None
    seq: int | None = None
    metrics: list[Metric] = []
    try:
        for field, value in _fields(data):
            if field == 1:
                timestamp = _int(value)
            elif field == 2:
                if len(metrics) >= METRICS_MAX:
                    raise Undecodable(f"more than {METRICS_MAX} metrics")
                metrics.append(_metric(_bytes(value)))
            elif field == 3:
                seq = _int(value)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Undecodable("no Sparkplug B payload") from error
    return Payload(timestamp, seq, tuple(metrics))


def rebirth(now_ms: int) -> bytes:
    """The payload of the command that asks an edge node for its birth (Sparkplug 3.0 section 6.4.19)."""
    metric = _text(1, b"Node Control/Rebirth") + _number(3, now_ms) + _number(4, 11) + _number(14, 1)
    return _number(1, now_ms) + _text(2, metric)


def _metric(data: bytes) -> Metric:
    name, alias, timestamp, datatype, historical, quality = "", None, None, 0, False, QUALITY_GOOD
    value: float | str | None = None
    null = False
    for field, raw in _fields(data):
        match field:
            case 1:
                name = _bytes(raw).decode()
            case 2:
                alias = _int(raw)
            case 3:
                timestamp = _int(raw)
            case 4:
                datatype = _int(raw)
            case 5:
                historical = bool(_int(raw))
            case 7:
                null = bool(_int(raw))
            case 9:
                quality = _quality(_bytes(raw))
            case 10 | 11:
                value = float(_signed(_int(raw), datatype))
            case 12:
                value = float(struct.unpack("<f", _bytes(raw))[0])
            case 13:
                value = float(struct.unpack("<d", _bytes(raw))[0])
            case 14:
                value = float(bool(_int(raw)))
            case 15:
                value = _bytes(raw).decode()
    return Metric(name, alias, timestamp, None if null else value, historical, quality)


def _signed(raw: int, datatype: int) -> int:
    """Int8 to Int64 travel as unsigned two's complement; of the width that the encoder chose, at least their own."""
    bits = _SIGNED_BITS.get(datatype)
    if bits is None:
        return raw
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _quality(data: bytes) -> int:
    """The property called Quality in a PropertySet, 192 where there is none."""
    keys: list[str] = []
    values: list[int] = []
    for field, raw in _fields(data):
        if field == 1:
            keys.append(_bytes(raw).decode())
        elif field == 2:
            inner = {number: value for number, value in _fields(_bytes(raw)) if isinstance(value, int)}
            values.append(inner.get(3, inner.get(4, QUALITY_GOOD)))
    return dict(zip(keys, values, strict=False)).get("Quality", QUALITY_GOOD)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers with a varint's value or the bytes of anything else, in order."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _WIRE_VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == _WIRE_BYTES:
            length, at = _varint(data, at)
        elif wire in (_WIRE_64, _WIRE_32):
            length = 8 if wire == _WIRE_64 else 4
        else:
            raise Undecodable(f"wire type {wire}")
        if length > len(data) - at:
            raise Undecodable("cut short")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7
        if shift > 63:
            raise Undecodable("a number of more than 64 bits")


def _int(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise Undecodable("bytes where a number belongs")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise Undecodable("a number where bytes belong")
    return value


def _number(field: int, value: int) -> bytes:
    out = bytearray()
    for each in (field << 3, value):
        while each > 127:
            out.append(each & 127 | 128)
            each >>= 7
        out.append(each)
    return bytes(out)


def _text(field: int, value: bytes) -> bytes:
    length = bytearray()
    rest = len(value)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    length.append(rest)
    return bytes((field << 3 | 2,)) + bytes(length) + value

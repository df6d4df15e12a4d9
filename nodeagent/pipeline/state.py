"""What one engine hands to the next at a switch, as bytes: plain values and numpy arrays, nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

STATE_BYTES_MAX: Final = 64 << 20
_ARRAY: Final = "\0array"


class StateRefused(Exception):
    """These bytes are not the state of an engine."""


def encode(value: Any) -> bytes:
    """`value`, made of dicts, lists, strings, numbers, None and arrays of numbers."""
    return msgspec.msgpack.encode(_plain(value))


def decode(data: bytes) -> Any:
    """What `encode` was given. Raises StateRefused."""
    if len(data) > STATE_BYTES_MAX:
        raise StateRefused(f"longer than {STATE_BYTES_MAX} bytes")
    try:
        return _rich(msgspec.msgpack.decode(data))
    except (msgspec.DecodeError, ValueError, TypeError, KeyError) as error:
        raise StateRefused("not the state of an engine") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {_ARRAY: [value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()]}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        if _ARRAY in value:
            kind, shape, data = value[_ARRAY]
            dtype = np.dtype(kind)
            if dtype.hasobject:
                raise StateRefused("an array of objects")
            return np.frombuffer(data, dtype).reshape(shape).copy()
        return {key: _rich(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rich(item) for item in value]
    return value

"""Options of a section as typed values: durations with a unit, numbers that no place of this file can get wrong."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(us|ms|s|min|h|d)")


class Seconds(float):
    """A duration in seconds, written with its unit: "250ms", "3s", "5min", "24h"."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a section may say. The fields are the keys; a section of another key is an error."""


def seconds(text: object) -> Seconds:
    """The duration that `text` says; raises ValueError where the unit is missing or unknown."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError('a duration is a number with its unit: "250ms", "3s", "5min", "24h"')
    return Seconds(float(match[1]) * _UNITS_S[match[2]])


def convert(value: object, kind: Any) -> Any:
    """`value` as `kind`; raises msgspec.ValidationError with what was expected."""
    return msgspec.convert(value, kind, dec_hook=_decode)


def _decode(kind: type, value: object) -> object:
    if kind is Seconds:
        return seconds(value)
    raise NotImplementedError(f"options hold no {kind.__name__}")

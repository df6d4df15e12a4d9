"""Where a value lies in a JSON document: `flow.value`, `readings[0].v`, `["a.b"].c`; and what it is as a number."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

_PART: Final = re.compile(r"""(?:^|\.)([^.\[\]"]+)|\[(\d{1,6})\]|\["([^"]+)"\]""")
_WORDS: Final = {"true": 1.0, "on": 1.0, "false": 0.0, "off": 0.0}

JsonPath = tuple[str | int, ...]


class Missing(Exception):
    """What is asked for is not there, or is no number; the text says what."""


def parse(text: str) -> JsonPath:
    """The steps of a path; "" is the document itself. Raises ValueError."""
    parts: list[str | int] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or (match[1] is not None and at and text[at] != "."):
            raise ValueError(f'{text!r} is not a path like flow.value, readings[0].v or ["a.b"].c')
        parts.append(int(match[2]) if match[2] is not None else match[1] or match[3])
        at = match.end()
    return tuple(parts)


def find(document: object, path: JsonPath) -> object:
    """What lies at `path`. Raises Missing, naming the first step that is not there."""
    for done, part in enumerate(path, 1):
        if isinstance(part, str) and isinstance(document, Mapping) and part in document:
            document = document[part]
        elif isinstance(part, int) and isinstance(document, Sequence) and not isinstance(document, str):
            if part >= len(document):
                raise Missing(f"no {shown(path[:done])}")
            document = document[part]
        else:
            raise Missing(f"no {shown(path[:done])}")
    return document


def shown(path: JsonPath) -> str:
    """A path as it is written; `parse` reads it back."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r'[^.\[\]"]+', part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def number(value: object) -> float:
    """A number, a boolean, or a text that says one. null is NaN. Raises Missing for anything else."""
    if value is None:
        return math.nan
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError as error:
            raise Missing("a number beyond float64") from error
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        try:
            return float(text)
        except ValueError:
            raise Missing(f"not a number: {text[:40]!r}") from None
    raise Missing(f"not a number but {'a list' if isinstance(value, Sequence) else 'an object'}")


def time_us(value: object) -> int:
    """Microseconds since 1970 of Unix seconds, milliseconds, micro- or nanoseconds (told apart by their size), or of
    ISO 8601 with a zone or Z. Raises Missing."""
    if isinstance(value, str) and not value.strip().replace(".", "", 1).isdigit():
        try:
            moment = datetime.datetime.fromisoformat(value)
        except ValueError:
            raise Missing(f"not a time: {value[:40]!r}") from None
        if moment.tzinfo is None:
            raise Missing(f"a time without its zone: {value[:40]!r}")
        return round(moment.timestamp() * 1e6)
    told = number(value)
    if not (math.isfinite(told) and 0 <= told < 1e20):
        raise Missing(f"not a time: {value!r}")
    for limit, scale in ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0)):
        if told < limit:
            return round(told * scale)
    return round(told / 1e3)

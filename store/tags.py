"""The plant signals that a bundle expects: read out of its pipeline and its baseline when it is built.

Only what is written there is known: a source that takes its names from the device, or from a binding, names none here.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from store.bundle import TAGS_MAX, TagSpec

_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|min|h)")
_UNITS_S = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3_600.0}
_PERIODS = ("poll", "rate")
# What a window's mean of a tag is called among a model's inputs.
_MEANS = ("", ".Average")


def tags_in(pipeline: bytes, baseline: bytes | None = None) -> list[TagSpec]:
    """The tags of all sources, by name; ranges are the training data's where the baseline has them, else the limits
    of `validate.range`. Raises ValueError for a pipeline that is no TOML.
    """
    document = tomllib.loads(pipeline.decode("utf-8"))
    limits = dict(_limits(document)) | dict(_trained(baseline))
    found: dict[str, TagSpec] = {}
    for tag in _tags(document):
        low, high = limits.get(tag.name, (None, None))
        found.setdefault(tag.name, msgspec.structs.replace(tag, low=low, high=high))
    return sorted(found.values(), key=lambda tag: tag.name)[:TAGS_MAX]


def _tags(document: Mapping[str, Any]) -> Iterator[TagSpec]:
    for source in _tables(document, "source"):
        period_s = next((s for key in _PERIODS if (s := _seconds(source.get(key))) is not None), None)
        for key, items in source.items():
            for item in items if isinstance(items, list) else ():
                named = item if isinstance(item, dict) else {"name": item if key == "tags" else None}
                name, unit = named.get("name"), named.get("unit", "")
                if isinstance(name, str) and isinstance(unit, str) and 0 < len(name) <= 256 and "${" not in name:
                    yield TagSpec(name=name, unit=unit[:64], period_s=period_s)


def _limits(document: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, float]]]:
    for step in _tables(document, "step"):
        limits = step.get("limits")
        if step.get("use") == "validate.range" and isinstance(limits, dict):
            for name, pair in limits.items():
                if isinstance(pair, list) and len(pair) == 2 and all(_is_number(end) for end in pair):
                    yield name, (float(pair[0]), float(pair[1]))


def _trained(baseline: bytes | None) -> Iterator[tuple[str, tuple[float, float]]]:
    try:
        inputs = json.loads(baseline or b"{}").get("inputs")
    except (ValueError, AttributeError, RecursionError):
        return
    for name, column in inputs.items() if isinstance(inputs, dict) else ():
        if isinstance(column, dict) and _is_number(column.get("min")) and _is_number(column.get("max")):
            for ending in _MEANS:
                if name.endswith(ending):
                    yield name.removesuffix(ending), (float(column["min"]), float(column["max"]))


def _tables(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = document.get(key)
    return [table for table in found if isinstance(table, dict)] if isinstance(found, list) else []


def _seconds(text: object) -> float | None:
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    return float(match[1]) * _UNITS_S[match[2]] if match else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""A table as options: key by key, so that an error has the line of its key and not of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.lines import Path
from nodeagent.pipeline.options import Options, convert
from nodeagent.pipeline.section import Document

_PLACE: Final = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_PLACE_PART: Final = re.compile(r"\[(\d+)\]|\.([^.\[\]]+)")


def typed(
    document: Document, path: Path, values: Mapping[str, Any], options: type[Options], *, complete: bool
) -> tuple[Options | None, dict[str, Any]]:
    """`values` as `options`, and key by key; where not `complete`, what is there is checked and no options are made.

    Raises ConfigError at the key that is wrong.
    """
    made: dict[str, Any] = {}
    for field in msgspec.structs.fields(options):
        if field.name in values:
            made[field.name] = _field(document, (*path, field.name), values[field.name], field.type)
        elif complete and field.required:
            raise document.error(path, f"{field.name!r} is missing")
    if not complete:
        return None, made
    try:
        return options(**made), made
    except ValueError as error:
        raise document.error(path, str(error)) from error


def _field(document: Document, path: Path, value: object, kind: Any) -> Any:
    try:
        return convert(value, kind)
    except msgspec.ValidationError as error:
        raise _explained(document, path, kind, str(error)) from error


def _explained(document: Document, path: Path, kind: Any, text: str) -> ConfigError:
    """A message of msgspec as ours: its place joins the path, and an unknown key learns what is allowed."""
    place = _PLACE.search(text)
    inner: tuple[str | int, ...] = ()
    if place:
        inner = tuple(int(part[1]) if part[1] else part[2] for part in _PLACE_PART.finditer(place[1]))
    message = _PLACE.sub("", text)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", message)
    if unknown:
        return document.error((*path, *inner, unknown[1]), "unknown key", _fields_at(kind, inner))
    return document.error((*path, *inner), message[:1].lower() + message[1:])


def _fields_at(kind: Any, inner: tuple[str | int, ...]) -> list[str]:
    info: Any = msgspec.inspect.type_info(kind)
    for part in inner:
        if isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            info = info.item_type
        elif isinstance(info, msgspec.inspect.StructType):
            info = next(field.type for field in info.fields if field.name == part)
    return [field.name for field in info.fields] if isinstance(info, msgspec.inspect.StructType) else []

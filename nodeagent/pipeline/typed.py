"""A table as options: key by key, so that an error has the line of its key and not of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.lines import Path
from nodeagent.pipeline.options import Options, convert
from nodeagent.pipeline.section import Document, named

_PLACE: Final = re.compile(r" - at `(?:key in )?\$([^`]*)`$")
_TYPE: Final = re.compile(
    r"`((?:str|int|float|bool|array|object|null)(?: \| (?:str|int|float|bool|array|object|null))*)`"
)
_WORDS: Final = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list",
    "object": "a table", "null": "nothing",
}  # fmt: skip
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
        raise document.error((*path, *named(values, str(error))), str(error)) from error


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
    allowed = _choices_at(kind, inner) if message.startswith("Invalid enum value") else ()
    return document.error((*path, *inner), _in_words(message), allowed)


def _in_words(message: str) -> str:
    """What msgspec says, with the words of a person who writes TOML for its types."""
    message = message.replace("Object missing required field", "it has no").replace(" | null`", "`")
    words = _TYPE.sub(lambda found: " or ".join(_WORDS.get(each, each) for each in found[1].split(" | ")), message)
    words = words.replace("Invalid enum value", "there is no")
    return words[:1].lower() + words[1:]


def _choices_at(kind: Any, inner: tuple[str | int, ...]) -> list[str]:
    """The words that a place of literals takes."""
    info: Any = _at(msgspec.inspect.type_info(kind), inner)
    kinds = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return [str(value) for each in kinds if isinstance(each, msgspec.inspect.LiteralType) for value in each.values]


def _fields_at(kind: Any, inner: tuple[str | int, ...]) -> list[str]:
    info = _at(msgspec.inspect.type_info(kind), inner)
    return [field.name for field in info.fields] if isinstance(info, msgspec.inspect.StructType) else []


def _at(info: Any, inner: tuple[str | int, ...]) -> Any:
    """The type at a place inside another."""
    for part in inner:
        if isinstance(info, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
            info = info.item_type
        elif isinstance(info, msgspec.inspect.DictType):
            info = info.value_type
        elif isinstance(info, msgspec.inspect.StructType):
            info = next(field.type for field in info.fields if field.name == part)
    return info

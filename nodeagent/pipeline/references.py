"""`${name}`: where a pipeline says "this node's own". The node's bindings give the value; a bundle never does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_-]*)((?:\.[A-Za-z_][A-Za-z0-9_-]*)*)\}")


class Unbound(Exception):
    """A reference that the bindings do not answer; `name` is the binding, the text says what is wrong."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def names(value: object) -> set[str]:
    """The bindings that `value`, a parsed TOML value, refers to."""
    if isinstance(value, str):
        return {match[1] for match in REFERENCE.finditer(value)}
    if isinstance(value, Mapping):
        return set().union(*(names(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(names(item) for item in value))
    return set()


def places(value: object, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Where in a table the bindings give the whole value: paths of keys. A list counts if all of it is theirs."""
    if isinstance(value, str):
        return {path} if REFERENCE.fullmatch(value) else set()
    if isinstance(value, Mapping):
        return set[tuple[str, ...]]().union(*(places(item, (*path, str(key))) for key, item in value.items()))
    if isinstance(value, list) and value and all(places(item, path) for item in value):
        return {path}
    return set()


def whole(value: object) -> str | None:
    """The binding that `value` is nothing but a reference to, or None. `${plc.url}` is not one: it names a part."""
    match = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match and not match[2] else None


def resolve(value: Any, bindings: Mapping[str, Any]) -> Any:
    """`value` with every reference replaced. A string that is one reference becomes the value itself, of any type.

    Raises Unbound where a binding or a part of one is missing, or where text would have to hold a table.
    """
    if isinstance(value, str):
        match = REFERENCE.fullmatch(value)
        if match:
            return _look_up(match, bindings)
        return REFERENCE.sub(lambda found: _as_text(found, bindings), value)
    if isinstance(value, Mapping):
        return {key: resolve(item, bindings) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, bindings) for item in value]
    return value


def _look_up(match: re.Match[str], bindings: Mapping[str, Any]) -> Any:
    name = match[1]
    if name not in bindings:
        raise Unbound(name, f"this node has no binding {name!r}")
    value: Any = bindings[name]
    for part in match[2].split(".")[1:]:
        if not isinstance(value, Mapping) or part not in value:
            raise Unbound(name, f"the binding {name!r} has no {part!r}")
        value = value[part]
    return value


def _as_text(match: re.Match[str], bindings: Mapping[str, Any]) -> str:
    value = _look_up(match, bindings)
    if not isinstance(value, str | int | float):
        raise Unbound(match[1], f"the binding {match[1]!r} is not text, and stands inside text here")
    return str(value)

"""One table of a pipeline file, checked and typed, and able to say which of its lines is wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.lines import Path
from nodeagent.pipeline.options import Options

_QUOTED: Final = re.compile(r"['\"]([^'\"]+)['\"]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """The text that sections come from: its name and the line of every key."""

    file: str
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of `path` or of the nearest thing around it."""
        while path not in self.lines:
            if (*path, 0) in self.lines:  # the first of an array of tables
                return self.lines[(*path, 0)]
            path = path[:-1]
        return self.lines[path]

    def error(self, path: Path, message: str, allowed: Iterable[str] = ()) -> ConfigError:
        """A ConfigError at `path`, whose key is what a person would call it."""
        key = ".".join(str(part) for part in path if not isinstance(part, int))
        return ConfigError(self.file, self.line(path), key, message, allowed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """`options` is None where the file was read without bindings and this table needs some; `given` has the rest.

    `references`: the bindings that it names; `bound`: where in it they give the whole value.
    """

    document: Document = dataclasses.field(repr=False, compare=False)
    path: Path
    use: str
    id: str = ""
    options: Options | None
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    references: frozenset[str] = frozenset()
    bound: frozenset[tuple[str, ...]] = frozenset()

    @property
    def line(self) -> int:
        """Where the table begins."""
        return self.document.line(self.path)

    def is_bound(self, *path: str) -> bool:
        """Whether the value at `path` is the node's own word: of its bindings, and not written in the pipeline."""
        return any(path[:length] in self.bound for length in range(1, len(path) + 1))

    def error(self, key: str, message: str, allowed: Iterable[str] = ()) -> ConfigError:
        """A ConfigError at `key` of this table; without one at the key that the message names, or at the table."""
        place = (key,) if key else named(self.given, message)
        return self.document.error((*self.path, *place), message, allowed)


def named(values: Mapping[str, Any], message: str) -> Path:
    """Which key a message is about: it quotes the key, its value, or the name of a tag in it. () where none is."""
    quoted = set(_QUOTED.findall(message))
    if found := next((key for key in values if key in quoted), None):
        return (found,)
    for key, value in values.items():
        if isinstance(value, str) and value in quoted:
            return (key,)
        if isinstance(value, Mapping) and (name := next((name for name in value if name in quoted), None)):
            return key, name
        if isinstance(value, list | tuple):
            names = [item if isinstance(item, str) else _name(item) for item in value]
            if (at := next((at for at, name in enumerate(names) if name in quoted), None)) is not None:
                return key, at
    return ()


def _name(item: object) -> object:
    return item.get("name") if isinstance(item, Mapping) else getattr(item, "name", None)

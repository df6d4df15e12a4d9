"""One table of a pipeline file, checked and typed, and able to say which of its lines is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.lines import Path
from nodeagent.pipeline.options import Options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Document:
    """The text that sections come from: its name and the line of every key."""

    file: str
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of `path` or of the nearest thing around it."""
        while path not in self.lines:
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
        """A ConfigError at `key` of this table, or at the table itself where `key` is empty or comes from a binding."""
        return self.document.error((*self.path, key) if key else self.path, message, allowed)

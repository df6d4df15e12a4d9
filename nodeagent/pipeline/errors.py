"""What is wrong with a pipeline file, in the words of the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable


class ConfigError(Exception):
    """One thing that is wrong: `file`, `line` from 1 (0: not known), `key`, the message, and what is allowed there."""

    def __init__(self, file: str, line: int, key: str, message: str, allowed: Iterable[str] = ()) -> None:
        self.file = file
        self.line = line
        self.key = key
        self.message = message
        self.allowed = tuple(allowed)
        where = f"{file}:{line}" if line else file
        hint = f"; allowed: {', '.join(self.allowed)}" if self.allowed else ""
        super().__init__(f"{where}: {key}: {message}{hint}" if key else f"{where}: {message}{hint}")


class ModelFailed(Exception):
    """The model did not answer for these inputs. Raised by the callable that runs it; becomes an `error` outcome."""

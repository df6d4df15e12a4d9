"""Which line of a TOML text holds which key: `tomllib` does not say, and an error without a line is a search."""

from __future__ import annotations

import contextlib
from typing import Final

Path = tuple[str | int, ...]
_SPACE: Final = " \t"
_BARE_END: Final = " \t=.]#\r\n,{}"


def locate(text: str) -> dict[Path, int]:
    """Path of every table, array element and key -> its line, from 1. `text` is TOML that `tomllib` has accepted.

    Ends for every text: where it meets what it does not know, the lines up to there are all there are.
    """
    scan = _Scan(text)
    with contextlib.suppress(_Lost, IndexError):
        scan.document()
    return scan.found


class _Lost(Exception):
    """The scan stands still."""


class _Scan:
    """A walk over valid TOML that keeps positions only; what a value is, is none of its business."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: dict[Path, int] = {(): 1}
        self.tables: dict[Path, int] = {}
        self._line = 1
        self._counted = 0

    def document(self) -> None:
        prefix: Path = ()
        while self._skip(newlines=True):
            if self.text.startswith("[[", self.at):
                prefix = self._header("[[", "]]")
            elif self.text[self.at] == "[":
                prefix = self._header("[", "]")
            else:
                self._pair(prefix)

    def _header(self, opening: str, closing: str) -> Path:
        line = self._here()
        self.at += len(opening)
        keys = self._keys(closing[0])
        self.at += len(closing)
        path = self._inside_arrays(keys[:-1])
        if opening == "[[":
            index = self.tables.get((*path, keys[-1]), -1) + 1
            self.tables[(*path, keys[-1])] = index
            path = (*path, keys[-1], index)
        else:
            path = self._inside_arrays(keys)
        self.found[path] = line
        return path

    def _inside_arrays(self, keys: list[str]) -> Path:
        """`[source.tls]` means the newest `[[source]]`."""
        path: Path = ()
        for key in keys:
            path = (*path, key)
            if path in self.tables:
                path = (*path, self.tables[path])
        return path

    def _pair(self, prefix: Path) -> None:
        line = self._here()
        path = (*prefix, *self._keys("="))
        self.at += 1
        self.found[path] = line
        self._value(path)

    def _keys(self, end: str) -> list[str]:
        """A dotted key up to (not over) `end`."""
        keys: list[str] = []
        while True:
            self._skip()
            char = self.text[self.at]
            if char == end:
                return keys
            if char == ".":
                self.at += 1
            elif char in "\"'":
                start = self.at
                self._string()
                keys.append(self.text[start + 1 : self.at - 1])
            else:
                start = self.at
                while self.text[self.at] not in _BARE_END:
                    self.at += 1
                if self.at == start:
                    raise _Lost
                keys.append(self.text[start : self.at])

    def _value(self, path: Path) -> None:
        self._skip(newlines=True)
        char = self.text[self.at]
        if char in ",]}=#":
            raise _Lost
        if char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        elif char in "\"'":
            self._string()
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\r\n":
                self.at += 1

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip(newlines=True) and self.text[self.at] != "]":
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self.found[(*path, index)] = self._here()
            self._value((*path, index))
            index += 1
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        while self._skip(newlines=True) and self.text[self.at] != "}":
            if self.text[self.at] == ",":
                self.at += 1
            else:
                self._pair(path)
        self.at += 1

    def _string(self) -> None:
        quote = self.text[self.at]
        triple = quote * 3
        if self.text.startswith(triple, self.at):
            self._to_end_of_string(triple, escapes=quote == '"')
            while self.text.startswith(quote, self.at):  # up to two quotes may stand before the closing three
                self.at += 1
        else:
            self._to_end_of_string(quote, escapes=quote == '"')

    def _to_end_of_string(self, end: str, *, escapes: bool) -> None:
        self.at += len(end)
        while self.at < len(self.text) and not self.text.startswith(end, self.at):
            self.at += 2 if escapes and self.text[self.at] == "\\" else 1
        self.at += len(end)

    def _skip(self, *, newlines: bool = False) -> bool:
        """Over blanks and comments, and line ends where asked; False at the end of the text."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in _SPACE or (newlines and char in "\r\n"):
                self.at += 1
            elif char == "#" and newlines:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return True
        return False

    def _here(self) -> int:
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = self.at
        return self._line

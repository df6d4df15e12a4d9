"""On which line of a TOML text a key stands, since tomllib does not say. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TABLE = re.compile(r"^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}")
_KEY = re.compile(r"""^\s*("[^"]*"|'[^']*'|[A-Za-z0-9_.-]+)\s*=""")


def line_of(text: str, path: Sequence[str]) -> int:
    """The line (from 1) of the key at `path`, else that of the nearest table around it, else 0."""
    found, table, longest = 0, "", -1
    wanted = ".".join(path)
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TABLE.match(line):
            table = _plain(match[1])
            name = table
        elif match := _KEY.match(line):
            name = f"{table}.{_plain(match[1])}".lstrip(".")
        else:
            continue
        if (wanted == name or wanted.startswith(f"{name}.")) and len(name) > longest:
            found, longest = number, len(name)
    return found


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))

"""The part of YAML that inventories are written in: maps by indentation, plain or quoted scalars, comments.

Lists, anchors, tags, flow maps and blocks of text are refused with their line: a part of YAML that is read wrongly
would be a node at the wrong address.
"""

from __future__ import annotations

import re
from typing import Any

from console.inventory.entry import InventoryRefused

DEPTH_MAX = 32
_LINE = re.compile(r"^( *)((?:\"[^\"]*\")|(?:'[^']*')|[^\s:#&*!|>{\[%@`\"'-](?:[^:#]|:(?=\S))*?)\s*:(?:\s+(.*))?$")


class Level(dict[str, Any]):
    """One level of names; `lines` holds the line of each."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


def line_of(level: Any, key: str) -> int:
    """The line of a name in its level; 1 where that is not known."""
    return level.lines.get(key, 1) if isinstance(level, Level) else 1


def read_tree(text: str, *, where: str) -> dict[str, Any]:
    """Nested maps whose values are text or maps. An empty value is an empty map. Raises InventoryRefused."""
    root = Level()
    open_maps: list[tuple[int, Level]] = [(-1, root)]
    for number, raw in enumerate(text.splitlines(), start=1):
        if not raw.strip() or raw.lstrip().startswith("#") or raw.strip() in ("---", "..."):
            continue
        match = _LINE.match(raw.rstrip())
        if match is None:
            raise InventoryRefused(
                f"{where}:{number}: only `name: value` and nested names are read, not {raw.strip()!r}"
            )
        indent, key, value = len(match[1]), _plain(match[2]), match[3]
        while indent <= open_maps[-1][0]:
            open_maps.pop()
        level = open_maps[-1][1]
        if key in level:
            raise InventoryRefused(f"{where}:{number}: {key} is there twice")
        level.lines[key] = number
        scalar = _scalar(value or "", f"{where}:{number}")
        if scalar is None:
            level[key] = Level()
            open_maps.append((indent, level[key]))
            if len(open_maps) > DEPTH_MAX:
                raise InventoryRefused(f"{where}:{number}: more than {DEPTH_MAX} levels")
        else:
            level[key] = scalar
    return root


def _scalar(text: str, where: str) -> str | None:
    """A plain or quoted scalar; None: there is none, and a map follows."""
    text = text.strip()
    if text.startswith(("'", '"')):
        end = text.find(text[0], 1)
        if end < 0 or text[end + 1 :].partition("#")[0].strip():
            raise InventoryRefused(f"{where}: the quotes do not close")
        return text[1:end]
    text = re.split(r"(?:^|\s)#", text)[0].strip()
    if text in ("", "{}", "null", "~"):
        return None
    if text[0] in "&*!|>{[%@`-" and not re.fullmatch(r"-?[\d.]+|--?[A-Za-z].*", text):
        raise InventoryRefused(f"{where}: {text!r} is more YAML than is read here")
    return text


def _plain(key: str) -> str:
    return key[1:-1] if key[:1] in ("'", '"') else key.strip()

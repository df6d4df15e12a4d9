"""The beginning of a file, or what a folder holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nodeagent.sources.probe import Found, Pace, ProbeFailed, Wanted

LINE_BYTES_MAX = 4096


async def look(wanted: Wanted, pace: Pace) -> AsyncIterator[Found]:
    """The first `count` lines or names. Raises ProbeFailed."""
    path = Path(unquote(urlsplit(wanted.url).path))
    try:
        found = await asyncio.to_thread(_look, path, wanted.count)
    except OSError as error:
        raise ProbeFailed(f"{path}: {error.strerror}") from error
    for each in found:
        yield each


def _look(path: Path, count: int) -> list[Found]:
    return _folder(path, count) if path.is_dir() else _file(path, count)


def _folder(path: Path, count: int) -> list[Found]:
    names = sorted(path.iterdir())
    rows = [Found(row=[each.name, str(each.stat().st_size) if each.is_file() else "folder"]) for each in names[:count]]
    return [Found(note=f"{len(names)} files and folders"), Found(columns=["name", "bytes"]), *rows]


def _file(path: Path, count: int) -> list[Found]:
    with path.open("rb") as file:
        lines = [line for _ in range(count) if (line := file.readline(LINE_BYTES_MAX))]
    shown = [Found(row=[line.decode("utf-8", "replace").rstrip("\r\n")]) for line in lines]
    return [Found(note=f"{path.stat().st_size} bytes"), Found(columns=["line"]), *shown]

"""Names in an ssh_config: found by reading its Host lines, resolved by `ssh -G`, which alone knows what they mean."""

from __future__ import annotations

import asyncio
import glob
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from console.fleet.view import NodeAddress
from console.home import check_node_name
from console.inventory.entry import TEXT_BYTES_MAX, Entry, InventoryRefused
from console.link.resolve import ResolveError, resolve

AT_ONCE_MAX = 8
FILES_MAX = 256
DEPTH_MAX = 16  # ssh's own
_KEYWORD = re.compile(r"^\s*(host|include)(?:\s*=\s*|\s+)(.+?)\s*$", re.IGNORECASE)


def names_in(path: Path) -> dict[str, str]:
    """Every plain name of a Host line, in order, and where it stands first; patterns name no host.

    Raises InventoryRefused with the line.
    """
    names: dict[str, str] = {}
    _read(path, names, [], 0)
    return names


def _read(path: Path, names: dict[str, str], files: list[Path], depth: int) -> None:
    files.append(path)
    if depth > DEPTH_MAX or len(files) > FILES_MAX:
        raise InventoryRefused(f"{path}: more than {DEPTH_MAX} files deep, or {FILES_MAX} in all, are included")
    try:
        with path.open("rb") as file:
            text = file.read(TEXT_BYTES_MAX).decode("utf-8", "replace").removeprefix("\ufeff")
    except OSError as error:
        raise InventoryRefused(f"{path}: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        match = _KEYWORD.match(line)
        if match is None:
            continue
        try:
            words = shlex.split(match[2], comments=True)
        except ValueError as error:
            raise InventoryRefused(f"{path}:{number}: {error}") from error
        if match[1].lower() == "host":
            for word in words:
                if not set(word) & set("*?!"):
                    names.setdefault(word, f"{path}:{number}")
            continue
        for included in _included(path, words):
            _read(included, names, files, depth + 1)


def _included(path: Path, words: Sequence[str]) -> list[Path]:
    """The files that an Include names: what is not absolute lies in ~/.ssh, in /etc/ssh for the system's own file."""
    base = Path("/etc/ssh") if path.is_relative_to("/etc/ssh") else Path("~/.ssh").expanduser()
    found: list[Path] = []
    for word in words:
        found += map(Path, sorted(glob.glob(str(base / Path(word).expanduser()))))
    return [each for each in found if each.is_file()]


async def read_ssh_config(path: Path, wanted: Sequence[str] = ()) -> list[Entry]:
    """The named hosts of a file, or all. Raises InventoryRefused with the line."""
    names = await asyncio.to_thread(names_in, path)
    if missing := [name for name in wanted if name not in names]:
        raise InventoryRefused(f"{path}: there is no Host {missing[0]}")
    for name in wanted or names:
        try:
            check_node_name(name)
        except ValueError as error:
            raise InventoryRefused(f"{names[name]}: {error}; `--only` takes others without it") from error
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(name: str) -> Entry:
        async with gate:
            try:
                found = await resolve(name, config=path)
            except (ResolveError, ValueError) as error:
                raise InventoryRefused(f"{names[name]}: {name}: {error}") from error
        address = NodeAddress(
            name=name,
            host=found.endpoint.host,
            port=found.endpoint.port,
            user=found.endpoint.user,
            jumps=found.jumps,
            identity_files=found.identity_files,
            proxy_command=found.proxy_command,
        )
        return Entry(address, found.notes, where=names[name])

    found = await asyncio.gather(*(one(name) for name in wanted or names), return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if isinstance(each, Entry)]

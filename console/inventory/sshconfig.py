"""Names in an ssh_config: found by reading its Host lines, resolved by `ssh -G`, which alone knows what they mean."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

from console.home import check_node_name
from console.inventory.entry import TEXT_BYTES_MAX, Entry, InventoryRefused
from console.link.resolve import resolve
from console.view import NodeAddress

AT_ONCE_MAX = 8
INCLUDES_MAX = 64
_KEYWORD = re.compile(r"^\s*(host|include)(?:\s+|\s*=\s*)(.+?)\s*$", re.IGNORECASE)


def names_in(path: Path, *, depth: int = 0) -> list[str]:
    """Every plain name of a Host line, in order; patterns name no host. Raises InventoryRefused."""
    try:
        text = path.read_text("utf-8")[:TEXT_BYTES_MAX]
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryRefused(f"{path}: {error}") from error
    names: list[str] = []
    for line in text.splitlines():
        match = _KEYWORD.match(line)
        if match is None:
            continue
        if match[1].lower() == "host":
            names += [word.strip('"') for word in match[2].split() if not set(word) & set("*?!")]
        elif depth < INCLUDES_MAX:
            for word in match[2].split():
                pattern = Path(word.strip('"')).expanduser()
                base = pattern.parent if pattern.is_absolute() else path.parent / pattern.parent
                for found in sorted(base.glob(pattern.name)):
                    names += names_in(found, depth=depth + 1)
    return list(dict.fromkeys(names))


async def read_ssh_config(path: Path, wanted: Sequence[str] = ()) -> list[Entry]:
    """The named hosts of a file, or all. Raises InventoryRefused, ResolveError."""
    names = await asyncio.to_thread(names_in, path)
    if missing := [name for name in wanted if name not in names]:
        raise InventoryRefused(f"{path}: there is no Host {missing[0]}")
    gate = asyncio.Semaphore(AT_ONCE_MAX)

    async def one(name: str) -> Entry:
        async with gate:
            found = await resolve(name, config=path)
        try:
            check_node_name(name)
        except ValueError as error:
            raise InventoryRefused(f"{path}: {error}") from error
        address = NodeAddress(
            name=name,
            host=found.endpoint.host,
            port=found.endpoint.port,
            user=found.endpoint.user,
            jumps=found.jumps,
            identity_files=found.identity_files,
            proxy_command=found.proxy_command,
        )
        return Entry(address, found.notes)

    found = await asyncio.gather(*(one(name) for name in wanted or names), return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if isinstance(each, Entry)]

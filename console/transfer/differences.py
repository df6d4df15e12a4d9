"""Differences to blobs that a node may hold, made by a process of their own and kept for the next node.

What is known of older blobs is this console's catalog: bundles of the same name. The same two blobs make the same
difference, so that an upload which was cut goes on, after a restart too.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from store import blobs, durable
from store.archive import Archive, read_archive
from store.bundle import BundleMalformed, Role
from store.errors import StoreError

BYTES_MIN = 64 << 10
OLD_MAX = 4
WORTH = 0.9
MAKE_S_MAX = 300.0
KEPT_BYTES_MAX = 2 << 30
ROLES: tuple[Role, ...] = ("model", "baseline", "golden", "pipeline")


class Old(NamedTuple):
    """A blob of an earlier bundle, and the archive that has it. `version` is the bundle's."""

    digest: str
    version: str
    path: Path


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that makes `new` of `old`; `digest` and `size` in bytes are its own."""

    new: str
    old: Old
    digest: str
    size: int
    path: Path

    def open(self) -> BinaryIO:
        """A reader with seek."""
        return self.path.open("rb")


# The archives of a bundle's earlier versions, newest first: (version, path).
Shelf = Callable[[str], Awaitable[Sequence[tuple[str, Path]]]]


class Differences:
    """Differences kept in `folder`, the newest KEPT_BYTES_MAX of them. One is made at a time."""

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self._folder, self._shelf = folder, shelf
        self._one = asyncio.Lock()
        self._not_worth: set[tuple[str, str]] = set()

    async def olds(self, archive: Archive, digest: str) -> list[Old]:
        """Blobs with the same part in earlier bundles of that name, newest first; at most OLD_MAX, `digest` not."""
        manifest = archive.manifest
        role = next((r for r in ROLES if (layer := manifest.layer(r)) and layer.digest == digest), None)
        found: dict[str, Old] = {}
        if role is None:
            return []
        for version, path in await self._shelf(archive.facts().name):
            old = await asyncio.to_thread(_layer, path, role)
            if old and old != digest:
                found.setdefault(old, Old(old, version, path))
        return list(found.values())[:OLD_MAX]

    async def make(self, archive: Archive, digest: str, old: Old) -> Difference | None:
        """How to make the archive's blob of `old`; None: it would save less than a tenth, or cannot be made."""
        key = digest, old.digest
        path = self._folder / f"{digest[7:39]}-{old.digest[7:39]}.delta"
        async with self._one:
            if key not in self._not_worth and not path.exists():
                await self._write(archive, digest, old, path)
            if not path.exists():
                self._not_worth.add(key)
                return None
            return await asyncio.to_thread(_kept, digest, old, path)

    async def _write(self, archive: Archive, digest: str, old: Old, path: Path) -> None:
        durable.make_dir(self._folder)
        with read_archive(old.path) as before:
            places = archive.blobs[digest], before.blobs[old.digest]
        files = (archive.path, *places[0], old.path, *places[1])
        most = int(places[0][1] * WORTH)
        command = [sys.executable, "-m", "store.differ", *map(str, files), digest, old.digest, str(most), str(path)]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MAKE_S_MAX):
                    await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        await asyncio.to_thread(_tidy, self._folder, path)


def _layer(path: Path, role: Role) -> str | None:
    """The digest of a part of a kept bundle; None where its file is gone or no bundle any more."""
    try:
        with read_archive(path) as archive:
            layer = archive.manifest.layer(role)
    except (StoreError, BundleMalformed):
        return None
    return layer.digest if layer else None


def _kept(digest: str, old: Old, path: Path) -> Difference:
    with path.open("rb") as file:
        return Difference(digest, old, blobs.digest_of(file), path.stat().st_size, path)


def _tidy(folder: Path, newest: Path) -> None:
    """Removes what a killed maker left, and the oldest differences beyond KEPT_BYTES_MAX."""
    durable.remove_temporaries(folder)
    room = KEPT_BYTES_MAX - (newest.stat().st_size if newest.exists() else 0)
    others = [(path.stat(), path) for path in folder.glob("*.delta") if path != newest]
    for stat, path in sorted(others, key=lambda found: -found[0].st_mtime):
        room -= stat.st_size
        if room < 0:
            durable.unlink(path)

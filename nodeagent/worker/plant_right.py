"""The plant right: one process at a time holds a bundle's sources, sinks and outputs. The kernel frees it at exit."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

POLL_S: Final = 0.002
TAKE_S_MAX: Final = 10.0


class RightHeld(Exception):
    """Another process holds the plant right and did not let go in time."""


class PlantRight:
    """A lock on `work/<bundle>.right`, beside the bundle's work folder."""

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir.with_name(f"{work_dir.name}.right")
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        return self._fd is not None

    async def take(self, timeout_s: float = TAKE_S_MAX) -> None:
        """Returns holding the right. Raises RightHeld. Holding it already is nothing to do."""
        if self._fd is not None:
            return
        # For reading, which locks as well: on a disk that has become read-only the way back needs the right too.
        fd = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end_s = asyncio.get_running_loop().time() + timeout_s
        try:
            while not _locked(fd):
                if asyncio.get_running_loop().time() >= end_s:
                    raise RightHeld(f"another process holds {self._path.name}")
                await asyncio.sleep(POLL_S)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def leave(self) -> None:
        """Lets go. Everything that the right covers is closed before."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""The rows, used in one thread: a Protocol, and the one with a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from store.rollouts import Rollouts

T = TypeVar("T")


class Book(Protocol):
    """Does something with the rows, in the one thread that has them."""

    async def __call__(self, act: Callable[[Rollouts], T]) -> T: ...


class ThreadBook:
    """The rows in a thread of their own, so that a slow disk stops no key and no link."""

    def __init__(self, path: Path) -> None:
        self._path, self._rows = path, list[Rollouts]()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rollouts")

    async def __call__(self, act: Callable[[Rollouts], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._with_rows, act)

    def _with_rows(self, act: Callable[[Rollouts], T]) -> T:
        if not self._rows:
            self._rows.append(Rollouts(self._path))
        return act(self._rows[0])

    def close(self) -> None:
        """Closes the file, in its thread."""
        for rows in self._rows:
            self._thread.submit(rows.close).result()
        self._thread.shutdown()

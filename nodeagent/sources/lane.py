"""A thread for a library that blocks: one call at a time, each bounded, and given up with its thread when it hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Lane:
    """One connection's calls. After a timeout the lane is of no use: its thread still waits for the device."""

    def __init__(self, name: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, function: Callable[..., T], *words: object, times: float = 1.0) -> T:
        """What `function` returns or raises; TimeoutError after `times` the lane's timeout."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s * times):
            return await loop.run_in_executor(self._executor, lambda: function(*words))

    def close(self, last: Callable[[], object]) -> None:
        """Lets the thread end behind `last`, which closes the connection, without waiting for it."""
        self._executor.submit(last)
        self._executor.shutdown(wait=False)

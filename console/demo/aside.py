"""Runs a demo in a thread of its own while the app has the main one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def aside(block: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enters the asynchronous `block` in another thread's loop, and leaves it there when this one ends."""
    ready = threading.Event()
    entered: list[T] = []
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def hold() -> None:
        async with block as value:
            entered.append(value)
            ready.set()
            await ended.wait()

    def main() -> None:
        try:
            loop.run_until_complete(hold())
        except BaseException as error:  # noqa: BLE001  (raised again in the caller's thread)
            failed.append(error)
        finally:
            loop.close()
            ready.set()

    thread = threading.Thread(target=main, name="demo plant")
    thread.start()
    try:
        ready.wait()
        if not entered:
            raise failed[0]
        yield entered[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(ended.set)
        thread.join()
    if failed:
        raise failed[0]

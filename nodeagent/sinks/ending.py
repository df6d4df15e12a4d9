"""How the tasks of a sink end."""

from __future__ import annotations

import asyncio
from typing import Any, Final

CANCEL_AGAIN_S: Final = 0.1


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels `task` until it has ended: in Python 3.11 a library's wait_for may lose a cancellation to its answer."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
    if not task.cancelled():
        task.exception()  # seen: who needs it has read it before

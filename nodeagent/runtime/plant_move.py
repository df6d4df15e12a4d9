"""Moving the plant from one worker process to another, as the supervisor orders it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nodeagent.clock import Clock
from nodeagent.runtime.crew import ORDER_S_MAX
from nodeagent.runtime.worker_link import WorkerGone, WorkerLink

SWITCH_S_MAX: Final = 40.0


async def move(
    old: WorkerLink | None, new: WorkerLink, clock: Clock, say: Callable[[str, str], None]
) -> tuple[float, int]:
    """`new` serves when it returns: (milliseconds in which nobody had the plant, HTTP connections that went along).

    An `old` one that can give nothing any more is killed. Raises OrderRefused when `old` has the plant again,
    WorkerGone when `new` did not take it.
    """
    gap_ms, passed = 0.0, 0
    if old is not None and old is not new and old.state == "active":
        try:
            given = await old.ask("give", timeout_s=SWITCH_S_MAX, path=str(new.socket_path))
            gap_ms, passed = float(given["gap_ms"]), int(given["connections"])
        except WorkerGone as error:
            say("error", f"the switch: {error}; the old worker is ended")
            gap_ms = await _take(old, new, clock)
    else:
        gap_ms = await _take(old, new, clock)
    await new.until(lambda: new.state == "active", ORDER_S_MAX)
    return gap_ms, passed


async def _take(old: WorkerLink | None, new: WorkerLink, clock: Clock) -> float:
    """`new` takes the plant without a word from `old`. Milliseconds that it took."""
    began_us = clock.boottime_us()
    if old is not None and old is not new and old.state != "released":
        old.kill()
    if new.state != "active":
        await new.ask("activate", timeout_s=SWITCH_S_MAX)
    return (clock.boottime_us() - began_us) / 1e3

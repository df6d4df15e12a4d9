"""A camera that is not there: `python -m nodeagent.sources.simulators.camera --broker mqtt://127.0.0.1:1883`.

It publishes a PNG of a casting at a time, or drops it into `--folder`. A broker that is gone is looked for again.
"""

from __future__ import annotations

import argparse
import asyncio
import io
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from nodeagent.sinks.broker import Login
from nodeagent.sources.mqtt_link import LinkLost, Listener
from nodeagent.sources.simulators import casting
from store import durable

TOPIC: Final = "plant/casting/camera"
AGAIN_S: Final = 0.5
TIMEOUT_S: Final = 2.0
KEEPALIVE_S: Final = 5
Show = Callable[[bytes], Awaitable[None]]


class Line:
    """Castings one after another, some of them with a scratch or a pit."""

    def __init__(self, seed: int, defect_share: float) -> None:
        self._rng = np.random.default_rng(seed)
        self._defect_share = defect_share

    def next(self) -> bytes:
        """The PNG of the next one."""
        bad = self._rng.random() < self._defect_share
        defect = casting.FAULTS[int(self._rng.integers(len(casting.FAULTS)))] if bad else None
        held = io.BytesIO()
        Image.fromarray(casting.face(self._rng, defect=defect)).save(held, "PNG")
        return held.getvalue()


async def watch(line: Line, every_s: float, show: Show) -> None:
    """A picture each `every_s`, until `show` raises."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        await show(line.next())
        due_s = max(due_s + every_s, loop.time())
        await asyncio.sleep(due_s - loop.time())


async def publish(url: str, topic: str, line: Line, every_s: float) -> None:
    """Until cancelled."""
    while True:
        try:
            link = await Listener.open(
                url, Login("camera"), (), qos=0, version="3.1.1", keepalive_s=KEEPALIVE_S, timeout_s=TIMEOUT_S
            )
            try:
                await watch(line, every_s, partial(link.publish, topic))
            finally:
                await link.close()
        except LinkLost:
            await asyncio.sleep(AGAIN_S)


async def drop(folder: Path, line: Line, every_s: float) -> None:
    """Until cancelled; a file appears whole, by its name."""
    count = 0

    async def show(picture: bytes) -> None:
        nonlocal count
        count += 1
        await asyncio.to_thread(durable.write_file, folder / f"part-{count:08}.png", picture)

    await watch(line, every_s, show)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--broker", metavar="URL")
    where.add_argument("--folder", type=Path)
    parser.add_argument("--topic", default=TOPIC)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=0.5, help="seconds a casting")
    parser.add_argument("--defect-share", type=float, default=0.1)
    options = parser.parse_args()
    line = Line(options.seed, options.defect_share)
    if options.broker:
        asyncio.run(publish(options.broker, options.topic, line, options.every))
    else:
        asyncio.run(drop(options.folder, line, options.every))


if __name__ == "__main__":
    main()

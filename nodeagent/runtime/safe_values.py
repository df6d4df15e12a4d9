"""A short-lived worker that writes a bundle's safe values: sinks only, no model. Nobody else starts meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from nodeagent.processes.launcher_client import LauncherClient, LauncherError, WorkerExit
from nodeagent.runtime.worker_spec import WorkerSpecs
from nodeagent.spec import Activation

WRITE_S_MAX: Final = 15.0


class SafeValues:
    """Writes them for one bundle. `say` gets what failed."""

    def __init__(self, launcher: LauncherClient, specs: WorkerSpecs, say: Callable[[str, str], None]) -> None:
        self._launcher = launcher
        self._specs = specs
        self._say = say
        self._worker = ""
        self._ended = asyncio.Event()
        self._ended.set()

    async def write(self, activation: Activation) -> None:
        """Returns when they are written or it failed. The plant right must be free, or about to be."""
        if not activation.pipeline_path:
            return
        await self.settled()
        spec = self._specs.make(activation, "safe", held=True)
        self._worker = spec.worker
        self._ended.clear()
        try:
            await self._launcher.spawn(spec)
        except LauncherError as error:
            self._ended.set()
            self._say("error", f"the safe values could not be written: {error}")
        await self.settled()

    async def settled(self) -> None:
        """Waits for a write under way: a worker that starts meanwhile would find the plant right taken."""
        try:
            async with asyncio.timeout(WRITE_S_MAX):
                await self._ended.wait()
        except TimeoutError:
            self._say("error", f"the safe values were not written in {WRITE_S_MAX:g} s")

    def exited(self, ended: WorkerExit) -> None:
        """A worker of the node ended; ours if it has its name."""
        if ended.worker != self._worker:
            return
        if ended.status != 0:
            self._say("error", f"the safe values were not written: {ended.text} {ended.tail}".rstrip())
        self._ended.set()

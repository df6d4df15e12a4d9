"""The sinks of a bundle together: outcomes out, the safe value in one step, hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

from nodeagent.pipeline import registry
from nodeagent.pipeline.config import PipelineConfig
from nodeagent.pipeline.outcome import Outcome
from nodeagent.protocol import SinkTelemetry
from nodeagent.sinks.pulse import HasPulse, Pulse
from nodeagent.sinks.sink import Sink, SinkContext, SinkFailed, TakesMany, WritesBack

SAFE_S_MAX: Final = 5.0
CLOSE_S_MAX: Final = 3.0
RECORDS: Final = "record"


class Outputs:
    """All sinks of one pipeline. While held, only records go on; every other sink stands at its safe value."""

    def __init__(self, sinks: Sequence[tuple[str, Sink]]) -> None:
        self._sinks = list(sinks)
        self.held = False

    @classmethod
    def create(cls, config: PipelineConfig, context: SinkContext) -> Outputs:
        """The sinks of a pipeline, not started. Without a recorder in `context` the records are left out."""
        sections = [each for each in config.sinks if each.use != RECORDS or context.recorder is not None]
        return cls([(section.use, registry.sink(section.use)[1](section, context)) for section in sections])

    async def start(self) -> None:
        for _, sink in self._sinks:
            await sink.start()

    def offer(self, outcomes: Sequence[Outcome]) -> None:
        """Gives outcomes to every sink that may act; never waits."""
        for word, sink in self._sinks:
            if not self.held or word == RECORDS:
                if isinstance(sink, TakesMany):
                    sink.offer_many(outcomes)
                    continue
                for outcome in outcomes:
                    sink.offer(outcome)

    async def safe(self) -> list[str]:
        """Writes every safe value at once; what failed, in words. Takes SAFE_S_MAX at most."""
        results = await asyncio.gather(*(_in_time(word, sink.safe()) for word, sink in self._sinks))
        return [problem for problem in results if problem]

    async def arm(self, on: bool) -> list[str]:
        """Arms what writes to a plant, or disarms it; what failed, in words. While held it stands at its safe value."""
        armed = [(word, sink) for word, sink in self._sinks if isinstance(sink, WritesBack)]
        results = await asyncio.gather(*(_in_time(word, sink.arm(on)) for word, sink in armed))
        problems = [problem for problem in results if problem]
        return problems + (await self.safe() if self.held else [])

    def pulse(self, beat: Pulse) -> None:
        """How the bundle does, to the sinks that tell it; never waits. Also while held: no beat moves a machine."""
        for _, sink in self._sinks:
            if isinstance(sink, HasPulse):
                sink.pulse(beat)

    def doubt(self, reason: str) -> None:
        """Disarms what writes to a plant until told "", whatever `arm` says; never waits."""
        for _, sink in self._sinks:
            if isinstance(sink, WritesBack):
                sink.doubt(reason)

    async def hold(self, on: bool) -> list[str]:
        """Holds: no outcome acts any more, and the safe values are written. Releases: the next outcome acts again."""
        self.held = on
        return await self.safe() if on else []

    async def close(self) -> list[str]:
        """Ends every sink; what failed, in words."""
        results = await asyncio.gather(*(self._close(word, sink) for word, sink in self._sinks))
        return [problem for problem in results if problem]

    def telemetry(self) -> list[SinkTelemetry]:
        return [sink.telemetry() for _, sink in self._sinks]

    async def _close(self, word: str, sink: Sink) -> str:
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await sink.close()
        except TimeoutError:
            return f"{word}: did not end in {CLOSE_S_MAX:g} s"
        except (SinkFailed, OSError) as error:
            return f"{word}: {error}"
        return ""


async def _in_time(word: str, work: Awaitable[None]) -> str:
    """Why the safe value did not arrive; empty: it did."""
    try:
        async with asyncio.timeout(SAFE_S_MAX):
            await work
    except TimeoutError:
        return f"{word}: the safe value did not arrive in {SAFE_S_MAX:g} s"
    except (SinkFailed, OSError) as error:
        return f"{word}: {error}"
    return ""

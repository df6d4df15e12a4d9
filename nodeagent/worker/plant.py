"""The pipeline of one bundle in its worker: fed by its sources while it holds the plant right, by a sibling before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from nodeagent.clock import Clock
from nodeagent.frame import Frame
from nodeagent.pipeline.alarm import StandingAlarm
from nodeagent.pipeline.config import PipelineConfig
from nodeagent.pipeline.drift import Watch
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.outcome import Outcome
from nodeagent.protocol import SinkTelemetry, SourceTelemetry
from nodeagent.sinks.pulse import BEAT_S, Heart
from nodeagent.sinks.sink import SinkContext
from nodeagent.sources import device
from nodeagent.sources.doors import Doors
from nodeagent.sources.source import SourceContext
from nodeagent.spec import Activation
from nodeagent.worker.intakes import Intakes
from nodeagent.worker.outputs import Outputs
from nodeagent.worker.shadow import Said, Shadow, said
from nodeagent.worker.stats import WorkerStats
from nodeagent.worker.sweeps import Sweeps
from store import durable
from store.errors import StoreError
from store.recorder import Recorder

SETTLE_S_MAX: Final = 10.0


class Plant:
    """Sources, engine and sinks. `open` and `end_sweep`/`close` move with the right; the engine lives as long as we do.

    `failed` is told of anything that must end the worker.
    """

    def __init__(
        self,
        activation: Activation,
        config: PipelineConfig,
        engine: Engine,
        drift: Watch,
        *,
        doors: Doors,
        clock: Clock,
        stats: WorkerStats,
        on_frames: Callable[[Sequence[Frame]], None],
        on_said: Callable[[Callable[[], list[Said]]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.engine = engine
        self.shadow: Shadow | None = None
        self._cold = engine.state()
        self._on_said = on_said
        self.doors = doors
        self.drift = drift
        self.alarm = StandingAlarm(config.decide.options)
        self._activation = activation
        self._config = config
        self._clock = clock
        self._stats = stats
        self._failed = failed
        self._sweeps = Sweeps(engine, on_outcomes=self._decided, on_frames=on_frames)
        self._working: asyncio.Task[None] | None = None
        self._intakes: Intakes | None = None
        self._outputs: Outputs | None = None
        self._doubt = ""
        self._heart = Heart()
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the engine's task: frames may be fed from here on."""
        self._working = asyncio.create_task(self._sweeps.run(), name="sweeps")
        self._working.add_done_callback(self._ended)

    def feed(self, frame: Frame) -> None:
        """A frame from the worker that holds the right."""
        if self._intakes is None:
            self._sweeps.offer(frame)

    async def open(self, recorder: Recorder | None, *, held: bool) -> None:
        """Connects to the plant. The caller holds the right. Without a recorder nothing is recorded."""
        self.shadow = None
        work_dir = Path(self._activation.work_dir)
        self._outputs = Outputs.create(
            self._config, sink_context(self._activation, self._config, self._clock, recorder)
        )
        self._doubt = ""
        await self._outputs.start()
        if held:
            await self._outputs.hold(True)
        await asyncio.to_thread(self._recall_drift)
        context = SourceContext(clock=self._clock, work_dir=work_dir, doors=self.doors)
        self._intakes = Intakes.create(self._config, context, self._sweeps.offer, failed=self._failed)
        self._intakes.open()
        self._beating = asyncio.create_task(self._beat(self._outputs), name="pulse")
        self._beating.add_done_callback(self._ended)

    async def _beat(self, outputs: Outputs) -> None:
        while True:
            outputs.pulse(self._heart.beat(self._clock.boottime_us(), held=outputs.held))
            await asyncio.sleep(BEAT_S)

    def cast_shadow(self, on: bool) -> None:
        """Compares from here on what is made of fed frames with what is heard, from empty windows; or ends it."""
        if not on:
            self.shadow = None
            return
        if self.shadow is None:
            self.shadow = Shadow()
        else:
            self.shadow.forget_waiting()
            self._sweeps.forget()

    async def seeding(self, give: Callable[[bytes], object]) -> None:
        """Gives the engine's state between two sweeps: what the next sweep is passed on to can go on from there."""
        await self._sweeps.between(lambda: give(self.engine.state()))

    async def seed(self, data: bytes) -> None:
        """Stands where the active engine stands, as behind a switch; other steps begin anew. Raises StateRefused."""

        def stand() -> None:
            self.engine.restore(self._cold)
            self.engine.restore(data)

        await self._sweeps.between(stand)

    async def end_sweep(self) -> None:
        """Closes the sources and takes what they brought through the engine. Nothing comes in after it."""
        if self._intakes is not None:
            await self._intakes.close()
            await self._sweeps.settled(SETTLE_S_MAX)
            self._intakes = None

    async def close(self, *, safe: bool) -> list[str]:
        """Ends the sinks, behind their safe values if `safe`; what failed, in words."""
        outputs, self._outputs = self._outputs, None
        if self._beating is not None:
            self._beating.cancel()
        if outputs is None:
            return []
        problems = await outputs.safe() if safe else []
        problems += await outputs.close()
        watched = self.drift.state()
        try:
            if watched:
                await asyncio.to_thread(durable.write_file, self._drift_file, watched)
        except StoreError as error:
            problems.append(f"the drift window begins anew: {error}")
        return problems

    @property
    def _drift_file(self) -> Path:
        return Path(self._activation.work_dir) / "drift.state"

    def _recall_drift(self) -> None:
        """Goes on with the window of the worker before, if that watched by the same baseline."""
        if self._drift_file.exists():
            self.drift.restore(self._drift_file.read_bytes())

    def tags(self) -> list[str]:
        """What the sources give, and what drift watches."""
        return sorted({*(() if self._intakes is None else self._intakes.tags), *self.drift.tags})

    async def mark(self, why: str) -> None:
        """Drift begins anew because of `why`, also for a worker after this one. Raises StoreError."""
        self.drift.restart(why)
        if watched := self.drift.state():
            await asyncio.to_thread(durable.write_file, self._drift_file, watched)

    def changed(self, source: str) -> str:
        """How the device behind a source differs from the accepted one."""
        return "" if self._intakes is None else self._intakes.changes.get(source, "")

    async def accept(self, source: str) -> None:
        """Takes the device behind a source for the right one. Raises StoreError, OSError."""
        await asyncio.to_thread(device.accept, Path(self._activation.work_dir), source)

    async def hold(self, on: bool) -> list[str]:
        """Holds or releases the outputs; what failed, in words."""
        return [] if self._outputs is None else await self._outputs.hold(on)

    async def arm(self, on: bool) -> list[str]:
        """Arms or disarms what writes to the plant, now and whenever it is opened; what failed, in words."""
        self._activation = self._activation.armed(on)
        return [] if self._outputs is None else await self._outputs.arm(on)

    async def stop(self) -> None:
        """Ends the engine's task."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])

    @property
    def waiting(self) -> int:
        """Frames that wait for the engine."""
        return self._sweeps.waiting

    def sources(self) -> list[SourceTelemetry]:
        return [] if self._intakes is None else self._intakes.telemetry()

    def sinks(self) -> list[SinkTelemetry]:
        return [] if self._outputs is None else self._outputs.telemetry()

    def _decided(self, outcomes: list[Outcome]) -> None:
        cost_us = self._sweeps.turn_us
        if self._outputs is None:
            if self.shadow is not None and self.engine.warm:
                self.shadow.made(said(outcomes, cost_us))
            return
        self._on_said(lambda: said(outcomes, cost_us))
        for outcome in outcomes:
            self._stats.outcome(outcome)
        if outcomes:
            self._heart.saw(outcomes[-1], self._clock.boottime_us())
        self.drift.saw(outcomes)
        self.alarm.saw(outcomes)
        if self._intakes is not None and (changed := self._intakes.doubt) != self._doubt:
            self._doubt = changed
            self._outputs.doubt(changed)
        self._outputs.offer(outcomes)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)


def sink_context(
    activation: Activation, config: PipelineConfig, clock: Clock, recorder: Recorder | None
) -> SinkContext:
    """What the sinks of an activation may use."""
    return SinkContext(
        clock=clock,
        node_id=activation.node_id,
        bundle=activation.bundle,
        pipeline=config.name,
        asset=config.asset,
        revision=activation.revision,
        digest=activation.digest,
        work_dir=Path(activation.work_dir),
        recorder=recorder,
        write_back=activation.write_back,
    )

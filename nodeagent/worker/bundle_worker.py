"""One bundle at work in its own process: loading, candidate, active, released. The states and what moves between them.

A candidate has no sources and no sinks and accepts no connection; the active worker holds the plant right and has all
of them; a released one was active and stays warm. Only one is active, because the kernel gives the right to one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import socket
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from nodeagent.clock import Clock
from nodeagent.frame import Frame
from nodeagent.pipeline.drift import NO_BASELINE
from nodeagent.pipeline.state import StateRefused
from nodeagent.protocol import BundleTelemetry, WorkerState
from nodeagent.serving.model_service import ModelService
from nodeagent.sources.doors import Doors
from nodeagent.spec import Activation
from nodeagent.worker.loading import Loaded
from nodeagent.worker.plant import Plant
from nodeagent.worker.plant_right import PlantRight
from nodeagent.worker.shadow import Said
from nodeagent.worker.stats import Rates, WorkerStats
from store.errors import ReadOnly
from store.recorder import Recorder
from store.segment import Row

State = Literal["candidate", "active", "released"]
HTTP_DRAIN_S: Final = 5.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
Connections = list[tuple[socket.socket, bytes]]


@dataclasses.dataclass
class Inheritance:
    """What an active worker leaves to the next one. Whoever holds it owns the sockets. `stopped_us`: CLOCK_BOOTTIME."""

    engine_state: bytes
    connections: Connections
    held: bool
    stopped_us: int


class BundleWorker:
    """`failed` is told of what must end the process; `on_frames` gets every sweep of the active worker.

    `on_said` gets, before that, a way to what the sweep led to.
    """

    def __init__(
        self,
        activation: Activation,
        loaded: Loaded,
        listening: socket.socket,
        *,
        clock: Clock,
        held: bool,
        on_frames: Callable[[Sequence[Frame]], None],
        on_said: Callable[[Callable[[], list[Said]]], None],
        failed: Callable[[BaseException], None],
        log: Callable[[str, str], None],
    ) -> None:
        self.activation = activation
        self.state: State = "candidate"
        self.held = held
        self.stats = WorkerStats()
        self._listening = listening
        self._clock = clock
        self._log = log
        self._right = PlantRight(Path(activation.work_dir))
        self._recorder: Recorder | None = None
        self._recorded = (0, 0)
        doors = Doors()
        self._service = ModelService(
            activation, loaded, self.stats, doors=doors, record=self._record, report=self._report
        )
        self._plant: Plant | None = None
        if loaded.engine is not None and loaded.config is not None and loaded.drift is not None:
            self._plant = Plant(
                activation,
                loaded.config,
                loaded.engine,
                loaded.drift,
                doors=doors,
                clock=clock,
                stats=self.stats,
                on_frames=on_frames,
                on_said=on_said,
                failed=failed,
            )
            self._plant.start()

    @property
    def warm(self) -> bool:
        """Whether every window is full, so that this worker decides as one that ran all along."""
        return self._plant is None or self._plant.engine.warm

    @property
    def plant(self) -> Plant | None:
        """The pipeline; None for a bundle that only answers over HTTP."""
        return self._plant

    def feed(self, frame: Frame) -> None:
        """A sweep of the active worker, for one that is not."""
        if self._plant is not None and self.state != "active":
            self._plant.feed(frame)

    def cast_shadow(self, on: bool) -> None:
        """Begins to compare, begins anew behind an interruption, or ends it. Only for one that is not active."""
        if self._plant is not None and self.state != "active":
            self._plant.cast_shadow(on)

    def heard(self, rows: Sequence[Sequence[Any]]) -> None:
        """What the active worker said to the sweep that comes next."""
        if self._plant is not None and self._plant.shadow is not None and self._plant.engine.warm:
            self._plant.shadow.heard([Said(*row) for row in rows])

    def shadow_figures(self) -> dict[str, Any] | None:
        """How the comparison stands; None while there is none."""
        if self._plant is None or self._plant.shadow is None:
            return None
        return self._plant.shadow.figures() | {"waiting": self._plant.waiting}

    async def activate(self, left: Inheritance | None = None) -> float:
        """Takes the right, goes on where `left` stands, opens everything. Milliseconds in which nobody had the plant.

        Raises RightHeld, and whatever a sink or the recorder cannot do; then nothing is open and the right is free.
        """
        await self._right.take()
        try:
            await self._open(left)
        except BaseException:
            await self._close_all(safe=False)
            raise
        self.state = "active"
        return 0.0 if left is None else (self._clock.boottime_us() - left.stopped_us) / 1e3

    async def _open(self, left: Inheritance | None) -> None:
        if left is not None:
            self.held = self.held or left.held
            if self._plant is not None:
                try:
                    self._plant.engine.restore(left.engine_state)
                except StateRefused as error:
                    self._log("warning", f"state of the previous worker: {error}")
        try:
            self._recorder = await asyncio.to_thread(self._new_recorder)
        except (OSError, ReadOnly) as error:
            if not _is_read_only_disk(error):
                raise
            # A way back on a disk that became read-only serves all the same; what is not kept is counted as lost.
            self._log("error", f"predictions are not recorded: {error}")
        if self._plant is not None:
            await self._plant.open(self._recorder, held=self.held)
        await self._service.open(self._listening.dup(), left.connections if left is not None else [])

    async def release(self) -> Inheritance:
        """Ends the sweep and the requests under way, closes everything, lets the right go. The model stays warm."""
        connections = await self._service.release(HTTP_DRAIN_S)
        stopped_us = self._clock.boottime_us()
        if self._plant is not None:
            await self._plant.end_sweep()
            stopped_us = self._clock.boottime_us()
        engine_state = b"" if self._plant is None else self._plant.engine.state()
        await self._close_all(safe=False)
        self.state = "released"
        return Inheritance(engine_state, connections, self.held, stopped_us)

    async def hold(self, on: bool) -> list[str]:
        """Outputs to the safe value until released; recording goes on. What failed, in words."""
        self.held = on
        return [] if self._plant is None else await self._plant.hold(on)

    async def arm(self, on: bool) -> list[str]:
        """Write-back acts from here on, or is a dry run. What failed, in words."""
        self.activation = self.activation.armed(on)
        return [] if self._plant is None else await self._plant.arm(on)

    def tags(self) -> list[str]:
        """The tags that the sources of this worker give and that its model sees."""
        return [] if self._plant is None else self._plant.tags()

    async def mark(self, why: str) -> None:
        """Drift begins anew, since a sensor is not what it was. Raises StoreError where that was not kept."""
        if self._plant is not None:
            await self._plant.mark(why)

    def device(self, source: str) -> str:
        """How the device behind a source differs from the accepted one; empty: it does not."""
        return "" if self._plant is None else self._plant.changed(source)

    async def accept(self, source: str) -> None:
        """The device behind a source is the right one as it is. Raises StoreError, OSError."""
        if self._plant is not None:
            await self._plant.accept(source)

    async def stop(self) -> None:
        """Ends for good: requests under way are answered, safe values written, records flushed."""
        if self.state == "active":
            await self._service.close(drain_s=2.0)
            if self._plant is not None:
                await self._plant.end_sweep()
            await self._close_all(safe=True)
        if self._plant is not None:
            await self._plant.stop()

    async def _close_all(self, *, safe: bool) -> None:
        """Closes what the right covers, whatever of it is open, and lets the right go."""
        await self._service.close(drain_s=0.0)
        if self._plant is not None:
            await self._plant.end_sweep()
            for problem in await self._plant.close(safe=safe):
                self._log("error", problem)
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            await asyncio.to_thread(recorder.close)
            counters = recorder.counters
            self._recorded = (self._recorded[0] + counters.written, self._recorded[1] + counters.lost)
        self._right.leave()

    def _record(self, rows: Iterable[Row]) -> None:
        if self._recorder is not None:
            self._recorder.offer_many(rows)
        else:
            written, lost = self._recorded
            self._recorded = (written, lost + sum(1 for _ in rows))

    def _report(self, error: BaseException) -> None:
        self._log("error", "".join(traceback.format_exception(error)))

    def _new_recorder(self) -> Recorder:
        activation = self.activation
        return Recorder(
            Path(activation.records_dir),
            bundle=activation.bundle,
            revision=activation.revision,
            digest=activation.model_digest,
            config=activation.pipeline_digest,
            boot_number=activation.boot_number,
            clock_us=self._clock.boottime_us,
        )

    def tick(self, period_s: float) -> Rates:
        """Ends a period of `period_s` of the counters."""
        self.stats.http_errors, self.stats.http_rejects = self._service.counts()
        return self.stats.tick(period_s)

    def telemetry(self, rates: Rates) -> BundleTelemetry:
        """What this worker knows of its bundle; state, trial and restarts are the supervisor's to fill in."""
        activation, stats, plant = self.activation, self.stats, self._plant
        written, lost = self._recorded
        queue, queue_max = 0, 0
        if self._recorder is not None:
            counters = self._recorder.counters
            written, lost = written + counters.written, lost + counters.lost
            queue, queue_max = counters.queue, counters.queue_max
        return BundleTelemetry(
            bundle=activation.bundle,
            model=activation.model,
            version=activation.version,
            revision=activation.revision,
            digest=activation.digest,
            state=WorkerState.SERVING,
            inferences_per_s=rates.inferences_per_s,
            latency_ms_p50=rates.p50_ms,
            latency_ms_p95=rates.p95_ms,
            latency_ms_p99=rates.p99_ms,
            predictions_total=stats.predictions_total,
            errors_total=stats.errors_total,
            rejects_per_s=rates.rejects_per_s,
            rejects_total=stats.rejects_total,
            queue=queue + (0 if plant is None else plant.waiting),
            queue_max=queue_max,
            quality_good_share=rates.quality_good_share,
            records_total=written,
            records_lost_total=lost,
            memory_bytes=resident_bytes(),
            drift=NO_BASELINE if plant is None else plant.drift.verdict,
            alarm="" if plant is None else plant.alarm.text,
            last=stats.last,
            sources=[] if plant is None else plant.sources(),
            stages=[] if plant is None else plant.engine.stages(),
            sinks=[] if plant is None else plant.sinks(),
            latency_histogram_ms=stats.latencies.histogram_ms(),
            contexts=stats.contexts.telemetry(),
        )


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def _is_read_only_disk(error: BaseException) -> bool:
    """Whether the whole file system refuses writes: a missing permission is a mistake to be told of, not lived with."""
    cause = error.__cause__ if isinstance(error, ReadOnly) else error
    return isinstance(cause, OSError) and cause.errno == errno.EROFS

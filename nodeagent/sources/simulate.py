"""`type = "simulate"`: a machine that is not there, at the pace and with the faults that the section says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np

from nodeagent.frame import Frame, good
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.section import Section
from nodeagent.sources.simulators import bearing, casting, pump
from nodeagent.sources.simulators.schedule import Schedule
from nodeagent.sources.source import Emit, SourceContext, SourceOptions

_FAULTS = {"pump": pump.FAULTS, "bearing": bearing.FAULTS, "casting": casting.FAULTS}
_PUMP_BLOCK = 16


class SimulateOptions(SourceOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`machine` runs in its own time, `step` a frame, at one frame each `poll` of ours; `count` frames, 0: for ever.

    `fault` with `severity`: a number, or points of [seconds of the machine, severity]. `defect_share`: how many
    castings have the fault. `spike`, `missing`: shares of dirt in a pump's values. `start` of its day.
    """

    machine: Literal["pump", "bearing", "casting"]
    poll: Seconds = Seconds(1.0)
    step: Seconds = Seconds(1.0)
    start: Seconds = Seconds(0.0)
    seed: int = 0
    count: Annotated[int, msgspec.Meta(ge=0)] = 0
    fault: str = ""
    severity: float | list[list[float]] = 0.0
    defect_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.15
    spike: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    missing: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    rpm: float = bearing.RPM
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        if self.fault and self.fault not in _FAULTS[self.machine]:
            raise ValueError(f"the faults of a {self.machine} are {', '.join(_FAULTS[self.machine])}")
        if self.poll <= 0 or self.step <= 0:
            raise ValueError("'poll' and 'step' are longer than nothing")
        Schedule(self.severity)

    def tag_names(self, id: str) -> tuple[str, ...]:  # noqa: A002
        return pump.TAGS if self.machine == "pump" else (id,)


OPTIONS = SimulateOptions


class Machine(Protocol):
    """Gives one frame's worth after another."""

    def next(self, severity: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
        """Values and, where there is one, the blob."""


class Simulate:
    """The source. It goes on where it stood when it is run again."""

    silence_s: float | None = None
    renewals = 0

    def __init__(
        self,
        id: str,  # noqa: A002
        options: SimulateOptions,
        context: SourceContext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.id = id
        self.type = "simulate"
        self.names = options.tag_names(id)
        self.period_s: float | None = float(options.poll)
        self.bad_items: list[str] = []
        self.frames = 0
        self._options = options
        self._clock = context.clock
        self._sleep = sleep
        self._schedule = Schedule(options.severity)
        self._machine = machine(options)

    def sweep(self) -> Frame:
        """The next frame, now."""
        severity = self._schedule.at(self.frames * self._options.step)
        values, blob = self._machine.next(severity)
        self.frames += 1
        now_us = self._clock.boottime_us()
        return good(self.names, values, source_us=self._clock.wall_us(), received_us=now_us, blob=blob, source=self.id)

    async def run(self, emit: Emit) -> None:
        due_us = self._clock.boottime_us()
        while not self._options.count or self.frames < self._options.count:
            emit(self.sweep())
            due_us += round(self._options.poll * 1e6)
            late_us = self._clock.boottime_us() - due_us
            if late_us > self._options.poll * 10e6:
                due_us += late_us
            await self._sleep(max(0.0, (due_us - self._clock.boottime_us()) / 1e6))


def create(section: Section, context: SourceContext) -> Simulate:
    """The source of a section."""
    assert isinstance(section.options, SimulateOptions)
    return Simulate(section.id, section.options, context)


def machine(options: SimulateOptions) -> Machine:
    """The machine that the options describe, at its beginning."""
    kinds: dict[str, Callable[[SimulateOptions], Machine]] = {
        "pump": _PumpSkid,
        "bearing": _Bearing,
        "casting": _Casting,
    }
    return kinds[options.machine](options)


class _PumpSkid:
    def __init__(self, options: SimulateOptions) -> None:
        self._options = options
        self._pump = pump.Pump(options.seed, start_s=options.start, period_s=options.step)
        self._rows: list[np.ndarray[Any, Any]] = []
        self._blocks = 0

    def next(self, severity: float) -> tuple[np.ndarray[Any, Any], None]:
        if not self._rows:
            o = self._options
            block = self._pump.block(_PUMP_BLOCK, **({o.fault: severity} if o.fault else {}))
            block, _ = pump.dirty(block, seed=o.seed + self._blocks, spike=o.spike, missing=o.missing)
            self._blocks += 1
            self._rows = list(block[::-1])
        return self._rows.pop(), None


class _Bearing:
    def __init__(self, options: SimulateOptions) -> None:
        self._options = options
        self._rng = np.random.default_rng(options.seed)

    def next(self, severity: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        o = self._options
        wave = bearing.vibration(
            self._rng,
            fault=o.fault or None,
            severity=severity,
            rpm=o.rpm,
            seconds=o.step,
            sample_rate_hz=o.sample_rate or bearing.SAMPLE_RATE_HZ,
        )
        return np.zeros(1), wave.astype(np.float32)


class _Casting:
    def __init__(self, options: SimulateOptions) -> None:
        self._options = options
        self._rng = np.random.default_rng(options.seed)

    def next(self, severity: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        o = self._options
        hit = severity > 0 and self._rng.random() < o.defect_share
        defect = (o.fault or casting.FAULTS[int(self._rng.integers(2))]) if hit else None
        return np.zeros(1), casting.face(self._rng, defect=defect, severity=severity)

"""One run: a fault every INTERVAL_S by the seed, the checks after each, and what processes and files take meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak import checks, gauges, growth
from tests.soak.fault import Fault
from tests.soak.growth import Slope
from tests.soak.injections import FAULTS
from tests.soak.plantsite import ON_SMALL_DISKS, Say, Site

INTERVAL_S = 20.0
SAMPLE_S = 5.0
FAULT_S_MAX = 180.0
CALM_WITHIN_S = 60.0


@dataclass(frozen=True)
class Injected:
    """One fault that was done."""

    number: int
    at_s: float
    fault: str
    node: str
    seen: str
    again_s: float | None
    wrong: list[str]

    def __str__(self) -> str:
        again = "" if self.again_s is None else f"; predicted again {self.again_s:.1f} s after its end"
        text = f"{self.number} at {self.at_s:.0f} s: {self.fault} on {self.node}: {self.seen}{again}"
        return "\n  VIOLATION ".join([text, *self.wrong])


@dataclass
class Result:
    """What was injected, what was seen, and how what the plant takes has moved."""

    seed: int
    seconds: float = 0.0
    injected: list[Injected] = field(default_factory=list)
    slopes: list[Slope] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    no_disks: str = ""
    """Why no disk was filled."""

    @property
    def violations(self) -> list[str]:
        found = [f"{one.number} {one.fault} on {one.node}: {text}" for one in self.injected for text in one.wrong]
        found += [
            f"{slope.name}, {slope.kind}: {slope.grown:+.2f} in the run, {slope.allowed:.2f} allowed"
            for slope in self.slopes
            if not slope.is_flat
        ]
        return found + self.wrong


def schedule(source: random.Random, nodes: Sequence[str], disks: bool) -> Iterator[tuple[Fault, str]]:
    """Faults without end: every kind once in an order of its own, then in another. Nodes by chance."""
    kinds = [fault for fault in FAULTS if disks or fault.nodes is not ON_SMALL_DISKS]
    while True:
        for fault in source.sample(kinds, len(kinds)):
            yield fault, source.choice(fault.nodes or nodes)


async def inject(site: Site, number: int, at_s: float, fault: Fault, node: str) -> Injected:
    """One fault with all that has to hold after it."""
    try:
        async with asyncio.timeout(FAULT_S_MAX):
            seen, wrong = await fault.act(site, node)
    except Exception as error:  # noqa: BLE001 whatever a fault raises is a finding
        seen, wrong = "it could not be done", [f"{type(error).__name__}: {error}"]
    more, again_s = await checks.everything(site, node, fault.within_s)
    return Injected(number, at_s, fault.name, node, seen, again_s, [*wrong, *more])


class Series:
    """Samples of what processes and folders take."""

    def __init__(self) -> None:
        self._of: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)

    def add(self, at_s: float, reading: gauges.Reading) -> None:
        for key, value in reading.items():
            self._of[key].append((at_s, value))

    def slopes(self) -> list[Slope]:
        found = (growth.judge(*key, series) for key, series in sorted(self._of.items()))
        return [slope for slope in found if slope is not None]


async def _sample(site: Site, series: Series, states: list[Path], began_s: float) -> None:
    while True:
        reading = await asyncio.to_thread(gauges.read, site.host, os.getpid(), states)
        series.add(time.monotonic() - began_s, reading)
        await asyncio.sleep(SAMPLE_S)


async def run(site: Site, seconds: float, seed: int, say: Say) -> Result:
    """Runs for `seconds`, and to the end of the fault that is under way then."""
    result, series, began_s = Result(seed), Series(), time.monotonic()
    first, _ = await checks.everything(site, next(iter(site.plans)), CALM_WITHIN_S)
    result.wrong += [f"before the first fault: {text}" for text in first]
    sampling = asyncio.ensure_future(_sample(site, series, list(site.states.values()), began_s))
    try:
        for number, (fault, node) in enumerate(schedule(site.random, list(site.plans), bool(site.disks)), 1):
            at_s = time.monotonic() - began_s
            if at_s >= seconds:
                break
            result.injected.append(await inject(site, number, at_s, fault, node))
            say(str(result.injected[-1]))
            await asyncio.sleep(max(0.0, INTERVAL_S - (time.monotonic() - began_s - at_s)))
    finally:
        sampling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampling
    last, _ = await checks.everything(site, next(iter(site.plans)), CALM_WITHIN_S)
    result.wrong += [f"at the end: {text}" for text in last]
    result.slopes, result.seconds = series.slopes(), time.monotonic() - began_s
    return result

"""The supervisor of a connection: woken by silence, patient with what is away, and never quiet about a gap."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nodeagent.frame import BAD, Frame, good
from nodeagent.sources.source import Emit, SourceLost
from nodeagent.sources.supervise import Supervisor


class Scripted:
    """A source that lives one step of a script a connection: so many frames, then lost, silent or over."""

    id, type, names, bad_items, renewals = "s", "scripted", ("a",), [], 0
    period_s: float | None = 0.5
    silence_s: float | None = 1.0

    def __init__(self, clock: Any, *lives: tuple[int, str]) -> None:
        self.clock = clock
        self.lives = list(lives)
        self.begun = 0

    async def run(self, emit: Emit) -> None:
        self.begun += 1
        frames, end = self.lives.pop(0)
        for _ in range(frames):
            emit(good(("a",), [1.0], source_us=0, received_us=self.clock.boottime_us(), source="s"))
        match end:
            case "lost":
                raise SourceLost("reset by peer")
            case "silent":
                await asyncio.Event().wait()
            case "cancelled":
                raise asyncio.CancelledError


def run(clock: Any, *lives: tuple[int, str], prepare: Callable[[Scripted], None] | None = None) -> Any:
    source = Scripted(clock, *lives)
    if prepare:
        prepare(source)
    frames: list[Frame] = []
    supervisor = Supervisor(source, frames.append, clock, sleep=clock.sleep, jitter=lambda: 0.5)
    asyncio.run(supervisor.run())
    return supervisor, frames


def test_a_lost_connection_is_made_anew_and_the_time_between_is_bad(clock: Any) -> None:
    supervisor, frames = run(clock, (2, "lost"), (1, "over"))
    assert supervisor.source.begun == 2
    gap = [frame for frame in frames if frame.quality[0] == BAD]
    assert gap
    assert gap[0].reasons == {0: "no data: reset by peer"}
    assert (supervisor.drops_total, supervisor.samples_total) == (1, 3)


def test_waiting_grows_from_try_to_try_and_has_an_end(clock: Any) -> None:
    def nameless(source: Scripted) -> None:
        source.names = ()

    run(clock, *[(0, "lost")] * 10, (0, "over"), prepare=nameless)
    assert clock.slept[:4] == [0.2, 0.4, 0.8, 1.6]
    assert max(clock.slept) == 15.0


def test_a_connection_that_lived_is_missed_for_the_shortest_time(clock: Any) -> None:
    class Lived(Scripted):
        names = ()

        async def run(self, emit: Emit) -> None:
            self.clock.now_us += 60_000_000
            await super().run(emit)

    source = Lived(clock, (0, "lost"), (1, "lost"), (1, "lost"), (0, "over"))
    asyncio.run(Supervisor(source, lambda frame: None, clock, sleep=clock.sleep, jitter=lambda: 0.5).run())
    assert clock.slept == [0.2, 0.2, 0.2]


def test_silence_is_a_fault_although_the_connection_stands(clock: Any) -> None:
    async def scenario() -> Any:
        source = Scripted(clock, (1, "silent"), (1, "over"))
        source.silence_s = 0.02
        frames: list[Frame] = []
        supervisor = Supervisor(source, frames.append, clock, sleep=clock.sleep, jitter=lambda: 0.5)
        task = asyncio.create_task(supervisor.run())
        while not frames:  # noqa: ASYNC110 - each turn is one step of the loop, not a wait
            await asyncio.sleep(0)
        clock.now_us += 1_000_000
        await asyncio.wait_for(task, 10)
        return supervisor, frames

    supervisor, frames = asyncio.run(scenario())
    assert supervisor.drops_total == 1
    assert {0: "no data: no data for 0.02 s"} in [frame.reasons for frame in frames]


def test_a_source_whose_library_cancels_itself_is_lost_and_not_over(clock: Any) -> None:
    supervisor, _ = run(clock, (1, "cancelled"), (1, "over"))
    assert (supervisor.source.begun, supervisor.drops_total) == (2, 1)


def test_a_fault_of_ours_is_not_taken_for_a_lost_connection(clock: Any) -> None:
    class Broken(Scripted):
        async def run(self, emit: Emit) -> None:
            raise ZeroDivisionError

    supervisor = Supervisor(Broken(clock), lambda frame: None, clock, sleep=clock.sleep)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(supervisor.run())
    assert supervisor.telemetry().state == "stopped"


def test_the_telemetry_says_how_old_the_newest_data_is(clock: Any) -> None:
    supervisor, _ = run(clock, (2, "over"))
    clock.now_us += 2_500_000
    telemetry = supervisor.telemetry()
    assert (telemetry.age_s, telemetry.samples_total, telemetry.reason) == (2.5, 2, "no more data")

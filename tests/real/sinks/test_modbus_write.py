"""Write-back to a PLC that is not ours: nothing in dry run, nothing past the guard, and the value that was decided."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from nodeagent.pipeline.options import Seconds
from nodeagent.sinks.modbus_write import ModbusWriteOptions
from nodeagent.sinks.modbus_write import sink as make_sink
from nodeagent.sinks.pulse import CODES, Heart
from nodeagent.sinks.sink import SinkFailed
from nodeagent.sinks.write_back import WriteBack
from nodeagent.sinks.write_guard import Guard

REGISTER, HEARTBEAT = 100, 101
VALUE, SAFE = 1, 3


@pytest.fixture
def sink_of(plc: Any, context_of: Any) -> Callable[..., WriteBack]:
    def make(*, armed: bool = True, allow_is_bound: bool = True, guard: Any = None, **options: Any) -> WriteBack:
        words: dict[str, Any] = {"allow": ("holding:100", "holding:101"), "low": 0, "high": 5, "dry_run": False}
        words |= {"heartbeat_every": Seconds(0.05)} | (guard or {})
        plain: dict[str, Any] = {"register": "holding:100", "when": "alarm", "value": VALUE, "safe": SAFE}
        made = ModbusWriteOptions(url=plc.url, timeout=Seconds(0.5), guard=Guard(**words), **(plain | options))
        context = context_of(write_back="armed" if armed else "dry_run")
        return make_sink(made, context, allow_is_bound=allow_is_bound)

    return make


@contextlib.asynccontextmanager
async def running(sink: WriteBack) -> AsyncIterator[WriteBack]:
    await sink.start()
    try:
        yield sink
    finally:
        await sink.close()


def test_the_register_follows_the_decision_and_is_read_back(plc, sink_of, outcome_of, until) -> None:
    plc.start()

    async def scenario() -> None:
        async with running(sink_of()) as sink:
            sink.offer(outcome_of("alarm"))
            await until(lambda: not sink.telemetry().waiting and sink.telemetry().delivered_total == 1, "it is written")
            assert await plc.register(REGISTER) == VALUE
            sink.offer(outcome_of("skipped", None, alarm=True))
            sink.offer(outcome_of("normal"))
            await until(lambda: sink.telemetry().delivered_total == 2, "it is taken back")
            assert await plc.register(REGISTER) == SAFE
            assert (sink.telemetry().state, sink.telemetry().reason) == ("up", "armed; holding:100 reads 3")

    asyncio.run(scenario())


def test_a_plc_that_restarted_and_forgot_is_written_again(plc, sink_of, outcome_of, until) -> None:
    plc.start()

    async def scenario() -> None:
        async with running(sink_of()) as sink:
            sink.offer(outcome_of("alarm"))
            await until(lambda: sink.telemetry().delivered_total == 1, "it is written")
            plc.kill()
            await until(lambda: sink.telemetry().state == "down", "the loss is seen")
            plc.start()
            assert await plc.register(REGISTER) == 0
            await until(lambda: sink.telemetry().delivered_total == 2, "it is written again")
            assert await plc.register(REGISTER) == VALUE

    asyncio.run(scenario())


def test_a_plc_that_starts_after_the_agent_gets_the_value_that_stands_then(plc, sink_of, outcome_of, until) -> None:
    plc.start()
    plc.kill()

    async def scenario() -> None:
        async with running(sink_of()) as sink:
            sink.offer(outcome_of("normal"))
            sink.offer(outcome_of("alarm"))
            await until(lambda: "does not accept" in sink.telemetry().reason, "the reason is shown")
            assert (sink.telemetry().state, sink.telemetry().waiting) == ("down", 1)
            plc.start()
            await until(lambda: sink.telemetry().delivered_total == 1, "it is written")
            assert await plc.register(REGISTER) == VALUE

    asyncio.run(scenario())


def test_what_another_client_writes_is_shown_and_not_fought_over(plc, sink_of, outcome_of, until) -> None:
    plc.start()

    async def scenario() -> None:
        async with running(sink_of()) as sink:
            sink.offer(outcome_of("alarm"))
            await until(lambda: sink.telemetry().delivered_total == 1, "it is written")
            await plc.write(REGISTER, 5)
            await until(lambda: "reads 5 and 1 was written: somebody else" in sink.telemetry().reason, "it is shown")
            assert await plc.register(REGISTER) == 5
            assert sink.telemetry().delivered_total == 1

    asyncio.run(scenario())


def test_past_its_writes_an_hour_only_the_way_to_the_safe_value_is_free(plc, sink_of, outcome_of, until) -> None:
    plc.start()

    async def scenario() -> None:
        async with running(sink_of(guard={"max_per_hour": 1})) as sink:
            for decision, writes in (("alarm", 1), ("normal", 2)):
                sink.offer(outcome_of(decision))
                await until(lambda writes=writes: sink.telemetry().delivered_total == writes, "it is written")
            sink.offer(outcome_of("alarm"))
            await until(lambda: "1 writes an hour" in sink.telemetry().reason, "the limit is shown")
            assert (sink.telemetry().dropped_total, sink.telemetry().waiting) == (1, 1)
            assert await plc.register(REGISTER) == SAFE

    asyncio.run(scenario())


def test_the_heartbeat_counts_while_decisions_come_and_stands_still_without(plc, sink_of, outcome_of, until) -> None:
    plc.start()

    async def scenario() -> None:
        guard = {"heartbeat": "holding:101", "valid_for": Seconds(0.5)}
        async with running(sink_of(guard=guard)) as sink:
            sink.offer(outcome_of("normal"))
            await until(lambda: _at_least(plc.register(HEARTBEAT), 3), "it beats")
            await until(lambda: "the heartbeat stands still" in sink.telemetry().reason, "it stops")
            stood = await plc.register(HEARTBEAT)
            sink.offer(outcome_of("error", None))
            await asyncio.sleep(0.3)
            assert await plc.register(HEARTBEAT) == stood
            sink.offer(outcome_of("idle", None))
            await until(lambda: _at_least(plc.register(HEARTBEAT), stood + 1), "an idle machine is known")

    asyncio.run(scenario())


async def _at_least(read: Any, least: int) -> bool:
    return bool(await read >= least)


def test_a_hold_takes_the_value_back_and_it_stays_back_until_the_next_decision(plc, sink_of, outcome_of, until) -> None:
    plc.start()

    async def scenario() -> None:
        async with running(sink_of()) as sink:
            sink.offer(outcome_of("alarm"))
            await until(lambda: sink.telemetry().delivered_total == 1, "it is written")
            await sink.safe()
            assert await plc.register(REGISTER) == SAFE
            await asyncio.sleep(0.3)
            assert await plc.register(REGISTER) == SAFE
            sink.offer(outcome_of("alarm"))
            await until(lambda: sink.telemetry().delivered_total == 3, "released")
            assert await plc.register(REGISTER) == VALUE

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"armed": False}, "not armed"),
        ({"guard": {"dry_run": True}}, "the guard says so"),
        ({"allow_is_bound": False}, "stands in the bundle"),
    ],
)
def test_a_dry_run_opens_no_connection_and_says_what_it_would_write(
    plc, sink_of, outcome_of, change: Any, says: str
) -> None:
    async def scenario() -> None:
        async with running(sink_of(**change)) as sink:
            sink.offer(outcome_of("normal"))
            sink.offer(outcome_of("alarm"))
            await sink.safe()
            told = sink.telemetry()
            assert told.reason.startswith("dry run: ")
            assert says in told.reason
            assert told.reason.endswith("; would write 1 to holding:100")
            assert (told.state, told.delivered_total, sink.would_write_total) == ("up", 0, 1)

    asyncio.run(scenario())  # the PLC was never started: a connection would be an error


def test_a_value_that_reads_back_otherwise_is_a_fault(plc, sink_of) -> None:
    plc.start("deaf=100")
    with pytest.raises(SinkFailed, match="reads 0 after 3 was written"):
        asyncio.run(sink_of().safe())


def test_a_safe_value_that_did_not_arrive_is_said(plc, sink_of) -> None:
    plc.start("exception=1", "code=4")
    with pytest.raises(SinkFailed, match="exception 4: device failure"):
        asyncio.run(sink_of().safe())
    plc.kill()
    with pytest.raises(SinkFailed, match="does not accept"):
        asyncio.run(sink_of().safe())


@pytest.mark.parametrize("change", [{"register": "holding:102"}, {"guard": {"heartbeat": "holding:102"}}])
def test_a_place_outside_the_allow_list_is_never_written(plc, sink_of, outcome_of, change: Any) -> None:
    plc.start()

    async def scenario() -> None:
        async with running(sink_of(**change)) as sink:
            sink.offer(outcome_of("alarm"))
            with pytest.raises(SinkFailed, match="holding:102 is not among what the binding allows"):
                await sink.safe()
            assert sink.telemetry().delivered_total == 0
        assert [await plc.register(number) for number in (100, 101, 102)] == [0, 0, 0]

    asyncio.run(scenario())


def test_while_its_source_is_doubted_the_safe_value_stands_and_no_decision_is_written(
    plc, sink_of, outcome_of, until
) -> None:
    plc.start()

    async def scenario() -> None:
        async with running(sink_of()) as sink:
            sink.offer(outcome_of("alarm"))
            await until(lambda: sink.telemetry().delivered_total == 1, "it is written")
            sink.doubt("plc: source changed: version 1 -> 2")
            sink.offer(outcome_of("normal"))
            assert sink.telemetry().waiting == 0, "what is decided from here on is not even wanted"
            await until(lambda: not sink.armed, "it is disarmed")
            sink.offer(outcome_of("alarm"))
            await sink.arm(True)
            assert await plc.register(REGISTER) == SAFE
            assert "dry run: plc: source changed: version 1 -> 2; would write 1" in sink.telemetry().reason
            sink.doubt("")
            await until(lambda: sink.armed, "it is armed again")
            assert await plc.register(REGISTER) == SAFE
            sink.offer(outcome_of("alarm"))
            await until(lambda: sink.telemetry().state == "up" and sink.telemetry().delivered_total, "it is written")
            assert await plc.register(REGISTER) == VALUE

    asyncio.run(scenario())


def test_a_plc_reads_the_state_of_the_bundle_as_a_number(plc, sink_of, outcome_of, until) -> None:
    plc.start()

    async def scenario() -> None:
        heart = Heart()
        async with running(sink_of(guard={"state": "holding:101"})) as sink:
            sink.pulse(heart.beat(0, held=False))
            await until(lambda: _at_least(plc.register(HEARTBEAT), CODES["starting"]), "it is written")
            heart.saw(outcome_of("normal"), 0)
            sink.pulse(heart.beat(0, held=True))
            await until(lambda: _at_least(plc.register(HEARTBEAT), CODES["held"]), "the hold is written")
            assert sink.telemetry().delivered_total == 0

    asyncio.run(scenario())

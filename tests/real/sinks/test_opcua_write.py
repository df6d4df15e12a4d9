"""Write-back to node-opcua, which is not our library's server, inside the same guard as a register."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from nodeagent.pipeline.options import Seconds
from nodeagent.sinks.opcua_write import OpcuaWriteOptions
from nodeagent.sinks.opcua_write import sink as make_sink
from nodeagent.sinks.sink import SinkFailed
from nodeagent.sinks.write_back import WriteBack
from nodeagent.sinks.write_guard import Guard
from nodeagent.sources.opcua_link import OpcuaLink
from nodeagent.sources.opcua_options import Security

VALVE, BEAT = "ns=1;s=Valve", "ns=1;s=Beat"
VALUE, SAFE = 1, 3


@pytest.fixture
def sink_of(opcua: Any, context_of: Any) -> Callable[..., WriteBack]:
    def make(*, armed: bool = True, guard: Any = None, **options: Any) -> WriteBack:
        words: dict[str, Any] = {"allow": (VALVE, BEAT), "low": 0, "high": 5, "dry_run": False}
        words |= {"heartbeat_every": Seconds(0.05)} | (guard or {})
        plain: dict[str, Any] = {"node": VALVE, "when": "alarm", "value": VALUE, "safe": SAFE}
        url = f"opc.tcp://127.0.0.1:{opcua.port}"
        made = OpcuaWriteOptions(url=url, guard=Guard(**words), timeout=Seconds(2.0), **(plain | options))
        return make_sink(made, context_of(write_back="armed" if armed else "dry_run"), allow_is_bound=True)

    return make


@pytest.fixture
def read_of(opcua: Any, tmp_path: Any) -> Callable[..., Any]:
    async def read(node: str) -> float:
        link = await OpcuaLink.open(f"opc.tcp://127.0.0.1:{opcua.port}", Security(), tmp_path, timeout_s=4.0)
        try:
            return (await link.read([node]))[0].value
        finally:
            await link.close()

    return read


@contextlib.asynccontextmanager
async def running(sink: WriteBack) -> AsyncIterator[WriteBack]:
    await sink.start()
    try:
        yield sink
    finally:
        await sink.close()


def test_the_variable_follows_the_decision_in_its_own_type_and_the_heartbeat_counts(
    sink_of, read_of, outcome_of, until
) -> None:
    async def scenario() -> None:
        async with running(sink_of(guard={"heartbeat": BEAT})) as sink:
            for decision, value, writes in (("alarm", VALUE, 1), ("normal", SAFE, 2)):
                sink.offer(outcome_of(decision))
                await until(lambda writes=writes: sink.telemetry().delivered_total == writes, "it is written")
                assert await read_of(VALVE) == value
            assert (sink.telemetry().state, sink.telemetry().reason) == ("up", f"armed; {VALVE} reads 3")
            assert await read_of(BEAT) > 0

    asyncio.run(scenario())


def test_a_number_that_a_float_rounds_is_read_back_as_what_was_written(sink_of, read_of, outcome_of, until) -> None:
    node = "ns=1;s=Ratio"

    async def scenario() -> None:
        async with running(sink_of(node=node, value=0.1, guard={"allow": (node,)})) as sink:
            sink.offer(outcome_of("alarm"))
            await until(lambda: sink.telemetry().delivered_total == 1, "it is written")
            assert await read_of(node) == pytest.approx(0.1)
            assert sink.telemetry().state == "up"

    asyncio.run(scenario())


def test_a_server_that_restarted_and_forgot_is_written_again(opcua, sink_of, read_of, outcome_of, until) -> None:
    async def scenario() -> None:
        async with running(sink_of()) as sink:
            sink.offer(outcome_of("alarm"))
            await until(lambda: not sink.telemetry().waiting, "it is written")
            opcua.kill()
            await until(lambda: sink.telemetry().state == "down", "the loss is seen")
            opcua.start("3", opcua.folder)
            written = sink.telemetry().delivered_total
            await until(lambda: sink.telemetry().delivered_total > written, "it is written again")
            assert await read_of(VALVE) == VALUE

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("node", "value", "says"),
    [
        ("ns=1;s=Locked", 1, "BadNotWritable|BadUserAccessDenied"),
        ("ns=1;s=Deaf", 1, "reads 0 after 1 was written"),
        ("ns=1;s=Missing", 1, "BadNodeIdUnknown"),
        ("ns=1;s=Text", 1, "1 is no value of String"),
        (VALVE, 0.5, "0.5 is no value of UInt16"),
    ],
)
def test_a_safe_value_that_did_not_arrive_is_said_with_the_servers_reason(
    sink_of, node: str, value: float, says: str
) -> None:
    sink = sink_of(node=node, safe=value, guard={"allow": (node,)})
    with pytest.raises(SinkFailed, match=says):
        asyncio.run(sink.safe())


def test_outside_the_allow_list_or_not_armed_nothing_is_written(sink_of, read_of, outcome_of) -> None:
    async def scenario() -> None:
        before = await read_of(VALVE)
        async with running(sink_of(armed=False)) as dry, running(sink_of(guard={"allow": (BEAT,)})) as astray:
            for sink in (dry, astray):
                sink.offer(outcome_of("alarm"))
            await dry.safe()
            with pytest.raises(SinkFailed, match="not among what the binding allows"):
                await astray.safe()
            assert dry.telemetry().reason == f"dry run: this deployment is not armed; would write 1 to {VALVE}"
        assert await read_of(VALVE) == before

    asyncio.run(scenario())

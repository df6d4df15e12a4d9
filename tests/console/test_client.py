"""The agent's API from the console's side: strict identity, cleaned text, refusals with their reasons, lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from console.client.client import AgentClient
from console.client.identity import check_not_doubled
from console.client.wire import AgentError, decode, lines
from console.fleet.view import LinkState
from console.link.errors import LinkError
from console.link.transport import Answer
from nodeagent import protocol
from nodeagent.protocol import Error, ErrorBody, HoldRequest, LogLine, StageRequest


class Served:
    """An Exchange that a tiny agent answers in the same process."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent
        self.requests: list[tuple[str, str, bytes]] = []

    async def request(self, method: str, target: str, *, body: Any = None, timeout_s: float) -> Answer:
        self.requests.append((method, target, body or b""))
        return Answer(*await self._agent.serve(method, target, body or b""))

    @asynccontextmanager
    async def stream(self, method: str, target: str, *, body: Any = None, timeout_s: float | None) -> Any:
        served = await self._agent.serve(method, target, b"")
        if isinstance(served, tuple):
            yield served[0], chunks(served[1])
        else:
            yield 200, served


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read_lines(*parts: bytes) -> list[bytes]:
    return [line async for line in lines(chunks(*parts), "press-07")]


def test_every_write_names_the_node_it_is_meant_for(tiny_agent: Any) -> None:
    agent, seen = tiny_agent(), []
    agent.handle["POST", "/hold"] = lambda query, body: seen.append(body) or {"by": "a", "reason": "b", "since_us": 1}
    client = AgentClient(Served(agent), "press-07")
    asyncio.run(client.hold("smoke"))
    assert msgspec.json.decode(seen[0], type=HoldRequest) == HoldRequest(node_id="node-1", reason="smoke")


def test_a_node_that_answers_with_another_id_gets_no_command(tiny_agent: Any) -> None:
    agent = tiny_agent(node_id="node-2")
    exchange = Served(agent)
    client = AgentClient(exchange, "press-07", node_id="node-1")
    with pytest.raises(LinkError, match=r"NODE ID CHANGED. pinned node-1; shown node-2") as caught:
        asyncio.run(client.hold("smoke"))
    assert caught.value.state is LinkState.REFUSED
    assert [method for method, _, _ in exchange.requests] == ["GET"]


def test_two_names_for_one_node_id_are_refused_with_both_named() -> None:
    with pytest.raises(LinkError, match=r"press-08 and press-07 both answer as id-1"):
        check_not_doubled("press-08", "id-1", {"press-07": "id-1", "press-08": "id-1"})
    check_not_doubled("press-08", "id-1", {"press-07": "", "press-09": "id-2"})


@pytest.mark.parametrize(("major", "hint"), [(protocol.PROTOCOL_MAJOR + 1, "console"), (0, "agent")])
def test_another_major_version_says_which_side_to_update(tiny_agent: Any, major: int, hint: str) -> None:
    agent = tiny_agent()
    agent.major = major
    with pytest.raises(LinkError, match="speaks protocol") as caught:
        asyncio.run(AgentClient(Served(agent), "press-07").status())
    assert caught.value.state is LinkState.WRONG_PROTOCOL
    assert caught.value.hint == f"update the {hint}"


def test_a_status_with_fields_of_a_newer_minor_is_read(tiny_agent: Any) -> None:
    agent = tiny_agent()
    newer = {**msgspec.to_builtins(agent.status()), "weather": "fine"}
    agent.handle["GET", "/status"] = lambda query, body: newer
    assert asyncio.run(AgentClient(Served(agent), "press-07").status()).name == "press-07"


def test_something_else_behind_the_socket_is_not_taken_for_an_agent(tiny_agent: Any) -> None:
    agent = tiny_agent()
    agent.handle["GET", "/status"] = lambda query, body: (200, b"<html>printer</html>")
    with pytest.raises(LinkError, match="not an outstation agent"):
        asyncio.run(AgentClient(Served(agent), "press-07").status())


def test_a_refusal_is_the_agents_own_account_cleaned(tiny_agent: Any) -> None:
    agent = tiny_agent()
    error = Error(code="DEPLOYMENT.DISK_FULL", message="no \x1b[31mroom\x07", hint="free 2 MB", owner="node")
    agent.handle["GET", "/checks"] = lambda query, body: (507, msgspec.json.encode(ErrorBody(error)))
    with pytest.raises(AgentError) as caught:
        asyncio.run(AgentClient(Served(agent), "press-07").checks())
    assert caught.value.error.message == "no room\u2407"
    assert (caught.value.error.code, caught.value.error.owner, caught.value.node) == (error.code, "node", "press-07")


def test_an_error_without_a_readable_body_still_says_what_failed(tiny_agent: Any) -> None:
    agent = tiny_agent()
    agent.handle["GET", "/checks"] = lambda query, body: (502, b"Bad Gateway")
    with pytest.raises(AgentError, match="HTTP status 502"):
        asyncio.run(AgentClient(Served(agent), "press-07").checks())


def test_text_from_a_node_is_cleaned_wherever_it_stands() -> None:
    hostile = LogLine(
        cursor=1, boottime_us=0, wall_us=0, level="info", source="a\x9bb", text="x\x1b]52;c;aGk=\x07y\u202e"
    )
    read = decode(LogLine, msgspec.json.encode(hostile), "press-07", "GET")
    assert read.text == "xy\ufffd"
    assert read.source == "a\ufffdb"


@pytest.mark.parametrize("text", ["x" * 3_000, "é" * 3_000])
def test_a_string_is_bounded_even_in_plain_ascii(text: str) -> None:
    line = LogLine(cursor=1, boottime_us=0, wall_us=0, level="info", source="a", text=text)
    assert len(decode(LogLine, msgspec.json.encode(line), "press-07", "GET").text) == 2_001


def test_what_is_hashed_is_given_as_it_came() -> None:
    raw = LogLine(cursor=1, boottime_us=0, wall_us=0, level="info", source="a", text="\x07")
    assert decode(LogLine, msgspec.json.encode(raw), "press-07", "GET", cleaned=False) == raw


def test_lines_are_cut_where_they_end_however_the_bytes_arrive() -> None:
    assert asyncio.run(read_lines(b"one\ntw", b"o\n\n", b"", b"th", b"ree\nfour", b"\n", b"part")) == [
        b"one",
        b"two",
        b"three",
        b"four",
    ]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(LinkError, match="a line over"):
        asyncio.run(read_lines(*[b"x" * 65_536] * 17))


def test_a_stream_that_is_refused_says_why(tiny_agent: Any) -> None:
    async def first(client: AgentClient) -> None:
        async with aclosing(client.tap("bearing")) as sweeps:
            async for _ in sweeps:
                return

    with pytest.raises(AgentError, match=r"REQUEST\.UNKNOWN_PATH"):
        asyncio.run(first(AgentClient(Served(tiny_agent()), "press-07")))


def test_names_cannot_leave_their_place_in_a_path(tiny_agent: Any) -> None:
    exchange = Served(tiny_agent())
    with pytest.raises(AgentError):
        asyncio.run(AgentClient(exchange, "press-07").deployment("../hold?x=1"))
    assert exchange.requests[-1][1] == "/agent/v1/deployments/..%2Fhold%3Fx%3D1"


def test_every_route_of_the_protocol_has_a_method(tiny_agent: Any) -> None:
    agent = tiny_agent()
    exchange = Served(agent)
    client = AgentClient(exchange, "press-07")
    asked: set[tuple[str, str]] = set()

    async def serve(method: str, target: str, body: bytes) -> tuple[int, bytes]:
        path = target.partition("?")[0]
        asked.add((method, path))
        return (200, msgspec.json.encode(agent.status())) if path.endswith("/status") else (404, b"")

    agent.serve = serve

    async def run() -> None:
        digest = "sha256:" + "0" * 64
        calls = [
            client.status(), client.trend(), client.logs(), client.records("b"), client.label(1, "b", "ok"),
            client.ledger(), client.alerts(), client.acknowledge(1), client.shelve(1, 2.0, "r"),
            client.alert_rules(), client.labels("b"), client.replay("b", "", last=5), client.review_queue("b"),
            client.set_alert_rules(""), client.revisions(), client.checks(),
            client.rehearse(5.0), client.upgrade(), client.begin_upgrade("u", "v", window_s=60, lease=1),
            client.end_upgrade("u", "confirm", lease=1), client.end_upgrade("u", "rollback", lease=1),
            client.clock(), client.give_clock(wall_us=1, error_us=1, lease=1),
            client.passport({}, {}), client.blob(digest), 
            client.put_blob(digest, offset=0, total=1, data=b"x", timeout_s=1),
            client.patch_blob(digest, old=digest, delta=digest), client.import_bundle("m", "s"),
            client.deployments(), client.stage("m", "s", window_s=60, lease=1), client.deployment("d"),
            client.extend("d", 60, lease=1), client.revert("b", lease=1, window_s=60), client.bindings(),
            client.bind({}, base_revision=1, lease=1), client.lease(), client.take_lease("a"), client.hold("r"),
            client.release(), client.out_of_service("r"), client.trust(),
            client.change_trust("{}", "s", lease=1), client.review(),
            client.take_over(["hold"]),
            client.gate("d", lease=1, rows=10, agreement_min=0.9), client.shadow("d", lease=1, seconds=60),
            client.mark_tag("t", "replaced", "n"), client.accept_source("b", "s"),
            client.probe(protocol.ProbeRequest(node_id="n", url="tcp://127.0.0.1:502")),
            *(client.advance("d", verb, lease=1) for verb in ("preflight", "activate", "confirm", "rollback")),
        ]  # fmt: skip
        for call in calls:
            try:
                await call
            except AgentError:
                continue
        for stream in (client.telemetry(), client.follow_logs(), client.tap("b")):
            with pytest.raises(AgentError):
                await anext(stream)

    asyncio.run(run())
    pattern = {(m, p.replace("{digest}", "sha256:" + "0" * 64)) for m, p in protocol.ROUTES}
    values = {"{key}": "1", "{id}": "d", "{name}": "b", "{bundle}": "b"}
    expected = set()
    for method, path in pattern:
        for name, value in values.items():
            path = path.replace(name, "1" if name == "{id}" and "alerts" in path else value)
        expected.add((method, path))
    assert asked == expected


def test_staging_again_with_the_same_id_is_the_same_request(tiny_agent: Any) -> None:
    agent, bodies = tiny_agent(), []
    agent.handle["POST", "/deployments"] = lambda query, body: bodies.append(body) or (404, b"")
    client = AgentClient(Served(agent), "press-07")

    async def run() -> None:
        for _ in range(2):
            with pytest.raises(AgentError):
                await client.stage("m", "s", window_s=60, lease=7, deployment="d1")

    asyncio.run(run())
    assert bodies[0] == bodies[1]
    assert msgspec.json.decode(bodies[0], type=StageRequest).lease == 7

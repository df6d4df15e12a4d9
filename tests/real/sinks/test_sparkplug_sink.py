"""The Sparkplug sink at a real mosquitto, read by a decoder that is not ours (Eclipse Tahu's, from npm)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from nodeagent.pipeline.options import Seconds
from nodeagent.sinks.pulse import Heart
from nodeagent.sinks.sparkplug import Sparkplug, SparkplugOptions
from nodeagent.sources.sparkplug_payload import rebirth

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
DECODER = """
const payload = require("sparkplug-payload").get("spBv1.0");
const plain = (key, value) => typeof value === "bigint" || (value && value.constructor.name === "Long")
  ? Number(value) : value;
for (const line of require("fs").readFileSync(0, "utf8").split("\\n").filter(Boolean))
  console.log(JSON.stringify(payload.decodePayload(Buffer.from(line, "base64")), plain));
"""
EDGE = "node-7-pump-health"
DATA = f"spBv1.0/plant/NDATA/{EDGE}"
BIRTH = f"spBv1.0/plant/NBIRTH/{EDGE}"
DEATH = f"spBv1.0/plant/NDEATH/{EDGE}"


@pytest.fixture(scope="session")
def tahu(tahu_modules: Path) -> Callable[[list[bytes]], list[dict[str, Any]]]:
    """Eclipse Tahu's decoder."""

    def decode(payloads: list[bytes]) -> list[dict[str, Any]]:
        lines = b"".join(base64.b64encode(each) + b"\n" for each in payloads)
        done = subprocess.run(
            ["node", "-e", DECODER], input=lines, cwd=tahu_modules.parent, capture_output=True, check=True
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    return decode


class Mosquitto:
    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    yield mosquitto
    mosquitto.kill()


@pytest.fixture
def sink_of(broker: Mosquitto, context_of: Any) -> Callable[..., Sparkplug]:
    def make(**options: Any) -> Sparkplug:
        plain: dict[str, Any] = {"group": "plant", "timeout": Seconds(0.5), "keepalive": Seconds(1.0)}
        return Sparkplug(SparkplugOptions(url=f"mqtt://127.0.0.1:{broker.port}", **(plain | options)), context_of())

    return make


class Host:
    """Another client, that hears what edge nodes say and may command."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[tuple[str, bytes]] = []

    async def listen(self) -> None:
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            self.heard.append((str(message.topic), message.payload))

    def count(self, topic: str) -> int:
        return sum(1 for heard, _ in self.heard if heard == topic)


@contextlib.asynccontextmanager
async def listening(broker: Mosquitto) -> AsyncIterator[Host]:
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="host") as client:
        await client.subscribe("spBv1.0/#", qos=1)
        host = Host(client)
        task = asyncio.create_task(host.listen())
        yield host
        task.cancel()
        await asyncio.wait([task])


def by_name(message: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in message["metrics"]}


def test_birth_comes_first_then_data_by_alias_in_sequence_and_a_death_of_the_same_birth(
    broker, sink_of, outcome_of, until, tahu
) -> None:
    broker.start()

    async def scenario() -> Host:
        sink = sink_of()
        async with listening(broker) as host:
            await sink.start()
            await until(lambda: sink.telemetry().state == "up", "it is born")
            for number in range(300):
                sink.offer(outcome_of("alarm", number / 4, wall_us=number * 1000, quality=number % 3, reason="why"))
                if number % 100 == 99:  # more at once than are kept as live would be history
                    await until(lambda number=number: host.count(DATA) == number + 1, "data")
                    await until(lambda number=number: sink.telemetry().delivered_total == number + 1, "its PUBACK")
            await sink.close()
            await until(lambda: host.count(DEATH) == 1, "death")
        assert sink.telemetry().delivered_total == 300
        return host

    host = asyncio.run(scenario())
    assert [topic for topic, _ in host.heard] == [BIRTH, *[DATA] * 300, DEATH]
    birth, *data, death = tahu([payload for _, payload in host.heard])
    assert [message["seq"] for message in (birth, *data)] == [number % 256 for number in range(301)]
    named = by_name(birth)
    assert named["Node Control/Rebirth"]["value"] is False
    assert named["bdSeq"]["value"] == by_name(death)["bdSeq"]["value"]
    aliases = {each["alias"]: name for name, each in named.items() if name.startswith("pump/")}
    assert {each["type"] for name, each in named.items() if name == "pump/score"} == {"Double"}
    for number, message in enumerate(data):
        values = {aliases[each["alias"]]: each for each in message["metrics"]}
        assert (values["pump/score"]["value"], values["pump/decision"]["value"]) == (number / 4, "alarm")
        assert values["pump/alarm"]["value"] is True
        assert values["pump/score"]["timestamp"] == number
        quality = values["pump/score"]["properties"]["Quality"]["value"]
        assert quality == {0: 192, 1: 500, 2: 0}[number % 3]
        assert not any(each.get("isHistorical") for each in message["metrics"])


def test_with_a_heartbeat_the_state_is_among_the_metrics_of_the_birth_and_comes_as_data(
    broker, sink_of, outcome_of, until, tahu
) -> None:
    broker.start()

    async def scenario() -> Host:
        heart, sink = Heart(), sink_of(heartbeat=Seconds(1.0))
        async with listening(broker) as host:
            await sink.start()
            await until(lambda: sink.telemetry().state == "up", "it is born")
            heart.saw(outcome_of("normal"), 0)
            sink.pulse(heart.beat(0, held=False))
            await until(lambda: host.count(DATA) == 1, "the beat")
            await sink.close()
        return host

    host = asyncio.run(scenario())
    birth, data = tahu([payload for topic, payload in host.heard if topic in (BIRTH, DATA)])
    aliases = {each["alias"]: name for name, each in by_name(birth).items() if name.startswith("pump/")}
    values = {aliases[each["alias"]]: each["value"] for each in data["metrics"]}
    assert values == {"pump/heartbeat": 1, "pump/work": "running", "pump/code": 2, "pump/alive": True, "pump/why": ""}
    assert (birth["seq"], data["seq"]) == (0, 1)


def test_what_the_broker_missed_follows_as_history_by_name(broker, sink_of, outcome_of, until, tahu) -> None:
    async def scenario() -> Host:
        sink = sink_of(replay_per_s=1000.0)
        await sink.start()
        for number in range(300):
            sink.offer(outcome_of(wall_us=number * 1000, score=None if number == 7 else 0.5))
        await until(lambda: sink.telemetry().waiting == 300, "they wait")
        broker.start()
        async with listening(broker) as host:
            await until(lambda: not sink.telemetry().waiting, "they leave")
            await until(lambda: host.count(DATA) == 300, "data")
            await sink.close()
        return host

    host = asyncio.run(scenario())
    messages = tahu([payload for topic, payload in host.heard if topic == DATA])
    late = [message for message in messages if message["metrics"][0].get("isHistorical")]
    assert len(late) >= 44
    assert all("name" in each and each["isHistorical"] for message in late for each in message["metrics"])
    assert sorted(message["metrics"][0]["timestamp"] for message in messages) == list(range(300))
    missing = next(message for message in messages if message["metrics"][0]["timestamp"] == 7)
    assert missing["metrics"][0]["value"] is None


def test_a_host_that_lost_track_is_given_a_new_birth(broker, sink_of, outcome_of, until, tahu) -> None:
    broker.start()

    async def scenario() -> Host:
        sink = sink_of()
        async with listening(broker) as host:
            await sink.start()
            sink.offer(outcome_of(score=2.5))
            await until(lambda: host.count(DATA) == 1, "data")
            command = f"spBv1.0/plant/NCMD/{EDGE}"
            await host.client.publish(command, b"\xff\xffgarbage")
            await host.client.publish(command, rebirth(1))
            await until(lambda: host.count(BIRTH) == 2, "a birth")
            sink.offer(outcome_of())
            await until(lambda: host.count(DATA) == 2, "data")
            await sink.close()
        return host

    host = asyncio.run(scenario())
    heard = [(topic, payload) for topic, payload in host.heard if topic in (BIRTH, DATA)]
    messages = tahu([payload for _, payload in heard])
    assert [message["seq"] for message in messages] == [0, 1, 0, 1]
    assert by_name(messages[2])["pump/score"]["value"] == 2.5


def test_after_the_broker_restarted_there_is_a_new_birth_with_its_own_number(
    broker, sink_of, outcome_of, until, tahu
) -> None:
    broker.start()

    async def scenario() -> list[bytes]:
        sink = sink_of()
        await sink.start()
        births = []
        for _ in range(2):
            with contextlib.suppress(aiomqtt.MqttError):  # the host loses the broker too
                async with listening(broker) as host:
                    await until(lambda host=host: host.count(BIRTH) == 1, "a birth")
                    births += [payload for topic, payload in host.heard if topic == BIRTH]
                    broker.kill()
                    await until(lambda: sink.telemetry().state == "down", "the loss is seen")
            broker.start()
        await sink.close()
        return births

    first, second = tahu(asyncio.run(scenario()))
    assert 0 < (by_name(second)["bdSeq"]["value"] - by_name(first)["bdSeq"]["value"]) % 256 < 50


@pytest.mark.parametrize("change", [{"group": "a/b"}, {"group": ""}, {"edge": "x+"}, {"url": "tcp://a"}])
def test_words_that_make_no_topic_are_refused(change: Any) -> None:
    with pytest.raises(ValueError, match=r"words without|not an address"):
        SparkplugOptions(**({"url": "mqtt://a", "group": "g"} | change))

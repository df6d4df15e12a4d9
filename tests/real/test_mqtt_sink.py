"""The MQTT sink and its outbox against a real mosquitto, with the faults that brokers have."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import msgspec
import pytest

from nodeagent.clock import SystemClock
from nodeagent.pipeline.options import Seconds
from nodeagent.pipeline.outcome import Outcome
from nodeagent.sinks.mqtt import Mqtt, MqttOptions
from nodeagent.sinks.pulse import Heart
from nodeagent.sinks.sink import SinkContext

MOSQUITTO = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
TOPIC = "outstation/plant/pump"
WAIT_S = 25.0


class Mosquitto:
    """A broker without persistence on a free loopback port; ended by its pid."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_inflight_messages 0\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

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


def outcome(number: int, decision: str = "normal") -> Outcome:
    return Outcome(number, number, 5, 0.5, "", decision, 0, "", None, None, decision == "alarm")


def sink(broker: Mosquitto, folder: Path, **options: Any) -> Mqtt:
    words: dict[str, Any] = {"timeout": Seconds(0.5), "keepalive": Seconds(1.0), "topic": "outstation/{asset}/{name}"}
    context = SinkContext(
        clock=SystemClock(),
        node_id="node-1",
        bundle="pump",
        pipeline="pump",
        asset="plant",
        revision=3,
        digest="sha256:00",
        work_dir=folder,
    )
    return Mqtt(MqttOptions(url=f"mqtt://127.0.0.1:{broker.port}", **(words | options)), context)


class Plant:
    """Another client, that hears everything under outstation/."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.heard: list[tuple[str, dict[str, Any]]] = []

    async def until(self, holds: Callable[[list[tuple[str, dict[str, Any]]]], bool]) -> None:
        if holds(self.heard):
            return
        async with asyncio.timeout(WAIT_S):
            async for message in self._client.messages:
                self.heard.append((str(message.topic), msgspec.json.decode(bytes(message.payload))))
                if holds(self.heard):
                    return

    def numbers(self, *, late: bool | None = None) -> list[int]:
        found = [fields for topic, fields in self.heard if topic == TOPIC]
        return [fields["wall_us"] for fields in found if late is None or fields.get("late", False) is late]


@asynccontextmanager
async def listening(broker: Mosquitto) -> AsyncIterator[Plant]:
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="plant") as client:
        await client.subscribe("outstation/#", qos=1)
        yield Plant(client)


async def true(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110 - what is asked is a counter, and it rings no bell
            await asyncio.sleep(0.01)


def test_an_outcome_arrives_once_with_who_made_it_and_its_quality(broker: Mosquitto, tmp_path: Path) -> None:
    broker.start()

    async def scenario() -> tuple[Plant, Mqtt]:
        mqtt = sink(broker, tmp_path)
        async with listening(broker) as plant:
            await mqtt.start()
            mqtt.offer(outcome(1))
            await plant.until(lambda heard: any(topic == TOPIC for topic, _ in heard))
            await true(lambda: mqtt.telemetry().waiting == 0)
            telemetry = mqtt.telemetry()
            await mqtt.close()
        assert (telemetry.state, telemetry.delivered_total, telemetry.dropped_total) == ("up", 1, 0)
        return plant, mqtt

    plant, _ = asyncio.run(scenario())
    fields = next(fields for topic, fields in plant.heard if topic == TOPIC)
    assert fields["quality"] == "Good"
    assert (fields["node"], fields["bundle"], fields["revision"]) == ("node-1", "pump", 3)
    assert "late" not in fields


def test_the_state_topic_tells_how_the_bundle_does_and_its_count_goes_on(broker: Mosquitto, tmp_path: Path) -> None:
    broker.start()
    state = f"{TOPIC}/state"

    async def scenario() -> Plant:
        heart, mqtt, quiet = Heart(), sink(broker, tmp_path, heartbeat=Seconds(1.0)), sink(broker, tmp_path)
        async with listening(broker) as plant:
            await mqtt.start()
            await true(lambda: mqtt.telemetry().state == "up")
            quiet.pulse(heart.beat(0, held=False))
            for held in (False, True):
                mqtt.pulse(heart.beat(0, held=held))
                mqtt.pulse(heart.beat(0, held=held))  # sooner than it was asked for
                work = "held" if held else "starting"
                await plant.until(lambda heard, work=work: any(fields.get("work") == work for _, fields in heard))
                await asyncio.sleep(1.0)
            await mqtt.close()
        return plant

    plant = asyncio.run(scenario())
    beats = [fields for topic, fields in plant.heard if topic == state and "heartbeat" in fields]
    assert [(beat["heartbeat"], beat["code"], beat["state"]) for beat in beats] == [(2, 1, "online"), (4, 6, "online")]


def test_what_was_decided_while_the_broker_was_away_follows_after_what_is_live(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario() -> Plant:
        mqtt = sink(broker, tmp_path, replay_per_s=200.0)
        await mqtt.start()
        for number in range(300):
            mqtt.offer(outcome(number))
        await true(lambda: mqtt.telemetry().waiting == 300 and "refused" in mqtt.telemetry().reason)
        assert mqtt.telemetry().state == "down"
        broker.start()
        async with listening(broker) as plant:
            await plant.until(lambda heard: len(set(plant.numbers())) == 300)
            await true(lambda: mqtt.telemetry().waiting == 0)
            assert mqtt.telemetry().dropped_total == 0
            await mqtt.close()
        return plant

    plant = asyncio.run(scenario())
    # The newest 256 are live; the first 44 no longer are, and come as history.
    assert plant.numbers(late=False) == list(range(44, 300))
    assert plant.numbers(late=True) == list(range(44))


def test_a_message_is_in_the_outbox_until_a_frozen_broker_acknowledges_it(broker: Mosquitto, tmp_path: Path) -> None:
    broker.start()

    async def scenario() -> Plant:
        mqtt = sink(broker, tmp_path)
        async with listening(broker) as plant:
            await mqtt.start()
            await true(lambda: mqtt.telemetry().state == "up")
            broker.signal(signal.SIGSTOP)
            mqtt.offer(outcome(7))
            await true(lambda: mqtt.telemetry().state == "down")
            assert mqtt.telemetry().waiting == 1
            assert mqtt.telemetry().delivered_total == 0
            broker.signal(signal.SIGCONT)
            await plant.until(lambda heard: 7 in plant.numbers())
            await true(lambda: mqtt.telemetry().waiting == 0)
            await mqtt.close()
        return plant

    assert set(asyncio.run(scenario()).numbers()) == {7}


def test_what_was_not_delivered_before_a_restart_of_the_agent_is_delivered_after_it(
    broker: Mosquitto, tmp_path: Path
) -> None:
    async def scenario() -> Plant:
        first = sink(broker, tmp_path)
        await first.start()
        for number in range(5):
            first.offer(outcome(number))
        await first.close()
        broker.start()
        async with listening(broker) as plant:
            second = sink(broker, tmp_path)
            await second.start()
            await plant.until(lambda heard: len(plant.numbers()) == 5)
            await second.close()
        return plant

    assert asyncio.run(scenario()).numbers(late=True) == [0, 1, 2, 3, 4]


def test_the_retained_state_says_online_then_stopped(broker: Mosquitto, tmp_path: Path) -> None:
    broker.start()

    async def scenario() -> list[Any]:
        async with listening(broker) as plant:
            mqtt = sink(broker, tmp_path)
            await mqtt.start()
            await plant.until(lambda heard: len(heard) == 1)
            await mqtt.close()
            await plant.until(lambda heard: len(heard) == 2)
        async with listening(broker) as late:
            await late.until(lambda heard: len(heard) == 1)
        return [*plant.heard, *late.heard]

    topic = f"{TOPIC}/state"
    states = [(topic, {"state": state}) for state in ("online", "stopped", "stopped")]
    assert asyncio.run(scenario()) == states


CHILD = """
import asyncio, sys
from pathlib import Path
from nodeagent.clock import SystemClock
from nodeagent.sinks.mqtt import Mqtt, MqttOptions
from nodeagent.sinks.pulse import Heart
from nodeagent.sinks.sink import SinkContext

async def main():
    context = SinkContext(clock=SystemClock(), node_id="node-1", bundle="pump", pipeline="pump", asset="plant",
        revision=3, digest="", work_dir=Path(sys.argv[2]))
    mqtt = Mqtt(MqttOptions(url=f"mqtt://127.0.0.1:{sys.argv[1]}"), context)
    await mqtt.start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_when_the_node_is_killed_the_broker_says_offline(broker: Mosquitto, tmp_path: Path) -> None:
    broker.start()

    async def scenario() -> list[Any]:
        async with listening(broker) as plant:
            words = ("-c", CHILD, str(broker.port), str(tmp_path))
            child = await asyncio.create_subprocess_exec(sys.executable, *words)
            try:
                await plant.until(lambda heard: len(heard) == 1)
            finally:
                child.kill()
                await child.wait()
            await plant.until(lambda heard: len(heard) == 2)
            return plant.heard

    assert [fields["state"] for _, fields in asyncio.run(scenario())] == ["online", "offline"]


def test_with_qos_0_what_no_broker_takes_is_dropped_and_counted(broker: Mosquitto, tmp_path: Path) -> None:
    async def scenario() -> tuple[int, int]:
        mqtt = sink(broker, tmp_path, qos=0)
        await mqtt.start()
        for number in range(300):
            mqtt.offer(outcome(number))
        await true(lambda: mqtt.telemetry().waiting == 256)
        before = mqtt.telemetry().dropped_total
        await mqtt.close()
        return before, mqtt.telemetry().dropped_total

    assert asyncio.run(scenario()) == (44, 300)


def test_changes_only_sends_the_first_of_each_decision(broker: Mosquitto, tmp_path: Path) -> None:
    broker.start()

    async def scenario() -> Plant:
        mqtt = sink(broker, tmp_path, when="changes")
        async with listening(broker) as plant:
            await mqtt.start()
            for number, decision in enumerate(("normal", "normal", "alarm", "alarm", "normal")):
                mqtt.offer(outcome(number, decision))
            await plant.until(lambda heard: len(plant.numbers()) == 3)
            await mqtt.close()
        return plant

    assert asyncio.run(scenario()).numbers() == [0, 2, 4]

"""The MQTT source against a real mosquitto, fed by the same project's own client program, with the faults of plants."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Callable
from typing import Any

import aiomqtt
import numpy as np
import pytest
from PIL import Image

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame
from nodeagent.pipeline.options import Seconds
from nodeagent.sources.mqtt import Mqtt, MqttOptions, Tag
from nodeagent.sources.source import SourceContext

TAGS = (
    Tag(name="power", topic="plant/power", scale=0.001),
    Tag(name="flow", topic="plant/pump", path="flow.value", time="at"),
    Tag(name="run", topic="plant/pump", path='["pump.1"].states[1]'),
)
PUMP = b'{"at": 1700000000500, "flow": {"value": 12.5}, "pump.1": {"states": [false, true]}}'


def source(broker: Any, context: SourceContext, **options: Any) -> Mqtt:
    words: dict[str, Any] = {"timeout": Seconds(0.5), "keepalive": Seconds(1.0), "tags": TAGS}
    return Mqtt("line", MqttOptions(url=f"mqtt://127.0.0.1:{broker.port}", **(words | options)), context)


async def publish(broker: Any, *messages: tuple[str, bytes], retain: bool = False) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as plant:
        for topic, payload in messages:
            await plant.publish(topic, payload, qos=1, retain=retain)


async def fed(broker: Any, watch: Any, holds: Callable[[Frame], bool], *messages: tuple[str, bytes]) -> Frame:
    """Publishes again and again, as a plant does, until a frame is as it should be."""

    async def feed() -> None:
        while True:
            try:
                await publish(broker, *messages)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(feed())
    try:
        frame: Frame = await watch.until(holds)
        return frame
    finally:
        while not task.done():  # again: in Python 3.11 the library's wait_for may lose a cancellation
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)


def all_good(frame: Frame) -> bool:
    return bool((frame.quality == GOOD).all())


GOOD_MESSAGES = (("plant/power", b"1500"), ("plant/pump", PUMP))


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_plain_numbers_and_json_paths_arrive_with_the_devices_time(
    broker: Any, context: SourceContext, watch: Any, version: str
) -> None:
    broker.start()

    async def scenario() -> Frame:
        async with watch(source(broker, context, version=version)) as line:
            return await fed(broker, line, all_good, *GOOD_MESSAGES, ("plant/other", b"7"))

    frame = asyncio.run(scenario())
    assert frame.values.tolist() == [1.5, 12.5, 1.0]
    assert frame.source_us > 1_700_000_000_000_000  # power tells no time: the node's own is newer


def test_a_payload_of_the_wrong_type_and_a_missing_key_are_bad_and_listed_while_the_rest_goes_on(
    broker: Any, context: SourceContext, watch: Any
) -> None:
    broker.start()

    async def scenario() -> tuple[Frame, list[str]]:
        line = source(broker, context)
        async with watch(line) as watched:
            wrong = (("plant/power", b"n/a"), ("plant/pump", b'{"at": 1, "flow": {}, "pump.1": {"states": [0, 1]}}'))
            frame = await fed(
                broker, watched, lambda f: f.quality.tolist() == [BAD, BAD, GOOD] and "not a" in f.reasons[0], *wrong
            )
            listed = line.bad_items
            await fed(broker, watched, all_good, *GOOD_MESSAGES)
            assert line.bad_items == []
            return frame, listed

    frame, listed = asyncio.run(scenario())
    assert frame.quality.tolist() == [BAD, BAD, GOOD]
    assert frame.reasons == {0: "not a number: 'n/a'", 1: "no flow.value"}
    assert listed == ["power: not a number: 'n/a'", "flow: no flow.value"]


def test_a_retained_value_is_uncertain_until_a_live_one_comes(broker: Any, context: SourceContext, watch: Any) -> None:
    broker.start()

    async def scenario() -> Frame:
        await publish(broker, *GOOD_MESSAGES, retain=True)
        async with watch(source(broker, context, every=Seconds(0.05))) as line:
            frame: Frame = await line.until(lambda frame: bool((frame.quality < BAD).all()))
            await fed(broker, line, all_good, *GOOD_MESSAGES)
            return frame

    frame = asyncio.run(scenario())
    assert frame.quality.tolist() == [UNCERTAIN] * 3
    assert "retained" in frame.reasons[0]


def test_a_value_that_no_longer_comes_is_stale_although_sweeps_go_on(
    broker: Any, context: SourceContext, watch: Any
) -> None:
    broker.start()

    async def scenario() -> Frame:
        paced = {"every": Seconds(0.05), "max_age": Seconds(0.4)}
        async with watch(source(broker, context, **paced)) as line:
            await fed(broker, line, all_good, *GOOD_MESSAGES)
            stopped = ("plant/pump", PUMP)
            return await fed(broker, line, lambda f: f.quality.tolist() == [BAD, GOOD, GOOD], stopped)

    assert asyncio.run(scenario()).reasons == {0: "stale"}


def test_after_the_broker_was_killed_and_started_again_data_flows_and_the_gap_is_bad(
    broker: Any, context: SourceContext, watch: Any
) -> None:
    broker.start()

    async def scenario() -> Frame:
        async with watch(source(broker, context, every=Seconds(0.05))) as line:
            await fed(broker, line, all_good, *GOOD_MESSAGES)
            broker.kill()
            gap: Frame = await line.until(lambda frame: bool((frame.quality == BAD).all()))
            broker.start()
            await fed(broker, line, all_good, *GOOD_MESSAGES)
            return gap

    assert "no data" in asyncio.run(scenario()).reasons[0]


def test_a_frozen_broker_is_noticed_and_data_flows_after_it(broker: Any, context: SourceContext, watch: Any) -> None:
    broker.start()

    async def scenario() -> None:
        async with watch(source(broker, context, every=Seconds(0.05), silence=Seconds(1.0))) as line:
            await fed(broker, line, all_good, *GOOD_MESSAGES)
            broker.signal(signal.SIGSTOP)
            await line.until(lambda frame: bool((frame.quality == BAD).all()))
            assert line.supervisor.telemetry().state == "silent"
            broker.signal(signal.SIGCONT)
            await fed(broker, line, all_good, *GOOD_MESSAGES)

    asyncio.run(scenario())


def test_a_broker_that_lives_while_nobody_publishes_is_silent(broker: Any, context: SourceContext, watch: Any) -> None:
    broker.start()

    async def scenario() -> str:
        async with watch(source(broker, context, every=Seconds(0.05), silence=Seconds(0.3))) as line:
            await line.until(lambda frame: "no data" in frame.reasons[0])
            return str(line.supervisor.telemetry().reason)

    assert asyncio.run(scenario()) == "no message for 0.3 s"


def picture(format: str) -> bytes:  # noqa: A002
    held = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3).save(held, format)
    return held.getvalue()


def test_an_image_leaves_with_each_message_and_what_is_none_is_bad(
    broker: Any, context: SourceContext, watch: Any
) -> None:
    tags = (Tag(name="camera", topic="line/camera", kind="image"), Tag(name="part", topic="line/part"))
    broker.start()

    async def scenario() -> tuple[list[Frame], Frame, Frame]:
        async with watch(source(broker, context, tags=tags)) as line:
            part = ("line/part", b"7")
            frames = [
                await fed(broker, line, all_good, part, ("line/camera", picture(format)))
                for format in ("PNG", "PPM", "JPEG")  # noqa: A001
            ]
            text = await fed(broker, line, is_bad, part, ("line/camera", b"no picture"))
            cut = await fed(
                broker, line, lambda f: "truncated" in f.reasons.get(0, ""), ("line/camera", picture("PNG")[:50])
            )
            return frames, text, cut

    def is_bad(frame: Frame) -> bool:
        return frame.quality.tolist() == [BAD, GOOD]

    frames, text, cut = asyncio.run(scenario())
    for frame in frames:
        assert frame.blob is not None
        assert np.abs(frame.blob.astype(int) - np.arange(64).reshape(8, 8) * 3).max() <= 6  # JPEG loses a little
    assert text.reasons == {0: "not an image: no PNG, JPEG, PPM"}
    assert cut.blob is None


def test_a_waveform_is_a_list_inside_json_with_its_own_time(broker: Any, context: SourceContext, watch: Any) -> None:
    tag = Tag(name="vib", topic="line/vib", kind="waveform", path="acceleration.g", time="at", scale=9.81)
    broker.start()

    async def scenario() -> tuple[Frame, Frame]:
        async with watch(source(broker, context, tags=(tag,))) as line:
            words = b'{"at": 1700000000, "acceleration": {"g": [1, -2.5, 0]}}'
            good = await fed(broker, line, all_good, ("line/vib", words))
            return good, await fed(
                broker, line, lambda f: not all_good(f), ("line/vib", b'{"at": 1, "acceleration": {"g": [1, null]}}')
            )

    good, bad = asyncio.run(scenario())
    assert good.blob is not None
    assert good.blob.tolist() == pytest.approx([9.81, -24.525, 0])
    assert good.source_us == 1_700_000_000_000_000
    assert bad.reasons == {0: "not a waveform: it holds more than numbers"}

"""Topics that a broker carries, and the paths of the numbers inside their JSON."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from nodeagent.sinks.broker import Login
from nodeagent.sources import json_path
from nodeagent.sources.mqtt_link import Heard, LinkLost, Listener
from nodeagent.sources.probe import SECONDS_MAX, Found, Pace, ProbeFailed, Wanted
from nodeagent.sources.sparkplug_payload import Undecodable, decode

TOPICS_MAX = 500
PATHS_MAX = 100


async def look(wanted: Wanted, pace: Pace) -> AsyncIterator[Found]:
    """Listens to `at` (all topics where it is empty) and tells each topic once. Raises ProbeFailed."""
    seconds = min(wanted.seconds, SECONDS_MAX)
    try:
        link = await Listener.open(
            wanted.url,
            Login("outstation-probe"),
            [wanted.at or "#"],
            qos=0,
            version="3.1.1",
            keepalive_s=15,
            timeout_s=5.0,
        )
    except (LinkLost, ValueError) as error:
        raise ProbeFailed(str(error)) from error
    newest: dict[str, tuple[Heard, int]] = {}
    end_s = time.monotonic() + seconds
    try:
        async with asyncio.timeout(seconds):
            async for heard in link.messages():
                if heard.topic in newest or len(newest) < TOPICS_MAX:
                    newest[heard.topic] = (heard, newest.get(heard.topic, (heard, 0))[1] + 1)
                if time.monotonic() > end_s:
                    break
    except TimeoutError:
        pass
    except LinkLost as lost:
        raise ProbeFailed(str(lost)) from lost
    finally:
        await link.close()
    yield Found(columns=["topic", "path", "value", "messages"])
    for topic, (heard, count) in sorted(newest.items()):
        for path, value in _values(heard):
            yield Found(row=[topic, path, value, f"{count}{' (retained)' if heard.retained else ''}"])
    if not newest:
        yield Found(note=f"nothing came in {seconds:g} s")


def _values(heard: Heard) -> Iterator[tuple[str, str]]:
    if heard.topic.startswith("spBv1.0/"):
        try:
            for metric in decode(heard.payload).metrics[:PATHS_MAX]:
                name = metric.name or f"alias {metric.alias}"
                yield name, "null" if metric.value is None else str(metric.value)
            return
        except Undecodable:
            yield "", f"{len(heard.payload)} bytes"
            return
    try:
        document = msgspec.json.decode(heard.payload)
    except (msgspec.DecodeError, RecursionError):
        yield "", heard.payload[:80].decode("utf-8", "replace")
        return
    for count, (path, value) in enumerate(_leaves(document, ())):
        if count >= PATHS_MAX:
            yield "...", f"more than {PATHS_MAX}"
            return
        yield json_path.shown(path), "null" if value is None else str(value)


def _leaves(value: Any, path: json_path.JsonPath) -> Iterator[tuple[json_path.JsonPath, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _leaves(inner, (*path, at))
    else:
        yield path, value

"""Sweeps that a program posts: what is taken, what is marked, what is refused whole."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from nodeagent.frame import BAD, GOOD, UNCERTAIN, Frame
from nodeagent.sources.doors import Doors, NotTaken
from nodeagent.sources.push import Push, PushOptions
from nodeagent.sources.source import SourceContext


@pytest.fixture
def push(context: SourceContext) -> Push:
    return Push("in", PushOptions(tags=("a", "b")), context)


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_a_sweep_has_its_values_its_time_and_its_qualities(push: Push) -> None:
    posted = {"values": {"a": 1, "b": True}, "time": "2026-01-01T00:00:00Z", "quality": {"b": "Uncertain"}}
    (frame,) = push.frames(body(posted))
    assert frame.values.tolist() == [1.0, 1.0]
    assert frame.quality.tolist() == [GOOD, UNCERTAIN]
    assert frame.reasons == {1: "Uncertain by the sender"}
    assert frame.source_us == 1_767_225_600_000_000


def test_what_is_not_sent_null_or_no_number_is_bad_and_says_why(push: Push) -> None:
    frames = push.frames(body([{"values": {"a": 1}}, {"values": {"a": None, "b": "x"}}]))
    assert [frame.quality.tolist() for frame in frames] == [[GOOD, BAD], [BAD, BAD]]
    assert [frame.reasons for frame in frames] == [{1: "not sent"}, {0: "missing", 1: "not a number: 'x'"}]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (b"{", "truncated"),
        (body({"value": {}}), "unknown field"),
        (body({"values": {"c": 1}}), "no tag 'c'"),
        (body({"values": {"a": 1}, "time": "yesterday"}), "not a time"),
        (body({"values": {"a": 1}, "quality": {"a": "fine"}}), "a quality is"),
        (body([{"values": {"a": 1}}, {"values": {"c": 1}}]), "no tag 'c'"),
        (body([{"values": {}}] * 10_001), "more than 10000"),
    ],
)
def test_a_wrong_post_is_refused_whole(push: Push, wrong: bytes, why: str) -> None:
    with pytest.raises(NotTaken, match=why):
        push.frames(wrong)


def test_the_door_is_open_while_the_source_runs_and_no_longer(context: SourceContext) -> None:
    source = Push("in", PushOptions(tags=("a",)), context)
    frames: list[Frame] = []

    async def scenario() -> Any:
        task = asyncio.create_task(source.run(frames.append))
        await asyncio.sleep(0)
        door = context.doors.find("in")
        assert door is not None
        taken = door(body({"values": {"a": 2}}))
        task.cancel()
        await asyncio.wait({task})
        return taken

    assert asyncio.run(scenario()) == 1
    assert frames[0].values.tolist() == [2.0]
    assert context.doors.find("in") is None
    assert Doors().find("in") is None

"""Which places a pipeline writes under a node's bindings, read without loading it."""

from __future__ import annotations

from typing import Any

import pytest

from nodeagent.deployment.write_conflicts import between, one_by_one, places, read_places

SINK = '[[sink]]\ntype = "{type}"\nurl = {url}\n{place}\nguard = {{ low = 0, high = 1, dry_run = false{more} }}\n'


def sink(place: str, *, kind: str = "modbus.write", url: str = '"tcp://PLC"', more: str = "") -> str:
    return SINK.format(type=kind, url=url, place=place, more=more)


@pytest.mark.parametrize(
    ("text", "bindings", "found"),
    [
        (sink('register = "holding:1"'), {}, ["holding:1 of plc:502 unit 1"]),
        (sink('register = "holding:1"\nunit_id = 3'), {}, ["holding:1 of plc:502 unit 3"]),
        (
            sink('register = "${valve.place}"', url='"${valve.url}"', more=', heartbeat = "holding:9"'),
            {"valve": {"url": "tcp://10.0.0.5:502", "place": "holding:7"}},
            ["holding:7 of 10.0.0.5:502 unit 1", "holding:9 of 10.0.0.5:502 unit 1"],
        ),
        (
            sink('register = "holding:1"', url='"${valve}"'),
            {"valve": {"url": "tcp://10.0.0.5", "unit_id": 4, "register": "coil:2"}},
            ["coil:2 of 10.0.0.5:502 unit 4"],
        ),
        (
            sink('node = "ns=2;s=A"', kind="opcua.write", url='"opc.tcp://10.0.0.7/x"'),
            {},
            ["ns=2;s=A of 10.0.0.7:4840"],
        ),
        (sink('register = "holding:1"').replace("dry_run = false", "dry_run = true"), {}, []),
        (sink('register = "holding:1"').replace(", dry_run = false", ""), {}, []),
        (sink('register = "holding:1"', url='"${valve}"'), {}, []),
        ('[[sink]]\ntype = "record"\n', {}, []),
    ],
)
def test_a_pipeline_writes_the_places_of_its_guarded_sinks(
    text: str, bindings: dict[str, Any], found: list[str]
) -> None:
    assert places(text, bindings) == found


def test_what_is_no_pipeline_writes_nothing() -> None:
    assert read_places("[[sink", {}) == read_places('sink = "x"', {}) == read_places("sink = 3", {}) == set()


def test_a_refusal_names_both_bundles_and_the_place_and_what_to_do() -> None:
    refused = between("scale", {"coil:2 of a", "coil:1 of a"}, {"press": {"coil:1 of a"}, "scale": {"coil:2 of a"}})
    assert refused is not None
    assert refused.code == "DEPLOYMENT.WRITE_CONFLICT"
    assert refused.message == "coil:1 of a is written by the bundle press, and scale would write it too"
    assert "another place" in refused.hint
    assert between("scale", {"coil:2 of a"}, {"scale": {"coil:2 of a"}}) is None


NOW = {"press": {"p"}, "scale": {"s"}}


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([("press", {"x"}), ("scale", {"x"})], "press, and scale"),
        ([("press", {"s"}), ("scale", {"p"})], "scale, and press"),
        ([("press", {"x"}), ("scale", {"p"})], ""),
        ([("scale", set()), ("press", {"s"})], ""),
    ],
)
def test_bundles_that_move_one_after_the_other_may_not_meet_on_the_way(
    steps: list[tuple[str, set[str]]], refused: str
) -> None:
    found = one_by_one(NOW, steps)
    assert (refused in found.message) if found and refused else found is None and not refused

"""The passport: which bundle fits which node."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from nodeagent.deployment.arriving import Seen
from nodeagent.deployment.passport import NodeFacts, judge

FACTS: dict[str, Any] = {
    "name": "press",
    "opsets": {"": 17},
    "ir_version": 8,
    "operators": ["Gemm", "ai.onnx.ml::TreeEnsembleRegressor"],
    "providers": ["CPUExecutionProvider"],
    "peak_memory_bytes": 10 << 20,
    "bindings": ["plc"],
}
SIZES = {"sha256:a": 1 << 20, "sha256:b": 1 << 10}
NODE = NodeFacts(
    runtime="1.23.2",
    providers=("CPUExecutionProvider",),
    memory_bytes_available=1 << 30,
    disk_bytes_free=1 << 30,
    disk_bytes_free_min=64 << 20,
    disk_writable=True,
    held=frozenset(),
    bindings={"plc": "tcp://10.0.0.5:502"},
    signers=1,
    out_of_service="",
    endpoints={},
)


def verdicts(node: NodeFacts = NODE, **facts: Any) -> dict[str, str]:
    found = judge({**FACTS, **facts}, SIZES, node)
    assert found.fits == all(item.verdict != "no" for item in found.items)
    assert all(item.fix for item in found.items if item.verdict == "no"), "each no names its fix"
    return {item.name: item.verdict for item in found.items}


def test_a_trial_and_a_hold_are_mentioned_with_what_to_do_and_do_not_stop_the_bytes() -> None:
    node = dataclasses.replace(NODE, trial="pump 2.0 is in its trial (9f)", hold="bob: smoke")
    found = {item.name: item for item in judge(FACTS, SIZES, node).items}
    assert (found["trial"].verdict, found["hold"].verdict) == ("warn", "warn")
    assert "pump 2.0" in found["trial"].text
    assert "roll it back" in found["trial"].fix
    assert "bob: smoke" in found["hold"].text
    assert judge(FACTS, SIZES, node).fits


def test_the_disk_is_told_as_new_temporary_and_kept() -> None:
    node = dataclasses.replace(NODE, held=frozenset({"sha256:b"}), kept_bytes=90_000_000)
    (item,) = [item for item in judge(FACTS, SIZES, node).items if item.name == "disk"]
    assert item.text == "needs 9.4 MB (1.0 MB new, the rest temporary) beside 90.0 MB kept, 1.1 GB free"


TAGS = [
    {"name": "p", "unit": "bar", "low": 2.0, "high": 10.0, "period_s": 0.2},
    {"name": "speed", "unit": "rpm", "low": None, "high": None, "period_s": None},
]
FINE = {"p": Seen("bar", 11.0, 0, 0.2), "speed": Seen("", 900.0, 0, None)}


@pytest.mark.parametrize(
    ("changed", "verdict", "words"),
    [
        ({}, "yes", "2 of 2 arrive now, as the bundle expects them"),
        ({"p": Seen("kPa", 900.0, 0, 0.2)}, "warn", "p: in kPa, bar is expected (1 kPa is 0.01 bar)"),
        ({"p": Seen("rpm", 900.0, 0, 0.2)}, "warn", "p: in rpm, bar is expected, which is not the same quantity"),
        ({"p": Seen("bar", 85.0, 0, 0.2)}, "warn", "p: 85 bar, 2 to 10 is expected"),
        ({"p": Seen("bar", None, 2, 0.2)}, "warn", "p: its quality is Bad"),
        ({"p": Seen("bar", 5.0, 0, 1.0)}, "warn", "p: every 1 s, 0.2 s is expected"),
        ({"p": None}, "unknown", "1 of 2 arrive now; nothing reads p now"),
        ({"p": None, "speed": None}, "unknown", "0 of 2 arrive now; nothing reads p, speed now"),
    ],
)
def test_inputs_are_judged_by_name_unit_range_and_rate(changed: dict[str, Any], verdict: str, words: str) -> None:
    seen = {name: found for name, found in {**FINE, **changed}.items() if found is not None}
    found = judge({**FACTS, "tags": TAGS}, SIZES, dataclasses.replace(NODE, arriving=seen))
    (item,) = [item for item in found.items if item.name == "inputs"]
    assert (item.verdict, found.fits) == (verdict, True)
    assert words in item.text
    assert bool(item.fix) == (verdict == "warn")


def test_a_bundle_that_fits_says_yes_to_everything() -> None:
    assert set(verdicts().values()) == {"yes"}


@pytest.mark.parametrize(
    ("changed", "facts", "name", "verdict"),
    [
        ({}, {"opsets": {"": 99}}, "runtime", "no"),
        ({}, {"ir_version": 99}, "runtime", "no"),
        ({"runtime": None}, {}, "runtime", "no"),
        ({"runtime": "1.99.0"}, {}, "runtime", "yes"),
        ({"runtime": "1.99.0"}, {"opsets": {"": 60}}, "runtime", "unknown"),
        ({"runtime": "0.3"}, {}, "runtime", "unknown"),
        ({}, {"operators": ["my.own::Magic"]}, "operators", "unknown"),
        ({}, {"operators": []}, "operators", "unknown"),
        ({}, {"providers": ["CUDAExecutionProvider"]}, "provider", "no"),
        ({"memory_bytes_available": 1 << 20}, {}, "memory", "no"),
        ({"memory_bytes_available": None}, {}, "memory", "unknown"),
        ({"disk_bytes_free": 64 << 20}, {}, "disk", "no"),
        ({"disk_bytes_free": None}, {}, "disk", "unknown"),
        ({"disk_writable": False}, {}, "disk", "no"),
        ({"bindings": {}}, {}, "bindings", "no"),
        ({"signers": 0}, {}, "trust", "no"),
        ({"out_of_service": "bob: bearing"}, {}, "service", "no"),
        ({"endpoints": {"tcp://10.0.0.5:502": 2}}, {}, "connections", "warn"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, Any], facts: dict[str, Any], name: str, verdict: str) -> None:
    assert verdicts(dataclasses.replace(NODE, **changed), **facts)[name] == verdict


def test_blobs_that_the_node_holds_need_no_room() -> None:
    tight = dataclasses.replace(NODE, disk_bytes_free=(64 << 20) + (8 << 20) + 512 * 1024)
    assert verdicts(tight)["disk"] == "no"
    assert verdicts(dataclasses.replace(tight, held=frozenset({"sha256:a", "sha256:b"})))["disk"] == "yes"


def test_room_is_told_in_gigabytes_where_there_are_that_many() -> None:
    node = dataclasses.replace(NODE, memory_bytes_available=23_958_500_000, disk_bytes_free=12_400_000_000)
    texts = {item.name: item.text for item in judge({}, {"sha256:a": 5_000_000}, node).items}
    assert texts["memory"].endswith("24.0 GB available")
    assert texts["disk"].endswith(" MB kept, 12.4 GB free")


def test_what_the_nodes_policy_asks_of_a_change_is_said_and_does_not_stop_the_bytes() -> None:
    node = dataclasses.replace(NODE, asks_number=True, asks_person=True)
    found = {item.name: item for item in judge(FACTS, SIZES, node).items}
    assert (found["change number"].verdict, found["second person"].verdict) == ("warn", "warn")
    assert "--change" in found["change number"].fix
    assert judge(FACTS, SIZES, node).fits
    assert not {"change number", "second person"} & verdicts().keys()


WRITES = """
[[sink]]
type = "modbus.write"
url = "${plc}"
register = "holding:7"
guard = { low = 0, high = 1, dry_run = false }
"""


def test_a_place_that_another_bundle_writes_is_a_no_with_both_names_before_any_byte_moves() -> None:
    node = dataclasses.replace(NODE, written={"scale": {"holding:7 of 10.0.0.5:502 unit 1"}})
    (item,) = [item for item in judge({**FACTS, "pipeline": WRITES}, SIZES, node).items if item.name == "outputs"]
    assert item.verdict == "no"
    assert item.text == "holding:7 of 10.0.0.5:502 unit 1 is written by the bundle scale, and press would write it too"
    assert "another place" in item.fix
    own = dataclasses.replace(NODE, written={"press": {"holding:7 of 10.0.0.5:502 unit 1"}})
    assert verdicts(own, pipeline=WRITES)["outputs"] == "yes"
    assert "outputs" not in verdicts(node), "an older console sends no pipeline"
    assert "outputs" not in verdicts(node, pipeline=WRITES.replace("false", "true"))

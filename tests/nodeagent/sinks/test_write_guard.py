"""The guard of a write-back: who may lift it, and how often anything is written."""

from __future__ import annotations

import pytest

from nodeagent.pipeline.config import load
from nodeagent.sinks.write_guard import HOUR_US, Budget, Guard

PIPELINE = """schema = 1
name = "p"
[[source]]
id = "s"
type = "simulate"
machine = "pump"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1.0
[[sink]]
type = "modbus.write"
url = {url}
register = "holding:1"
when = "alarm"
value = 1
guard = {guard}
"""
VALVE = {"url": "tcp://10.0.0.5", "allow": ["holding:1"], "place": "holding:1"}


def allow_is_bound(guard: str, url: str = '"tcp://10.0.0.5"') -> bool:
    whole = {"allow": ["holding:1"], "low": 0, "high": 1}
    bindings = {"valve": VALVE, "guard": whole, "plc": {"url": VALVE["url"], "guard": whole}}
    (sink,) = load(PIPELINE.format(guard=guard, url=url), bindings=bindings).sinks
    return sink.is_bound("guard", "allow")


@pytest.mark.parametrize(
    ("guard", "bound"),
    [
        ('{ allow = "${valve.allow}", low = 0, high = 1 }', True),
        ('{ allow = ["${valve.place}"], low = 0, high = 1 }', True),
        ('"${guard}"', True),
        ('{ allow = ["holding:1"], low = 0, high = 1 }', False),
        ('{ allow = ["${valve.place}", "holding:2"], low = 0, high = 1 }', False),
        ("{ low = 0, high = 1 }", False),
    ],
)
def test_an_allow_list_is_the_nodes_only_where_all_of_it_comes_from_the_binding(guard: str, bound: bool) -> None:
    assert allow_is_bound(guard) is bound


def test_a_binding_that_brings_the_guard_along_brings_its_allow_list() -> None:
    assert allow_is_bound("{ low = 0, high = 1 }", url='"${plc}"')


def test_an_hour_holds_so_many_writes_and_then_the_oldest_makes_room() -> None:
    budget = Budget(2)
    assert [budget.take(at) for at in (0, 1, 2, HOUR_US - 1, HOUR_US, HOUR_US, HOUR_US + 1)] == [
        True, True, False, False, True, False, True,
    ]  # fmt: skip


def test_only_an_armed_deployment_with_a_guard_that_allows_it_writes() -> None:
    guard = Guard(allow=("holding:1",), low=0, high=1, dry_run=False)
    assert guard.refusal("holding:1", armed=True, allow_is_bound=True) == ""
    assert "not armed" in guard.refusal("holding:1", armed=False, allow_is_bound=True)
    assert "in the bundle" in guard.refusal("holding:1", armed=True, allow_is_bound=False)
    assert "not among" in guard.refusal("holding:2", armed=True, allow_is_bound=True)
    assert "guard says so" in Guard(allow=("holding:1",), low=0, high=1).refusal(
        "holding:1", armed=True, allow_is_bound=True
    )

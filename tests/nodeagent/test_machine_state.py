"""A switch waits for the machine: true by a Good value lets it through, what is not known never does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nodeagent.deployment import machine_state
from nodeagent.http.message import HttpError
from nodeagent.pipeline import condition
from nodeagent.pipeline.config import load
from nodeagent.pipeline.deploy import switch_when
from nodeagent.pipeline.errors import ConfigError
from nodeagent.protocol import Tap
from nodeagent.runtime.runtime import Refused

PIPELINE = """schema = 1
name = "press"
[deploy]
when = "state == 2"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
poll = "50ms"
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 3
"""


class Line:
    """A runtime whose active worker sees these sweeps, and then no more."""

    def __init__(self, *taps: Tap) -> None:
        self.taps = taps

    async def tap(self, bundle: str) -> AsyncIterator[Tap]:
        if not self.taps:
            raise Refused("MODEL.UNAVAILABLE", f"{bundle} has no worker that could be tapped")
        for tap in self.taps:
            yield tap
        await asyncio.sleep(3_600)


def sweep(value: float | None, quality: int = 0, stage: str = "source pump", name: str = "state") -> Tap:
    return Tap(stage=stage, wall_us=0, names=["vib", name], values=[1.0, value], quality=[0, quality], reasons=[])


def wait(*taps: Tap) -> None:
    line: Any = Line(*taps)
    asyncio.run(machine_state.wait(line, "press", condition.read("state == 2"), wait_s=0.05))


def test_the_switch_goes_on_once_the_machine_is_as_the_bundle_asks() -> None:
    wait(sweep(2))
    wait(sweep(0), sweep(1), sweep(2))


@pytest.mark.parametrize(
    ("taps", "told"),
    [
        ([sweep(0)], "is 0"),
        ([sweep(2, quality=1)], "not known, state: not good"),
        ([sweep(None)], "not known"),
        ([sweep(2, stage="validate.range")], "no sweep came"),
        ([sweep(2, name="speed")], "not among what arrives: vib, speed"),
        ([], "no worker"),
    ],
)
def test_what_is_not_so_or_not_known_lets_no_switch_through(taps: list[Tap], told: str) -> None:
    with pytest.raises(HttpError, match=told) as caught:
        wait(*taps)
    assert caught.value.code == "DEPLOYMENT.MACHINE_STATE"


def test_a_pipeline_says_for_what_it_waits_and_a_wrong_condition_is_named_with_its_line() -> None:
    config = load(PIPELINE)
    assert config.deploy is not None
    assert str(switch_when(PIPELINE)) == "state == 2"
    assert switch_when(PIPELINE.replace('[deploy]\nwhen = "state == 2"\n', "")) is None
    for wrong in ('when = "idle"', 'wehn = "state == 2"', 'when = "${plc}"', "when = 2"):
        with pytest.raises(ConfigError, match=r"pipeline.toml:[34]"):
            load(PIPELINE.replace('when = "state == 2"', wrong))

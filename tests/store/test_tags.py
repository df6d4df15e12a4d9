"""The tags that a bundle expects, out of its pipeline and its baseline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from store.bundle import TagSpec
from store.tags import tags_in

PUMP = Path(__file__).parents[2] / "examples" / "pump"
PIPELINE = b"""
[[source]]
id = "plc"
poll = "250ms"
tags = [{ name = "speed", unit = "rpm" }, { name = "p", unit = "bar" }, { name = "${named}" }, { unit = "bar" }]
[[source]]
id = "file"
rate = "2s"
tags = ["f1", "${f}"]
[[source]]
id = "none"
machine = "pump"
[[step]]
use = "validate.range"
limits = { speed = [0, 3600], p = [0, 25], f1 = "odd" }
"""


def test_tags_have_their_unit_period_and_range() -> None:
    baseline = json.dumps({"inputs": {"p.Average": {"min": 1.5, "max": 9}, "f1": {"min": None, "max": 1}}}).encode()
    assert tags_in(PIPELINE, baseline) == [
        TagSpec(name="f1", period_s=2.0),
        TagSpec(name="p", unit="bar", low=1.5, high=9.0, period_s=0.25),
        TagSpec(name="speed", unit="rpm", low=0.0, high=3600.0, period_s=0.25),
    ]


def test_the_pumps_bundle_expects_seven_tags() -> None:
    found = tags_in((PUMP / "pipeline.toml").read_bytes(), (PUMP / "baseline.json").read_bytes())
    assert [tag.name for tag in found] == ["p_dis", "p_suc", "power", "q_in", "speed", "t_brg", "vib"]
    assert all(tag.low is not None and tag.unit for tag in found)


@pytest.mark.parametrize(
    "text",
    ["", "source = 3", "[source]\nid = 1", "[[source]]\ntags = 7", "[[step]]\nuse = 'validate.range'\nlimits = 3"],
)
def test_a_pipeline_that_names_none_has_none(text: str) -> None:
    assert tags_in(text.encode(), b"[[[") == []

"""A bundle of two models on a real node: signed together, walked both, asked one after the other, tried by the gate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from store import archive, builder, signing

PIPELINE = """schema = 1
name = "press"
[[source]]
id = "pump"
type = "simulate"
machine = "pump"
poll = "20ms"
[model]
inputs = ["speed"]
[[then]]
model = "second"
inputs = { x = "y" }
when = "y > 0"
otherwise = { y = 0 }
[decide]
use = "alarm"
score = "second.y"
high = 1e9
[[sink]]
type = "record"
"""


def two_models(workshop: Any) -> Path:
    """The workshop's model that doubles, and behind it one that multiplies by three."""
    folder = workshop.bundle(2, pipeline=PIPELINE).parent
    shutil.copyfile(workshop.bundle(3).parent / "model.onnx", folder / "second.onnx")
    text = (folder / "bundle.toml").read_text()
    (folder / "bundle.toml").write_text(text.replace("[files]", '[files]\nmodels = { second = "second.onnx" }'))
    out = folder / "two.ostn"
    builder.build(folder, out, workshop.facts_from_model)
    archive.sign_archive(out, out, lambda data: signing.sign_with_key_file(workshop.key, data))
    return out


def test_the_second_is_asked_about_what_the_first_said(agent: Any, workshop: Any) -> None:
    assert agent.commit(two_models(workshop), "two")["state"] == "COMMITTED"
    rows = agent.eventually(lambda: agent.get("/records?bundle=press&limit=20")["records"], "predictions are recorded")
    for row in rows:
        (speed,) = row["inputs"]
        assert row["outputs"] == pytest.approx([2 * speed, 6 * speed], rel=1e-5)
        assert row["score"] == pytest.approx(6 * speed, rel=1e-5)
    agent.eventually(lambda: agent.bundle()["records_total"] > 60, "enough is recorded for the gate")
    again = two_models(workshop)
    staged = agent.stage(again, "gated")
    assert staged["state"] == "STAGED", staged
    assert agent.change("/deployments/gated/preflight")["state"] == "PREFLIGHT_OK"
    gate = agent.change("/deployments/gated/gate", {"rows": 50})["preflight"]["gate"]
    assert (gate["verdict"], gate["agreement"], gate["errors"]) == ("passed", 1.0, 0)
    assert gate["score_shift_max"] == pytest.approx(0.0, abs=1e-2)

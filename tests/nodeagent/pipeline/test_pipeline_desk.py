"""pipeline check and pipeline try: the desk."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nodeagent.pipeline.cli import main
from nodeagent.sources.simulators import bearing, pump

PIPELINE = """schema = 1
name = "pump-health"
[[source]]
id = "plc"
type = "modbus"
url = "${plc}"
tags = [
  { name = "speed", register = "holding:0", type = "float32" },
  { name = "power", register = "holding:2", type = "float32" },
]
[[step]]
use = "validate.range"
limits = { speed = [0, 3600] }
[[step]]
use = "derive"
tags = { ratio = "power / max(speed, 1)" }
[model]
inputs = ["ratio"]
[decide]
use = "alarm"
score = "score"
high = 0.5
"""


def run(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    return main(words, out=out), out.getvalue()


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.toml"
    path.write_text(PIPELINE)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text("time,power,speed\n1,100,1000\n2,900,1000\n3,#N/A,1000\n4,100,9999\n")
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["score"])],
        "ratio",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    path = tmp_path / "ratio.onnx"
    onnx.save(made, str(path))
    return path


def test_check_says_what_a_pipeline_is_and_which_bindings_it_needs(pipeline: Path) -> None:
    code, text = run("check", str(pipeline))
    assert code == 0
    assert "modbus plc -> validate.range -> derive -> model -> decide alarm" in text
    assert "bindings: plc (not given" in text


def test_check_with_bindings_checks_them_too(pipeline: Path, tmp_path: Path) -> None:
    bindings = tmp_path / "bindings.toml"
    bindings.write_text('[plc]\nurl = "tcp://10.0.0.5"\nunit = 3\n')
    code, text = run("check", str(pipeline), "--bindings", str(bindings), "--json")
    assert code == 1
    error = json.loads(text)["error"]
    assert (error["file"], error["key"]) == ("bindings", "plc.unit")


def test_check_finds_a_tag_that_the_model_would_miss(pipeline: Path, tmp_path: Path) -> None:
    pipeline.write_text(
        PIPELINE.replace('inputs = ["ratio"]', 'inputs = ["ration"]').replace("${plc}", "tcp://10.0.0.5")
    )
    code, text = run("check", str(pipeline))
    assert code == 1
    assert "pipeline.toml:18" in text
    assert "'ration'" in text


def test_try_shows_value_and_quality_after_every_stage(pipeline: Path, data: Path, model: Path) -> None:
    code, text = run("try", str(pipeline), "--input", str(data), "--model", str(model), "--frames", "4")
    assert code == 0
    assert "ratio 0.9" in text
    assert "speed 9999 Bad" in text
    assert "power - Bad" in text
    assert "decisions: 1 alarm, 1 normal, 2 skipped" in text


def test_try_without_a_model_ends_before_it(pipeline: Path, data: Path) -> None:
    code, text = run("try", str(pipeline), "--input", str(data))
    assert code == 0
    assert "no model" in text
    assert "decide" not in text


def test_try_as_json_is_one_tap_a_line_and_the_counters(pipeline: Path, data: Path, model: Path) -> None:
    _, text = run("try", str(pipeline), "--input", str(data), "--model", str(model), "--json")
    lines = [json.loads(line) for line in text.splitlines()]
    assert len(lines) == 4 * 4 + 1
    assert lines[-1]["decisions"] == {"alarm": 1, "normal": 1, "skipped": 2}


def test_a_score_that_the_model_does_not_have_is_found(pipeline: Path, data: Path, model: Path) -> None:
    pipeline.write_text(PIPELINE.replace('score = "score"', 'score = "p_fault"'))
    code, text = run("try", str(pipeline), "--input", str(data), "--model", str(model))
    assert code == 1
    assert "no output 'p_fault'; allowed: score" in text


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("data.csv", b"power,speed\n1\n", "line 2"),
        ("data.npy", b"not numpy", ""),
        ("data.txt", b"", "no .csv"),
    ],
)
def test_data_that_cannot_be_read_is_named(
    pipeline: Path, tmp_path: Path, name: str, content: bytes, text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    code, said = run("try", str(pipeline), "--input", str(path))
    assert code == 1
    assert str(path) in said
    assert text in said


def test_data_without_a_tag_that_a_step_needs_is_refused_at_that_step(pipeline: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    code, said = run("try", str(pipeline), "--input", str(path))
    assert (code, bool(re.search(r"pipeline.toml:1\d: step\S*: there is no tag 'speed' here", said))) == (1, True)


def test_each_row_of_an_array_is_a_waveform(tmp_path: Path) -> None:
    path = tmp_path / "bearing.toml"
    path.write_text(
        'schema = 1\nname = "b"\n[[source]]\nid = "vib"\ntype = "folder"\npath = "${drop}"\nsample_rate = 12000\n'
        '[[step]]\nuse = "feature.vibration"\nrpm = 1797\n'
        "bearing = { balls = 9, ball_dia = 0.3126, pitch_dia = 1.537 }\n"
        '[model]\ninputs = ["rms"]\n[decide]\nuse = "alarm"\nscore = "s"\nhigh = 1\n'
    )
    rng = np.random.default_rng(0)
    np.save(tmp_path / "waves.npy", np.stack([bearing.vibration(rng) for _ in range(3)]))
    code, text = run("try", str(path), "--input", str(tmp_path / "waves.npy"))
    assert code == 0, text
    assert "3 frames" in text


def test_a_folder_of_recordings_is_taken_in_the_order_of_names(tmp_path: Path, pipeline: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    for number in (2, 1):
        (folder / f"{number}.csv").write_text(f"speed,power\n{number},1\n")
    _, text = run("try", str(pipeline), "--input", str(folder), "--frames", "2")
    assert text.index("speed 1") < text.index("speed 2")


def test_the_dirt_of_a_pump_is_what_its_truth_says() -> None:
    clean: Any = pump.pump(500, seed=9)
    dirt, truth = pump.dirty(clean, seed=9, spike=0.01, missing=0.01, stuck=2, dropouts=2)
    assert np.array_equal(dirt[truth == 0], clean[truth == 0])
    assert np.isnan(dirt[(truth == 2) | (truth == 4)]).all()
    assert np.isfinite(dirt[truth == 3]).all()

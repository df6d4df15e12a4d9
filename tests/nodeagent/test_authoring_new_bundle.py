"""`bundle new`: from a model of somebody else and its data to a folder that builds, checks and runs."""

from __future__ import annotations

import csv
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from console.delivery.inspect import facts_from_model
from nodeagent.authoring.new_bundle import main
from nodeagent.model.golden import Golden, GoldenMismatch
from nodeagent.model.inference import Model
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline import drift
from nodeagent.sources.readings import read
from store.builder import build

HEADER = ["time", "Motor Temp", "p (bar)", "rpm", "state"]


def linear(path: Path, *, width: int = 3, columns: int = 1, bias: float = 0.0) -> Path:
    """score = sum of the row + bias, in `columns` columns."""
    weights = numpy_helper.from_array(np.ones((width, columns), np.float32), "w")
    offset = numpy_helper.from_array(np.full((columns,), bias, np.float32), "b")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["score"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", columns])],
        [weights, offset],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def picture_model(path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["image"], ["mean"])],
        "picture",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 3, 1, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def table(path: Path, rows: int = 400) -> Path:
    random = np.random.default_rng(3)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for at in range(rows):
            temp, pressure, rpm = 50 + random.normal(), 5 + random.normal(), 1000 + 10 * random.normal()
            writer.writerow([f"2026-01-01T00:{at % 60:02d}:00Z", temp, "#N/A" if at == 7 else pressure, rpm, "run"])
    return path


def begun(tmp_path: Path, *arguments: str) -> Path:
    folder = tmp_path / "wear"
    assert main([str(folder), *arguments]) == 0
    return folder


def test_a_model_and_its_data_make_a_folder_that_builds_checks_and_watches_for_drift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, data = linear(tmp_path / "m.onnx"), table(tmp_path / "d.csv")
    folder = begun(tmp_path, "--model", str(model), "--data", str(data))
    assert "399 rows" in capsys.readouterr().out  # one row misses a value
    config = pipeline_config.load((folder / "pipeline.toml").read_text("utf-8"), bindings=None)
    assert config.decide.use == "alarm"
    assert list(drift.parse((folder / "baseline.json").read_bytes()).inputs) == ["Motor Temp", "p (bar)", "rpm"]
    facts = build(folder, tmp_path, facts_from_model)
    assert (facts.name, facts.version, facts.lineage["data"]) == ("wear", "1.0", "d.csv")
    loaded = Model.load(folder / "model.onnx")
    assert Golden.read(folder / "golden.npz").check(loaded.run, ["x"]) == 16
    loaded.close()


def test_golden_vectors_that_were_made_tell_another_model_apart(tmp_path: Path) -> None:
    data = table(tmp_path / "d.csv")
    folder = begun(tmp_path, "--model", str(linear(tmp_path / "m.onnx")), "--data", str(data))
    other = Model.load(linear(tmp_path / "other.onnx", bias=40.0))
    with pytest.raises(GoldenMismatch, match="score gave"):
        Golden.read(folder / "golden.npz").check(other.run, ["x"])
    other.close()


@pytest.mark.parametrize("source", ["push", "replay", "modbus", "mqtt"])
def test_every_source_that_can_be_begun_with_makes_a_pipeline_that_checks(tmp_path: Path, source: str) -> None:
    folder = begun(tmp_path, "--model", str(linear(tmp_path / "m.onnx")), "--source", source)
    bound: dict[str, Any] = {"data": "/d.csv", "plc": "tcp://127.0.0.1:502", "broker": "mqtt://127.0.0.1:1883"}
    config = pipeline_config.load((folder / "pipeline.toml").read_text("utf-8"), bindings=bound)
    assert config.sources[0].use == source
    assert not (folder / "baseline.json").exists()
    assert tomllib.loads((folder / "bundle.toml").read_text())["files"]["baseline"] == ""
    assert build(folder, tmp_path, facts_from_model).baseline_digest is None


def test_a_model_of_pictures_answers_over_http_and_has_no_pipeline(tmp_path: Path) -> None:
    folder = begun(tmp_path, "--model", str(picture_model(tmp_path / "p.onnx")))
    facts = build(folder, tmp_path, facts_from_model)
    assert facts.pipeline_digest is None
    assert facts.golden_digest is not None


@pytest.mark.parametrize(
    ("width", "columns", "more", "said"),
    [
        (4, 1, (), "3 columns of numbers"),
        (3, 1, ("--tags", "rpm,nope,p (bar)"), "nope"),
        (3, 1, ("--score", "wear"), "it has: score"),
        (3, 2, ("--score", "score"), "--score score:0"),
        (3, 1, ("--name", "no good!"), "name"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_remedy_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], width: int, columns: int, more: tuple[str, ...], said: str
) -> None:
    model, data = linear(tmp_path / "m.onnx", width=width, columns=columns), table(tmp_path / "d.csv")
    assert main([str(tmp_path / "new"), "--model", str(model), "--data", str(data), *more]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wear").mkdir()
    (tmp_path / "wear" / "mine").write_text("kept")
    assert main([str(tmp_path / "wear"), "--model", str(linear(tmp_path / "m.onnx"))]) == 1
    assert "name a new folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "wear").iterdir()] == ["mine"]


def test_the_verb_of_the_console_is_the_same_program(tmp_path: Path) -> None:
    model = linear(tmp_path / "m.onnx")
    command = [sys.executable, "-m", "console", "bundle", "new", str(tmp_path / "wear"), "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "outstation bundle build" in done.stdout
    assert onnx.load(str(tmp_path / "wear" / "model.onnx")).graph.name == "linear"


def test_a_spreadsheet_with_a_byte_order_mark_semicolons_and_decimal_commas_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plant.csv"
    path.write_bytes("\ufefftemp;rpm\n1,5;1000\n-;2,25\n".encode())
    found = read(path, id="d")
    assert found.names == ("temp", "rpm")
    first, second = (list(reading.values) for reading in found)
    assert first == [1.5, 1000.0]
    assert np.isnan(second[0])

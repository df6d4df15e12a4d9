"""What a training run leaves in its folder: model, baseline, golden vectors, and the bundle's description."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it would tell its maker of each model
import onnxruntime as ort

from nodeagent.authoring.vectors import npz

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """One trained bundle. `golden`: inputs by name, a row a case; what the model says to each is asked of onnxruntime.

    `figures` are measured on seeds that training did not see; `lineage` says what it was trained on.
    """

    name: str
    version: str
    sequence: int
    model: bytes
    baseline: dict[str, Any]
    golden: Arrays
    figures: dict[str, float]
    lineage: dict[str, str]


def run(model: bytes, feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
    """What the model says, by output name."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def answers(model: bytes, golden: Arrays) -> dict[str, npt.NDArray[Any]]:
    """What the model says to each case, run by itself as a batch of one; [cases, 1, ...] by output name."""
    cases = len(next(iter(golden.values())))
    said = [run(model, {name: rows[at : at + 1] for name, rows in golden.items()}) for at in range(cases)]
    return {name: np.stack([each[name] for each in said]) for name in said[0]}


def write(trained: Trained, folder: Path, *, golden_outputs: Arrays | None = None) -> None:
    """Write model.onnx, baseline.json, golden.npz and bundle.toml. The same training gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = answers(trained.model, trained.golden) if golden_outputs is None else golden_outputs
    inputs = {name: rows[:, None] for name, rows in trained.golden.items()}
    (folder / "model.onnx").write_bytes(trained.model)
    (folder / "baseline.json").write_text(json.dumps(trained.baseline, sort_keys=True, separators=(",", ":")) + "\n")
    (folder / "golden.npz").write_bytes(npz(inputs, outputs))
    (folder / "bundle.toml").write_text(_bundle_toml(trained))


def read_golden(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]]]:
    """Inputs and outputs by name, [cases, 1, ...]."""
    with np.load(path, allow_pickle=False) as stored:
        inputs = {name.removeprefix("input."): stored[name] for name in stored.files if name.startswith("input.")}
        outputs = {name.removeprefix("output."): stored[name] for name in stored.files if name.startswith("output.")}
    return inputs, outputs


def _bundle_toml(trained: Trained) -> str:
    lines = [
        "# Written by training; the figures were measured on seeds that training did not see.",
        f'name = "{trained.name}"',
        f'version = "{trained.version}"',
        "epoch = 1",
        f"sequence = {trained.sequence}",
        f'model = "{trained.name}"',
        f"peak_memory_bytes = {64 << 20}",
        'providers = ["CPUExecutionProvider"]',
        "",
        "[files]",
        'model = "model.onnx"',
        'pipeline = "pipeline.toml"',
        'baseline = "baseline.json"',
        'golden = "golden.npz"',
        "",
        "[lineage]",
        *(f"{key} = {json.dumps(value)}" for key, value in trained.lineage.items()),
        "",
        "[lineage.metrics]",
        *(f"{key} = {value:.4g}" for key, value in trained.figures.items()),
    ]
    return "\n".join(lines) + "\n"

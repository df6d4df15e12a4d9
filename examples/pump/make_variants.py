"""Makes the bundles that a rollout is tried with: python -m examples.pump.make_variants [FOLDER].

2.0 is better than 1.0: it learned longer, and finds wear earlier.
2.1 passes its golden vectors and fails on a real pump. Somebody added a correction by the square root of what is left
    of the rated power, with the rated power of a smaller pump, and took the golden vectors on a bench at part load. At
    any real load the score is not a number, every prediction is an error, and the trial's guards send the node back.
2.2 never gets that far: its golden vectors are those of another training run, so preflight refuses it.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from examples import artifacts, autoencoder
from examples.pump import train as pump
from examples.pump.generate import FEATURES

GOOD = pump.Recipe(version="2.0", sequence=20, epochs=60)
_POWER = FEATURES.index("power.Average")
# How each feature goes with speed (affinity laws), for a bench at half of it.
_BENCH_SPEED = 0.5
_EXPONENTS = np.array([1, 1, 2, 3, 0, 2, 2, 2], np.float32)


def variants() -> list[tuple[artifacts.Trained, dict[str, np.ndarray] | None]]:
    """(bundle, golden outputs where they are not the model's own), in the order of their versions."""
    good = pump.train(GOOD)
    return [(good, None), (bad_in_trial(good), None), wrong_golden(good)]


def bad_in_trial(good: artifacts.Trained) -> artifacts.Trained:
    """2.1: `good` with a correction that only part load survives."""
    bench = (good.golden["X"] * np.float32(_BENCH_SPEED) ** _EXPONENTS).astype(np.float32)
    rated_kw = 1.02 * float(bench[:, _POWER].max())
    model = onnx.load_from_string(good.model)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["plain_score" if name == "score" else name for name in node.output]
    graph.node.extend(
        [
            helper.make_node("Gather", ["X", "power_column"], ["power"], axis=1),
            helper.make_node("Sub", ["rated_kw", "power"], ["margin"]),
            helper.make_node("Div", ["margin", "rated_kw"], ["share"]),
            helper.make_node("Sqrt", ["share"], ["correction"]),
            helper.make_node("Mul", ["plain_score", "correction"], ["score"]),
        ]
    )
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(_POWER, np.int64), "power_column"),
            numpy_helper.from_array(np.array(rated_kw, np.float32), "rated_kw"),
        ]
    )
    return dataclasses.replace(
        good,
        version="2.1",
        sequence=21,
        model=autoencoder.finished(graph).SerializeToString(),
        golden={"X": bench},
        figures={},
        lineage={"training": "examples/pump/make_variants.py", "note": "golden vectors taken on a bench at part load"},
    )


def wrong_golden(good: artifacts.Trained) -> tuple[artifacts.Trained, dict[str, np.ndarray]]:
    """2.2: the model of 2.0, and what a model of another seed says to the golden inputs."""
    outputs = artifacts.answers(good.model, good.golden)
    outputs["score"] = outputs["score"] * 2 + 1
    lineage = {"training": "examples/pump/make_variants.py", "note": "golden vectors of another training run"}
    return dataclasses.replace(good, version="2.2", sequence=22, figures={}, lineage=lineage), outputs


def main() -> None:
    """Train and write one folder a version, each with the pipeline of 1.0."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "variants"
    pipeline = Path(__file__).with_name("pipeline.toml").read_text()
    for trained, golden in variants():
        artifacts.write(trained, folder / trained.version, golden_outputs=golden)
        (folder / trained.version / "pipeline.toml").write_text(pipeline)
        print(f"pump {trained.version}: {len(trained.model)} bytes, {trained.figures}")


if __name__ == "__main__":
    main()

"""Trains the casting's classifier and measures it on other faces: python -m examples.casting.train [FOLDER].

Fixed filters for dark lines in eight directions and for dark spots, each with its maximum over the face, come first in
the graph, then a small perceptron: what scikit-learn trains in a second and a node runs in two milliseconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from examples import artifacts, classifier
from examples.autoencoder import finished
from examples.casting.generate import SIZE, faces, scaled
from nodeagent.authoring.baseline import baseline

REJECT_AT, REVIEW_AT = 0.9, 0.4
_DIRECTIONS = 8
_FEATURES = _DIRECTIONS + 1
_KERNEL, _LINE, _FLANK = 11, 4, 2  # pixels: width of a filter, half a line, from the line to its flanks
_FACE_RADIUS = 25  # inside the rim, whose edge is no defect
_INPUT = helper.make_tensor_value_info("camera", TensorProto.FLOAT, [None, 1, SIZE, SIZE])
_SHIFT = 100  # predictions


def train() -> artifacts.Trained:
    """One training run; it always gives the same bundle."""
    pictures, truth = faces(900, seed=5)
    extractor = finished(
        helper.make_graph(
            _extractor(), "features", [_INPUT],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, _FEATURES])], _filters(),
        )
    ).SerializeToString()  # fmt: skip
    rows = artifacts.run(extractor, {"camera": scaled(pictures)})["features"]
    fitted = classifier.fit(rows, truth, hidden=12, epochs=150, alpha=1e-2)
    head = classifier.graph(fitted, _FEATURES, "casting")
    model = classifier.prepended(_extractor(), _filters(), head, _INPUT, "features", ["label", "probabilities"])
    data = model.SerializeToString()
    line = as_on_the_line(*faces(1_600, seed=7))
    return artifacts.Trained(
        name="casting",
        version="1.0",
        sequence=10,
        model=data,
        baseline=baseline(
            {"camera.mean": line.mean(axis=(1, 2)), "camera.sharpness": sharpness(line)},
            probability(data, line),
            output="probabilities:1",
            windows=(_SHIFT,),
            limit=REJECT_AT,
        ),
        golden={"camera": scaled(pictures[:4])},
        figures=measure(data),
        lineage={"training": "examples/casting/train.py", "data": "simulated machined faces, seed 5"},
    )


def as_on_the_line(pictures: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Good parts and the one in ten that is not, in an order by chance: what a line that runs well looks like."""
    good, bad = pictures[truth == 0], pictures[truth == 1]
    kept = np.concatenate([good, bad[: len(good) // 9]])
    return np.random.default_rng(11).permutation(kept)


def probability(model: bytes, pictures: np.ndarray) -> np.ndarray:
    """The probability of a defect, picture by picture."""
    return artifacts.run(model, {"camera": scaled(pictures)})["probabilities"][:, 1]


def sharpness(pictures: np.ndarray) -> np.ndarray:
    """Mean absolute difference of neighbouring rows, picture by picture."""
    return np.abs(np.diff(pictures.astype(np.float64), axis=1)).mean(axis=(1, 2))


def measure(model: bytes) -> dict[str, float]:
    """On 600 faces of another seed; `review`: the share between the two limits."""
    pictures, truth = faces(600, seed=6)
    found = probability(model, pictures)
    review = float(((found >= REVIEW_AT) & (found < REJECT_AT)).mean())
    return classifier.figures(found, truth, alarm_at=REJECT_AT) | {"review": review}


def _extractor() -> list[onnx.NodeProto]:
    pads = [_KERNEL // 2] * 4
    return [
        helper.make_node("Conv", ["camera", "filters"], ["filtered"], kernel_shape=[_KERNEL, _KERNEL], pads=pads),
        helper.make_node("Cast", ["face"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["filtered", "mask"], ["inside"]),
        helper.make_node("GlobalMaxPool", ["inside"], ["peaks"]),
        helper.make_node("Flatten", ["peaks"], ["features"]),
    ]


def _filters() -> list[onnx.TensorProto]:
    """Flanks minus a line, eight times turned; a wide Gaussian minus a narrow one; and where the face is."""
    kernels = np.zeros((_FEATURES, 1, _KERNEL, _KERNEL), np.float32)
    centre = _KERNEL // 2
    for at in range(_DIRECTIONS):
        along = np.array([np.sin(np.pi * at / _DIRECTIONS), np.cos(np.pi * at / _DIRECTIONS)])
        across = np.array([along[1], -along[0]])
        for step in range(-_LINE, _LINE + 1):
            for shift, weight in ((0, -1.0), (_FLANK, 0.5), (-_FLANK, 0.5)):
                y, x = np.clip(np.rint(centre + step * along + shift * across).astype(int), 0, _KERNEL - 1)
                kernels[at, 0, y, x] += weight / (2 * _LINE + 1)
    kernels[-1, 0] = _gaussian(4.0) - _gaussian(1.8)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    face = (y * y + x * x < _FACE_RADIUS**2).astype(np.uint8)
    return [numpy_helper.from_array(kernels, "filters"), numpy_helper.from_array(face, "face")]


def _gaussian(sigma: float) -> np.ndarray:
    y, x = np.mgrid[:_KERNEL, :_KERNEL] - _KERNEL // 2
    bell = np.exp(-(y * y + x * x) / (2 * sigma**2))
    return np.asarray(bell / bell.sum(), np.float32)


def main() -> None:
    """Train and write."""
    trained = train()
    artifacts.write(trained, Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
    print(f"casting {trained.version}: {len(trained.model)} bytes, {trained.figures}")


if __name__ == "__main__":
    main()

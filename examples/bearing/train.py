"""Trains the bearing's classifier and measures it on other bearings: python -m examples.bearing.train [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from examples import artifacts, classifier
from examples.bearing.generate import FEATURES, examples, seen, wave
from nodeagent.authoring.baseline import baseline

ALARM_AT = 0.8
MINUTE = 60  # predictions: one a second


def train() -> artifacts.Trained:
    """One training run; it always gives the same bundle."""
    rows, truth = examples(1000, seed=1)
    model = classifier.graph(classifier.fit(rows, truth, hidden=12, epochs=300), len(FEATURES), "bearing")
    data = model.SerializeToString()
    rng = np.random.default_rng(3)
    healthy = np.array([seen(wave(rng, None, 0.0)) for _ in range(1_200)])
    return artifacts.Trained(
        name="bearing",
        version="1.0",
        sequence=10,
        model=data,
        baseline=baseline(
            {name: healthy[:, at] for at, name in enumerate(FEATURES)},
            probability(data, healthy),
            output="probabilities:1",
            windows=(MINUTE, 5 * MINUTE),
            limit=ALARM_AT,
        ),
        golden={"X": rows[:16]},
        figures=measure(data),
        lineage={"training": "examples/bearing/train.py", "data": "simulated 6205 bearings, seed 1"},
    )


def probability(model: bytes, rows: np.ndarray) -> np.ndarray:
    """The probability of a fault, row by row."""
    return artifacts.run(model, {"X": rows})["probabilities"][:, 1]


def measure(model: bytes) -> dict[str, float]:
    """On 500 bearings of another seed."""
    rows, truth = examples(500, seed=2)
    return classifier.figures(probability(model, rows), truth, alarm_at=ALARM_AT)


def main() -> None:
    """Train and write."""
    trained = train()
    artifacts.write(trained, Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
    print(f"bearing {trained.version}: {len(trained.model)} bytes, {trained.figures}")


if __name__ == "__main__":
    main()

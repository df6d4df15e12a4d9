"""Trains on real sensors, and measures on rows that training did not see: python -m examples.shuttle.train [FOLDER]."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from examples import artifacts, autoencoder
from examples.shuttle.generate import FEATURES, PACKAGE, SHA256, fetch, split
from nodeagent.authoring.baseline import baseline

_CLIP = 5.0
_WINDOW = 1_000  # predictions


def train() -> artifacts.Trained:
    """One training run; the same data gives the same bundle."""
    normal, test, truth = split(*fetch())
    net = autoencoder.fit(normal, hidden=(16, 4, 16), epochs=25, clip=_CLIP, whiten=False)
    scores = net.score(test)
    return artifacts.Trained(
        name="shuttle",
        version="1.0",
        sequence=10,
        model=net.graph("shuttle").SerializeToString(),
        baseline=baseline(
            {name: normal[:, at] for at, name in enumerate(FEATURES)},
            net.score(normal),
            output="score",
            windows=(_WINDOW, 10 * _WINDOW),
            limit=1.0,
        ),
        golden={"X": made_up(net)},
        figures={
            "auc": float(np.searchsorted(np.sort(scores[truth == 0]), scores[truth == 1]).mean() / (truth == 0).sum()),
            "found": float((scores[truth == 1] > 1).mean()),
            "false": float((scores[truth == 0] > 1).mean()),
        },
        lineage={
            "training": "examples/shuttle/train.py",
            "data": f"UCI Statlog (Shuttle) as in {PACKAGE}",
            "data_sha256": SHA256,
        },
    )


def made_up(net: autoencoder.Autoencoder) -> np.ndarray:
    """Sixteen rows that look like the data and are not of it."""
    rng = np.random.default_rng(0)
    return (net.mean + net.scale * rng.normal(size=(16, len(net.mean)))).astype(np.float32)


def main() -> None:
    """Train and write."""
    trained = train()
    artifacts.write(trained, Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
    print(f"shuttle {trained.version}: {len(trained.model)} bytes, {trained.figures}")


if __name__ == "__main__":
    main()

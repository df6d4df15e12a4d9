"""Trains the pump's autoencoder on healthy days and measures it on others: python -m examples.pump.train [FOLDER].

Half of the training windows are taken as if the poll were five times as fast as the PLC, so that a fast poll of a slow
PLC is nothing odd to the model.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np

from examples import artifacts, autoencoder
from examples.baseline import baseline
from examples.pump.generate import DAY, FEATURES, failing, normal, repeated, windows
from nodeagent.sources.simulators import pump

HOUR = 720  # predictions in an hour of the machine: one every five sweeps


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What tells one version from another."""

    version: str = "1.0"
    sequence: int = 10
    days: int = 2
    hidden: tuple[int, ...] = (12, 3, 12)
    epochs: int = 60


def train(recipe: Recipe = Recipe()) -> artifacts.Trained:
    """One training run; the same recipe gives the same bundle."""
    net, days, rows = fit(recipe)
    scores = net.score(rows)
    return artifacts.Trained(
        name="pump",
        version=recipe.version,
        sequence=recipe.sequence,
        model=net.graph("pump").SerializeToString(),
        baseline=baseline(
            {name: rows[:, at] for at, name in enumerate(FEATURES)},
            scores,
            output="score",
            windows=(HOUR, 8 * HOUR, 24 * HOUR),
            limit=1.0,
        ),
        golden={"X": rows[:: len(rows) // 16][:16]},
        figures=measure(net),
        lineage={"training": "examples/pump/train.py", "data": f"simulated pump, seeds 0 to {days - 1}"},
    )


def fit(recipe: Recipe) -> tuple[autoencoder.Autoencoder, int, np.ndarray]:
    """The trained network, the days it saw, and the windows of these days in order of time."""
    days = [normal(DAY, seed=seed) for seed in range(recipe.days)]
    rows = np.concatenate([windows(day) for day in days])
    sparse = np.concatenate([windows(day, every=15) for day in days])
    slow = np.concatenate([windows(repeated(day[: DAY // 5 * 5 : 5], 5), every=15) for day in days])
    net = autoencoder.fit(np.concatenate([sparse, slow]), hidden=recipe.hidden, epochs=recipe.epochs)
    return net, recipe.days, rows


def measure(net: autoencoder.Autoencoder) -> dict[str, float]:
    """On an unseen day: share of windows over 1.0; on unseen faults: share of windows found, AUC at small wear."""
    clean = net.score(windows(normal(DAY, seed=9)))
    figures = {"false_windows": float((clean > 1).mean())}
    for fault in pump.FAULTS:
        for severity in (0.2, 0.5):
            found = net.score(windows(failing(7200, fault, severity, seed=20)))
            figures[f"{fault}_{severity:g}_found".replace(".", "_")] = float((found > 1).mean())
    wear = net.score(windows(failing(7200, "wear", 0.1, seed=20)))
    figures["wear_0_1_auc"] = auc(clean, wear)
    return figures


def auc(low: np.ndarray, high: np.ndarray) -> float:
    """How often a score of `high` lies above one of `low`."""
    return float(np.searchsorted(np.sort(low), high).mean() / len(low))


def main() -> None:
    """Train and write."""
    trained = train()
    artifacts.write(trained, Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
    print(f"pump {trained.version}: {len(trained.model)} bytes, {trained.figures}")


if __name__ == "__main__":
    main()

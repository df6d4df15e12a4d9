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
from examples.pump.generate import DAY, FEATURES, failing, normal, repeated, windows
from nodeagent.authoring.baseline import baseline

CLEAN_DAYS = 5  # that the thresholds of the baseline are calibrated on
HOUR = 3600  # predictions in an hour of the machine
ALARM_AT, ALARM_COUNT = 3.0, 25  # as [decide] of pipeline.toml says
UNSEEN_DAYS = (40, 41, 42, 43)
_SPARSE = 60  # neighbouring windows share their sweeps: one in sixty teaches as much
_END_SHARE = 0.02
_STRIDE = 5  # one prediction in five is enough for a histogram


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What tells one version from another."""

    version: str = "1.0"
    sequence: int = 10
    days: int = 8
    hidden: tuple[int, ...] = (8, 3, 8)
    epochs: int = 15


def train(recipe: Recipe = Recipe()) -> artifacts.Trained:
    """One training run; the same recipe gives the same bundle."""
    net = fit(recipe)
    rows = windows(normal(CLEAN_DAYS * DAY, seed=100), every=_STRIDE)
    return artifacts.Trained(
        name="pump",
        version=recipe.version,
        sequence=recipe.sequence,
        model=net.graph("pump").SerializeToString(),
        baseline=baseline(
            {name: rows[:, at] for at, name in enumerate(FEATURES)},
            net.score(rows),
            output="score",
            windows=(HOUR, 8 * HOUR, 24 * HOUR),
            limit=1.0,
            stride=_STRIDE,
        ),
        golden={"X": rows[:: len(rows) // 16][:16]},
        figures=measure(net),
        lineage={"training": "examples/pump/train.py", "data": f"simulated pump, days of seeds 0 to {recipe.days - 1}"},
    )


def fit(recipe: Recipe) -> autoencoder.Autoencoder:
    """The trained network. What is rare at the ends of the range of speed is taken more often, to be known too."""
    days = [normal(DAY, seed=seed, start_s=seed * 10_000) for seed in range(recipe.days)]
    dense = np.concatenate([windows(day, every=_SPARSE // 10) for day in days])
    slow = np.concatenate([windows(repeated(day[::5], 5), every=_SPARSE) for day in days])
    speed = dense[:, FEATURES.index("speed.Average")]
    low, high = np.quantile(speed, [_END_SHARE, 1 - _END_SHARE])
    ends = dense[(speed < low) | (speed > high)]
    return autoencoder.fit(np.concatenate([dense[::10], slow, ends]), hidden=recipe.hidden, epochs=recipe.epochs)


def measure(net: autoencoder.Autoencoder) -> dict[str, float]:
    """Alarms on four unseen days and windows over 1.0 on one of them; shares of windows of unseen faults in alarm."""
    days = [net.score(windows(normal(DAY, seed=seed, start_s=seed * 7_919))) for seed in UNSEEN_DAYS]
    slow = net.score(windows(repeated(normal(DAY // 5, seed=9), 5)))
    figures = {
        "false_alarms": float(sum(alarms(scores) for scores in days)),
        "false_alarms_slow_plc": float(alarms(slow)),
        "windows_over_1": float(np.mean([np.mean(scores > 1) for scores in days])),
    }
    for fault, severity in (("wear", 0.2), ("wear", 0.3), ("wear", 0.6), ("cavitation", 0.3), ("bearing", 0.3)):
        scores = net.score(windows(failing(7200, fault, severity, seed=20)))
        figures[f"{fault}_{severity:g}_found".replace(".", "_")] = float((scores > ALARM_AT).mean())
    return figures


def alarms(scores: np.ndarray) -> int:
    """How often ALARM_COUNT scores in a row lie at or over ALARM_AT."""
    over = np.concatenate([[False], scores >= ALARM_AT, [False]])
    edges = np.flatnonzero(np.diff(over))
    return int((edges[1::2] - edges[::2] >= ALARM_COUNT).sum())


def main() -> None:
    """Train and write."""
    trained = train()
    artifacts.write(trained, Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
    print(f"pump {trained.version}: {len(trained.model)} bytes, {trained.figures}")


if __name__ == "__main__":
    main()

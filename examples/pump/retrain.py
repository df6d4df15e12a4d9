"""Trains the pump's autoencoder again, on what nodes recorded: python -m examples.pump.retrain DATASET FOLDER VERSION.

DATASET is what `outstation export --bundle pump` wrote. FOLDER becomes one that `outstation bundle build` takes; the
bundle's lineage names the data set by its digest.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from examples import artifacts, autoencoder, dataset
from examples.pump.generate import FEATURES, failing, windows
from examples.pump.train import ALARM_AT, Recipe
from nodeagent.authoring.baseline import baseline

ROWS_MIN = 2_000
_HELD_BACK = 5  # one row in so many is not trained on, and measures the false alarms
_GOLDEN = 16


def retrain(data: dataset.Dataset, recipe: Recipe) -> artifacts.Trained:
    """One training run on recorded windows of normal operation. Raises ValueError where there are too few."""
    rows = data.normal
    if len(rows) < ROWS_MIN or rows.shape[1] != len(FEATURES):
        raise ValueError(f"{data.name}: {len(rows)} normal rows with their inputs, {ROWS_MIN} are needed")
    held = rows[::_HELD_BACK]
    net = autoencoder.fit(np.delete(rows, np.s_[::_HELD_BACK], axis=0), hidden=recipe.hidden, epochs=recipe.epochs)
    fault = net.score(windows(failing(1_200, "wear", 0.6, seed=20)))
    return artifacts.Trained(
        name="pump",
        version=recipe.version,
        sequence=recipe.sequence,
        model=net.graph("pump").SerializeToString(),
        baseline=baseline(
            {name: rows[:, at] for at, name in enumerate(FEATURES)},
            net.score(rows),
            output="score",
            windows=(len(rows) // 8, len(rows) // 4),
            limit=1.0,
        ),
        golden={"X": rows[:: len(rows) // _GOLDEN][:_GOLDEN]},
        figures={
            "rows": float(len(rows)),
            "held_back_over_limit": float((net.score(held) >= ALARM_AT).mean()),
            "wear_0_6_found": float((fault >= ALARM_AT).mean()),
        },
        lineage={"training": "examples/pump/retrain.py", **data.lineage()},
    )


def main() -> None:
    """Train and write."""
    path, folder, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    trained = retrain(dataset.read(path), Recipe(version=version, sequence=round(float(version) * 10)))
    artifacts.write(trained, folder)
    shutil.copyfile(Path(__file__).with_name("pipeline.toml"), folder / "pipeline.toml")
    print(f"pump {trained.version}: {len(trained.model)} bytes, {trained.figures}")


if __name__ == "__main__":
    main()

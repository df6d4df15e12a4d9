"""Sweeps of a simulated pump, and the windows over them that the model sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nodeagent.sources.simulators import pump

DAY = 86_400
WINDOW = 30
FEATURES = (
    "speed.Average",
    "q_in.Average",
    "dp.Average",
    "power.Average",
    "t_brg.Average",
    "vib.Average",
    "vib.StandardDeviationSample",
    "spec_power.Average",
)
Floats = npt.NDArray[np.float64]


def normal(count: int, *, seed: int, start_s: float = 0.0) -> Floats:
    """`count` sweeps of a healthy pump, a second apart, in the order of pump.TAGS."""
    return pump.pump(count, seed=seed, start_s=start_s)


def failing(count: int, fault: str, severity: float, *, seed: int, start_s: float = 30_000.0) -> Floats:
    """As `normal` for a pump with one of pump.FAULTS, of one severity throughout."""
    return pump.pump(count, seed=seed, start_s=start_s, **{fault: severity})


def repeated(sweeps: Floats, times: int) -> Floats:
    """What a poll sees that is `times` as fast as the PLC's own cycle."""
    return np.repeat(sweeps, times, axis=0)


def windows(sweeps: Floats, every: int = 1) -> npt.NDArray[np.float32]:
    """FEATURES of each window of WINDOW sweeps, as the steps `derive` and `window` of pipeline.toml make them."""
    tag = {name: sweeps[:, at] for at, name in enumerate(pump.TAGS)}
    derived = {
        **tag,
        "dp": tag["p_dis"] - tag["p_suc"],
        "spec_power": tag["power"] / np.maximum(tag["q_in"], 5),
    }
    columns = []
    for feature in FEATURES:
        name, aggregate = feature.split(".")
        view = np.lib.stride_tricks.sliding_window_view(derived[name], WINDOW)[::every]
        columns.append(view.mean(axis=1) if aggregate == "Average" else view.std(axis=1, ddof=1))
    return np.stack(columns, axis=1).astype(np.float32)

"""Seconds of vibration from a simulated bearing, and what the model sees of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nodeagent.pipeline.steps.feature import features
from nodeagent.sources.simulators import bearing

FEATURES = ("rms", "crest", "kurtosis", "bpfo", "bpfi", "bsf")


def wave(rng: np.random.Generator, fault: str | None, severity: float) -> npt.NDArray[np.float64]:
    """One second at 12 kHz, in g, of a motor as it runs on the line, which the demo's OPC UA server also is."""
    return bearing.second(rng, fault, severity)[0]


def seen(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """FEATURES of a wave, as the step `feature.vibration` of pipeline.toml makes them: at the name plate's speed."""
    found = features(signal, bearing.SAMPLE_RATE_HZ, bearing.Geometry().rates_hz(bearing.RPM / 60))
    return np.array([found[name] for name in FEATURES], np.float32)


def examples(count: int, *, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Features and truth: every other bearing has a fault, of any kind and of a severity from 0.08 to 1."""
    rng = np.random.default_rng(seed)
    rows, truth = [], []
    for at in range(count):
        fault = bearing.FAULTS[at // 2 % len(bearing.FAULTS)] if at % 2 else None
        rows.append(seen(wave(rng, fault, float(rng.uniform(0.08, 1.0)) if fault else 0.0)))
        truth.append(int(fault is not None))
    return np.array(rows), np.array(truth)

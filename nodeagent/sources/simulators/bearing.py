"""Vibration of a motor bearing: shaft harmonics, fault impacts with slip, load-zone modulation, ringing, noise.

Fault rates follow from the geometry (ball pass frequencies); for the 6205-2RS below they are 3.5848 (outer race),
5.4152 (inner race) and 0.39828 (cage) times the shaft speed, the multiples that CWRU publishes for its drive end.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FAULTS: Final = ("bpfo", "bpfi", "bsf")
SAMPLE_RATE_HZ: Final = 12_000
RPM: Final = 1797.0
SPEED_SPREAD: Final = 0.01
_RINGING_HZ, _DAMPING, _SLIP, _RINGING_S = 3400.0, 0.06, 0.01, 0.02


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A rolling bearing. Both diameters in one unit, whichever."""

    balls: int = 9
    ball_dia: float = 0.3126
    pitch_dia: float = 1.537
    angle_deg: float = 0.0

    def rates_hz(self, shaft_hz: float) -> dict[str, float]:
        """Ball pass frequency of the outer (bpfo) and inner race (bpfi), cage (ftf) and ball spin (bsf), in Hz."""
        ratio = self.ball_dia / self.pitch_dia * math.cos(math.radians(self.angle_deg))
        return {
            "bpfo": self.balls / 2 * shaft_hz * (1 - ratio),
            "bpfi": self.balls / 2 * shaft_hz * (1 + ratio),
            "ftf": shaft_hz / 2 * (1 - ratio),
            "bsf": self.pitch_dia / (2 * self.ball_dia) * shaft_hz * (1 - ratio * ratio),
        }


def vibration(
    rng: np.random.Generator,
    *,
    fault: str | None = None,
    severity: float = 0.0,
    rpm: float = RPM,
    load: float = 1.0,
    noise: float = 0.06,
    seconds: float = 1.0,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    geometry: Geometry = Geometry(),
) -> Floats:
    """Acceleration in g, `seconds` long. `fault` is one of FAULTS, `severity` about the height of its impacts in g."""
    count = int(sample_rate_hz * seconds)
    time_s = np.arange(count) / sample_rate_hz
    shaft_hz = rpm / 60
    wave = np.zeros(count)
    for harmonic, height in ((1, 0.08), (2, 0.04), (3, 0.015)):
        wave += height * load * np.sin(2 * np.pi * harmonic * shaft_hz * time_s + rng.uniform(0, 2 * np.pi))
    if fault is not None and severity > 0:
        rates = geometry.rates_hz(shaft_hz)
        modulation_hz = {"bpfo": 0.0, "bpfi": shaft_hz, "bsf": rates["ftf"]}[fault]
        hits = _impacts(rng, rates[fault], modulation_hz, severity, count, sample_rate_hz)
        ring_s = time_s[: int(sample_rate_hz * _RINGING_S)]
        angular = 2 * np.pi * _RINGING_HZ
        ring = np.exp(-_DAMPING * angular * ring_s) * np.sin(angular * math.sqrt(1 - _DAMPING**2) * ring_s)
        wave += np.convolve(hits, ring)[:count]
    return wave + noise * rng.normal(size=count)


def second(rng: np.random.Generator, fault: str | None, severity: float) -> tuple[Floats, float]:
    """A second of a motor as it runs on the line, at some load and within one percent of its name plate's speed: the
    acceleration in g, and the speed in rpm."""
    rpm = RPM * float(rng.uniform(1 - SPEED_SPREAD, 1 + SPEED_SPREAD))
    noise, load = float(rng.uniform(0.04, 0.10)), float(rng.uniform(0.6, 1.4))
    return vibration(rng, fault=fault, severity=severity, rpm=rpm, noise=noise, load=load), rpm


def _impacts(
    rng: np.random.Generator, rate_hz: float, modulation_hz: float, severity: float, count: int, sample_rate_hz: int
) -> Floats:
    seconds = count / sample_rate_hz
    gaps = (1 + _SLIP * rng.normal(size=int(seconds * rate_hz * 1.2) + 3)) / rate_hz
    at_s = np.cumsum(gaps) + rng.uniform(0, 1 / rate_hz)
    at_s = at_s[at_s < seconds]
    heights = severity * (1 + 0.15 * rng.normal(size=len(at_s)))
    if modulation_hz:
        heights *= 1 + 0.8 * np.cos(2 * np.pi * modulation_hz * at_s)
    hits = np.zeros(count)
    np.add.at(hits, np.clip((at_s * sample_rate_hz).astype(np.int64), 0, count - 1), heights)
    return hits

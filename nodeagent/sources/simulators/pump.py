"""A pump skid: affinity laws against a system curve, thermal lag, NPSH; and the dirt that plant data really has.

Head H = h0 s^2 (1 - 0.15 wear) - k Q^2 meets the system's H = hs + ks Q^2; s is speed over 2960 rpm, Q in m3/h, H in m.
Power = rho g Q H / eta. The bearing follows its target temperature with a lag of 900 s. A 12-bit 4-20 mA card
quantises every tag over RANGES.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
TAGS: Final = ("speed", "q_in", "p_suc", "p_dis", "power", "t_brg", "vib")
UNITS: Final = {
    "speed": "rpm",
    "q_in": "m3/h",
    "p_suc": "bar",
    "p_dis": "bar",
    "power": "kW",
    "t_brg": "degC",
    "vib": "mm/s",
}
RANGES: Final = {
    "speed": (0.0, 3600.0),
    "q_in": (0.0, 200.0),
    "p_suc": (-1.0, 10.0),
    "p_dis": (0.0, 25.0),
    "power": (0.0, 110.0),
    "t_brg": (-20.0, 150.0),
    "vib": (0.0, 50.0),
}
FAULTS: Final = ("wear", "cavitation", "bearing")
_HEAD_M, _HEAD_FALL, _STATIC_M, _SYSTEM = 88.0, 0.0011, 18.0, 0.0034
_NOISE = np.array([0.001, 0.004, 0.004, 0.003, 0.004, 0.0, 0.01])
_THERMAL_LAG_S = 900.0
_CARD_STEPS = 4095


class Pump:
    """A pump that goes on from block to block. The same seed and the same blocks give the same numbers."""

    def __init__(self, seed: int = 0, *, start_s: float = 0.0, period_s: float = 1.0) -> None:
        self.time_s = start_s
        self.period_s = period_s
        self._rng = np.random.default_rng(seed)
        self._drift = 0.0
        self._bearing_c: float | None = None

    def block(
        self,
        count: int,
        *,
        wear: npt.ArrayLike = 0.0,
        cavitation: npt.ArrayLike = 0.0,
        bearing: npt.ArrayLike = 0.0,
        running: npt.ArrayLike = True,
    ) -> Floats:
        """The next `count` sweeps, one row each, in the order of TAGS. Severities 0 to 1, one or one a sweep."""
        time_s = self.time_s + np.arange(count) * self.period_s
        self.time_s += count * self.period_s
        worn, cavitating, ailing = (
            np.broadcast_to(np.asarray(x, np.float64), count) for x in (wear, cavitation, bearing)
        )
        speed = self._speed(time_s.astype(np.float64)) * np.asarray(running, np.float64)
        flow, head = _operating_point(speed, worn, cavitating)
        efficiency = np.clip(0.78 - 2e-5 * (flow - 130) ** 2 - 0.10 * worn - 0.08 * cavitating, 0.2, 0.8)
        power = 9.81 * (flow / 3600) * head / efficiency
        ambient = 18 + 6 * np.sin(2 * np.pi * time_s / 86400 - 2.0)
        warmth = self._lagged(ambient + 28 * speed**2 + 35 * ailing + 3 * cavitating)
        rng = self._rng
        vibration = (
            1.6 * speed**2 * (1 + 0.06 * rng.normal(size=count))
            + 4.5 * ailing**1.5
            + 2.8 * cavitating * (1 + 0.3 * rng.normal(size=count))
            + 0.5 * worn * (speed > 0)
        )
        suction = 1.2 - 3e-5 * flow**2 - 0.35 * cavitating
        sweeps = np.stack(
            [2960 * speed, flow, suction, suction + head * 0.0981, power, warmth, np.abs(vibration)], axis=1
        )
        return _through_card(sweeps * (1 + _NOISE * rng.normal(size=sweeps.shape)))

    def _speed(self, time_s: Floats) -> Floats:
        demand = 0.82 + 0.10 * np.sin(2 * np.pi * time_s / 86400 - 1.2) + 0.05 * np.sin(2 * np.pi * time_s / 3600)
        steps = 0.004 * self._rng.normal(size=len(time_s))
        wandering = np.empty(len(time_s))
        for at, step in enumerate(steps.tolist()):
            self._drift = wandering[at] = 0.995 * self._drift + step
        return np.clip(demand + wandering, 0.4, 1.05)

    def _lagged(self, target_c: Floats) -> Floats:
        share = min(self.period_s / _THERMAL_LAG_S, 1.0)
        now = float(target_c[0]) if self._bearing_c is None else self._bearing_c
        lagged = np.empty(len(target_c))
        for at, target in enumerate(target_c.tolist()):
            now += share * (target - now)
            lagged[at] = now
        self._bearing_c = now
        return lagged


def pump(count: int, *, seed: int = 0, start_s: float = 0.0, period_s: float = 1.0, **severities: Any) -> Floats:
    """`count` sweeps of a new pump, [count, len(TAGS)]; severities as in Pump.block."""
    return Pump(seed, start_s=start_s, period_s=period_s).block(count, **severities)


def dirty(
    sweeps: Floats, *, seed: int = 0, spike: float = 0.0008, missing: float = 0.002, stuck: int = 0, dropouts: int = 0
) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """A dirty copy, and the truth about it: 0 clean, 1 spike, 2 missing, 3 stuck run, 4 dropout of all tags.

    `spike` and `missing` are shares of values; `stuck` and `dropouts` count runs.
    """
    rng = np.random.default_rng(seed)
    dirt = sweeps.copy()
    count, tags = dirt.shape
    truth = np.zeros(dirt.shape, np.uint8)
    for _ in range(stuck):
        begin, tag, length = rng.integers(0, max(count - 400, 1)), rng.integers(0, tags), int(rng.integers(120, 400))
        dirt[begin : begin + length, tag] = dirt[begin, tag]
        truth[begin : begin + length, tag] = 3
    spikes = rng.random(dirt.shape) < spike
    dirt[spikes] *= rng.choice([0.0, -1.0, 3.5, 20.0], int(spikes.sum()))
    truth[spikes] = 1
    gone = rng.random(dirt.shape) < missing
    dirt[gone] = np.nan
    truth[gone] = 2
    for _ in range(dropouts):
        begin, length = rng.integers(0, max(count - 60, 1)), int(rng.integers(5, 60))
        dirt[begin : begin + length] = np.nan
        truth[begin : begin + length] = 4
    return dirt, truth


def _operating_point(speed: Floats, wear: Floats, cavitation: Floats) -> tuple[Floats, Floats]:
    rise = np.maximum(_HEAD_M * speed**2 * (1 - 0.15 * wear) - _STATIC_M, 1)
    flow = np.sqrt(rise / (_HEAD_FALL * (1 + 0.5 * wear) + _SYSTEM)) * (1 - 0.12 * cavitation)
    flow = np.where(speed > 0, flow, 0.0)
    return flow, _STATIC_M + _SYSTEM * flow**2


def _through_card(sweeps: Floats) -> Floats:
    low = np.array([RANGES[tag][0] for tag in TAGS])
    span = np.array([RANGES[tag][1] for tag in TAGS]) - low
    steps = np.round((sweeps - low) / span * _CARD_STEPS)
    on_card: Floats = low + np.clip(steps, 0, _CARD_STEPS) / _CARD_STEPS * span
    return on_card

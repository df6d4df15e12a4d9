"""`feature.waveform`: figures of any waveform, of a motor's current as of a gearbox: shape, bands, lines and orders.

Shape is of the signal without its mean: RMS, peak, crest factor, kurtosis. A band's RMS is the signal's own share
between two frequencies, by Parseval over the one-sided spectrum. A line's amplitude is the highest point within
`width` of its frequency in the spectrum under a Hann window, divided by the window's coherent gain of one half: a sine
of amplitude 1 on a line reads 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.frame import Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import Stateless, StepContext, selected
from nodeagent.pipeline.steps.feature import described, described_names

Floats = npt.NDArray[np.float64]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Shape = Literal["rms", "peak", "peak_to_peak", "crest", "kurtosis"]
_HZ_PER_RPM: Final = 1 / 60


class WaveformOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What leaves, in this order: `shape`, `bands_hz` (name: [from, to]), `lines_hz` (name: Hz), `orders` of `rpm`."""

    shape: tuple[Shape, ...] = ()
    bands_hz: dict[str, tuple[float, float]] = msgspec.field(default_factory=dict)
    lines_hz: dict[str, Positive] = msgspec.field(default_factory=dict)
    orders: dict[str, Positive] = msgspec.field(default_factory=dict)
    rpm: Positive | None = None
    width: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.03
    sample_rate: Positive | None = None
    tags: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        names = self.names()
        if not names:
            raise ValueError("say what leaves: 'shape', 'bands_hz', 'lines_hz', 'orders'")
        if len(set(names)) != len(names):
            raise ValueError("each figure has a name of its own")
        if bool(self.orders) != (self.rpm is not None):
            raise ValueError("'orders' and 'rpm' go together")
        for name, (low, high) in self.bands_hz.items():
            if not 0 <= low < high:
                raise ValueError(f"the band {name!r} is [from, to] in Hz")

    def names(self) -> tuple[str, ...]:
        """What the figures are called."""
        return (*self.shape, *self.bands_hz, *self.lines_hz, *self.orders)

    def lines(self) -> dict[str, float]:
        """Every line by its frequency in Hz."""
        turns_hz = (self.rpm or 0.0) * _HZ_PER_RPM
        return self.lines_hz | {name: order * turns_hz for name, order in self.orders.items()}


class Waveform(Stateless):
    """A waveform becomes its figures; a Bad one Bad figures."""

    def __init__(self, options: WaveformOptions, context: StepContext) -> None:
        self._options = options
        self._rate_hz = options.sample_rate or context.sample_rate_hz or 0.0

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        o = self._options
        if not self._rate_hz:
            raise ValueError("'sample_rate' is missing, here or at the source")
        tops = {name: band[1] for name, band in o.bands_hz.items()} | o.lines()
        for name, top_hz in tops.items():
            if top_hz > self._rate_hz / 2:
                raise ValueError(f"{name!r} lies above half the sample rate, {self._rate_hz / 2:g} Hz")
        selected(names, o.tags)
        return described_names(o.names(), names)

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        return described(frame, self._options.names(), lambda wave: figures(wave, self._rate_hz, self._options))


def figures(wave: npt.NDArray[Any], rate_hz: float, options: WaveformOptions) -> dict[str, float]:
    """The figures of one waveform by name; NaN where there is none, such as the crest factor of silence."""
    signal: Floats = wave.astype(np.float64)
    signal -= signal.mean()
    found: dict[str, float] = dict(_shape(signal))
    frequency: Floats = np.fft.rfftfreq(signal.size, 1 / rate_hz).astype(np.float64)
    if options.bands_hz:
        power = np.abs(np.fft.rfft(signal)) ** 2
        for name, (low, high) in options.bands_hz.items():
            inside = (frequency >= low) & (frequency <= high)
            found[name] = float(np.sqrt(2 * power[inside].sum()) / signal.size)
    if lines := options.lines():
        amplitude = np.abs(np.fft.rfft(signal * np.hanning(signal.size))) * 4 / signal.size
        for name, line_hz in lines.items():
            near = np.abs(frequency - line_hz) <= max(line_hz * options.width, frequency[1] / 2)
            found[name] = float(amplitude[near].max())
    return found


def _shape(signal: Floats) -> dict[str, float]:
    rms = float(np.sqrt(np.mean(signal * signal)))
    peak = float(np.abs(signal).max())
    with np.errstate(divide="ignore", invalid="ignore"):
        crest, kurtosis = float(np.divide(peak, rms)), float(np.divide(np.mean(signal**4), rms**4))
    return {"rms": rms, "peak": peak, "peak_to_peak": float(np.ptp(signal)), "crest": crest, "kurtosis": kurtosis}


STEPS: dict[str, tuple[type[Options], Any]] = {"feature.waveform": (WaveformOptions, Waveform)}

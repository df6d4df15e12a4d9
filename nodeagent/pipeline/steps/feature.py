"""`feature.vibration`: what a waveform says about a rolling bearing.

Envelope lines: the signal is band-passed around the ringing by a mask over its spectrum, its envelope is the size of
the analytic signal, and a line is the highest point of the envelope's spectrum within 3 % of the fault rate, over the
median between 5 and 1000 Hz. Velocity RMS from 10 to 1000 Hz in mm/s, as ISO 20816 zones are written in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from nodeagent.frame import BAD, Frame
from nodeagent.pipeline.options import Options
from nodeagent.pipeline.step import Stateless, StepContext, selected
from nodeagent.sources.simulators.bearing import Geometry

Floats = npt.NDArray[np.float64]
NAMES: Final = ("rms", "peak", "crest", "kurtosis", "velocity_rms", "bpfo", "bpfi", "bsf", "ftf")
SAMPLES_MIN: Final = 1024
_G_MM_S2: Final = 9806.65
_LINE_WIDTH: Final = 0.03


class BearingGeometry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rolling bearing; both diameters in one unit."""

    balls: Annotated[int, msgspec.Meta(ge=3)]
    ball_dia: Annotated[float, msgspec.Meta(gt=0)]
    pitch_dia: Annotated[float, msgspec.Meta(gt=0)]
    angle_deg: float = 0.0


class VibrationOptions(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`rpm` of the shaft; `band_hz` around the ringing; `sample_rate` in Hz, left out: the source's."""

    rpm: Annotated[float, msgspec.Meta(gt=0)]
    bearing: BearingGeometry
    band_hz: tuple[float, float] = (2000.0, 5000.0)
    sample_rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    tags: tuple[str, ...] | None = None


class Vibration(Stateless):
    """A waveform in g becomes the values of NAMES; a Bad one becomes Bad values."""

    def __init__(self, options: VibrationOptions, context: StepContext) -> None:
        self._options = options
        self._rate_hz = options.sample_rate or context.sample_rate_hz or 0.0
        geometry = options.bearing
        self._rates_hz = Geometry(geometry.balls, geometry.ball_dia, geometry.pitch_dia, geometry.angle_deg).rates_hz(
            options.rpm / 60
        )

    def bind(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if not self._rate_hz:
            raise ValueError("'sample_rate' is missing, here or at the source")
        if self._options.band_hz[1] > self._rate_hz / 2:
            raise ValueError(f"'band_hz' ends above half the sample rate, {self._rate_hz / 2:g} Hz")
        selected(names, self._options.tags)
        return described_names(NAMES, names)

    def apply(self, frame: Frame) -> tuple[Frame | None, int]:
        band_hz = self._options.band_hz
        return described(frame, NAMES, lambda wave: features(wave, self._rate_hz, self._rates_hz, band_hz))


def described_names(figures: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """The figures, then the tags beside the waveform. Raises ValueError where one of these is called as a figure."""
    if twice := set(figures) & set(names[1:]):
        raise ValueError(f"there is a tag {min(twice)!r} beside the waveform already")
    return figures + names[1:]


def described(
    frame: Frame, names: tuple[str, ...], figures: Callable[[npt.NDArray[Any]], dict[str, float]]
) -> tuple[Frame, int]:
    """A frame of the `figures` of a waveform, Bad where that is or where there is no such figure; how many are here.

    What came beside the waveform, such as the speed of its shaft, stands behind them as it was.
    """
    quality, reason = int(frame.quality[0]), frame.reasons.get(0, "")
    values = np.full(len(names), np.nan)
    if quality < BAD:
        wave = frame.blob
        if wave is None or wave.ndim != 1 or wave.size < SAMPLES_MIN:
            quality, reason = BAD, f"not a waveform of {SAMPLES_MIN} samples or more"
        else:
            found = figures(wave)
            values = np.array([found[name] for name in names])
    count = len(names)
    beside = {at + count - 1: why for at, why in frame.reasons.items() if at}
    result = Frame(
        names + frame.names[1:],
        np.concatenate([values, frame.values[1:]]),
        np.concatenate([np.full(count, quality, np.uint8), frame.quality[1:]]),
        beside | (dict.fromkeys(range(count), reason) if quality else {}),
        frame.source_us,
        frame.received_us,
        None,
        frame.source,
    )
    # The parts of the waveform's own mark count at the step that made it; here only what has no result.
    gone = ~np.isfinite(values)
    return result, result.mark(np.concatenate([gone, np.zeros(len(frame.names) - 1, np.bool_)]), BAD, "no result")


def features(
    wave: npt.NDArray[Any], rate_hz: float, rates_hz: dict[str, float], band_hz: tuple[float, float] = (2000.0, 5000.0)
) -> dict[str, float]:
    """The values of NAMES for a waveform in g, sampled at `rate_hz`; `rates_hz` as Geometry.rates_hz gives them."""
    signal = wave.astype(np.float64)
    signal -= signal.mean()
    rms = float(np.sqrt(np.mean(signal * signal)))
    peak = float(np.abs(signal).max())
    spectrum = np.fft.rfft(signal)
    frequency: Floats = np.fft.rfftfreq(signal.size, 1 / rate_hz).astype(np.float64)
    envelope = _envelope_spectrum(spectrum, frequency, band_hz, signal.size)
    floor = float(np.median(envelope[(frequency > 5) & (frequency < 1000)])) + 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = {
            "crest": float(np.divide(peak, rms)),
            "kurtosis": float(np.divide(np.mean(signal**4), rms**4)),
        }
    return {
        "rms": rms,
        "peak": peak,
        **shape,
        "velocity_rms": _velocity_rms(spectrum, frequency, signal.size),
        "bpfo": _line(envelope, frequency, rates_hz["bpfo"]) / floor,
        "bpfi": _line(envelope, frequency, rates_hz["bpfi"]) / floor,
        "bsf": _line(envelope, frequency, 2 * rates_hz["bsf"]) / floor,  # a ball strikes twice a turn
        "ftf": _line(envelope, frequency, rates_hz["ftf"]) / floor,
    }


def _envelope_spectrum(
    spectrum: npt.NDArray[np.complex128], frequency: Floats, band_hz: tuple[float, float], size: int
) -> Floats:
    passed = np.where((frequency >= band_hz[0]) & (frequency <= band_hz[1]), spectrum, 0)
    analytic = np.zeros(size, np.complex128)
    analytic[: len(passed)] = 2 * passed
    envelope = np.abs(np.fft.ifft(analytic))
    envelope -= envelope.mean()
    return np.asarray(np.abs(np.fft.rfft(envelope * np.hanning(size))) / size * 4, np.float64)


def _line(envelope: Floats, frequency: Floats, rate_hz: float) -> float:
    near = (frequency > rate_hz * (1 - _LINE_WIDTH)) & (frequency < rate_hz * (1 + _LINE_WIDTH))
    if not near.any():
        near = np.arange(len(frequency)) == int(np.argmin(np.abs(frequency - rate_hz)))
    return float(envelope[near].max())


def _velocity_rms(spectrum: npt.NDArray[np.complex128], frequency: Floats, size: int) -> float:
    """Parseval over the one-sided spectrum, acceleration divided by the angular frequency."""
    band = (frequency >= 10) & (frequency <= 1000)
    velocity = np.abs(spectrum[band]) * _G_MM_S2 / (2 * np.pi * frequency[band])
    return float(np.sqrt(2 * np.sum(velocity**2)) / size)


STEPS: dict[str, tuple[type[Options], Any]] = {"feature.vibration": (VibrationOptions, Vibration)}

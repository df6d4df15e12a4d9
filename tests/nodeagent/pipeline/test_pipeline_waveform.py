"""`feature.waveform`: figures that are known beforehand, and sections that cannot be meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nodeagent.pipeline.step import StepContext
from nodeagent.pipeline.steps.waveform import Waveform, WaveformOptions, figures

RATE_HZ = 4096
SECONDS = np.arange(RATE_HZ) / RATE_HZ
WAVE = 3.0 + 2.0 * np.sin(2 * np.pi * 50 * SECONDS) + 0.5 * np.sin(2 * np.pi * 600 * SECONDS)


def test_bands_and_lines_are_those_of_the_sines_that_it_is_made_of() -> None:
    options = WaveformOptions(
        shape=("rms", "peak_to_peak"),
        bands_hz={"low": (10, 200), "high": (500, 700)},
        lines_hz={"tooth": 600.0},
        orders={"unbalance": 1.0, "misaligned": 2.0},
        rpm=1500.0,
    )
    found = figures(WAVE, RATE_HZ, options)
    assert found["low"] == pytest.approx(2 / np.sqrt(2), rel=1e-6)
    assert found["high"] == pytest.approx(0.5 / np.sqrt(2), rel=1e-6)
    assert found["rms"] == pytest.approx(np.hypot(found["low"], found["high"]), rel=1e-6)
    assert found["tooth"] == pytest.approx(0.5, rel=1e-3)
    assert found["misaligned"] == pytest.approx(2.0, rel=1e-3)
    assert found["unbalance"] < 1e-3
    assert found["peak_to_peak"] == pytest.approx(5.0, rel=0.02)


def test_a_line_between_two_of_the_spectrum_reads_within_a_sixth_of_its_amplitude() -> None:
    wave = np.sin(2 * np.pi * 50.5 * SECONDS)
    assert figures(wave, RATE_HZ, WaveformOptions(lines_hz={"x": 50.5}))["x"] == pytest.approx(1.0, abs=0.16)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "say what leaves"),
        ({"orders": {"a": 1.0}}, "'orders' and 'rpm' go together"),
        ({"shape": ("rms",), "lines_hz": {"rms": 5.0}}, "a name of its own"),
        ({"bands_hz": {"low": (200, 10)}}, "the band 'low' is"),
    ],
)
def test_a_section_that_cannot_be_meant_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WaveformOptions(**options)


@pytest.mark.parametrize("options", [{"lines_hz": {"x": 3000.0}}, {"bands_hz": {"x": (10, 3000)}}])
def test_what_lies_above_half_the_sample_rate_is_refused_by_name(options: dict[str, Any]) -> None:
    step = Waveform(WaveformOptions(**options, sample_rate=RATE_HZ), StepContext(clock=None))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'x' lies above half the sample rate, 2048 Hz"):
        step.bind(("vib",))

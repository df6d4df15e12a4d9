"""feature.vibration and image.prepare on machines whose faults are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nodeagent.frame import BAD
from nodeagent.pipeline.steps.feature import NAMES, features
from nodeagent.pipeline.steps.image import PrepareOptions, prepared
from nodeagent.sources.simulators import bearing, casting

Make = Callable[..., Any]
GEOMETRY = {"balls": 9, "ball_dia": 0.3126, "pitch_dia": 1.537, "angle_deg": 0.0}
RATES = bearing.Geometry().rates_hz(bearing.RPM / 60)


def lines(fault: str | None, severity: float) -> dict[str, float]:
    wave = bearing.vibration(np.random.default_rng(4), fault=fault, severity=severity)
    return features(wave, bearing.SAMPLE_RATE_HZ, RATES)


def test_the_fault_rates_are_the_published_multiples_of_shaft_speed() -> None:
    shaft = bearing.RPM / 60
    assert RATES["bpfo"] / shaft == pytest.approx(3.5848, abs=1e-3)
    assert RATES["bpfi"] / shaft == pytest.approx(5.4152, abs=1e-3)
    assert RATES["ftf"] / shaft == pytest.approx(0.39828, abs=1e-3)


@pytest.mark.parametrize("fault", ["bpfo", "bpfi", "bsf"])
def test_the_line_of_the_fault_stands_out_and_the_others_do_not(fault: str) -> None:
    found = lines(fault, 0.6)
    others = [name for name in ("bpfo", "bpfi", "bsf") if name != fault]
    healthy = lines(None, 0.0)
    assert found[fault] > 4 * healthy[fault]
    assert all(found[fault] > 2 * found[other] for other in others)


def test_an_early_fault_shows_in_the_envelope_before_it_shows_in_kurtosis() -> None:
    healthy, early = lines(None, 0.0), lines("bpfo", 0.1)
    assert early["bpfo"] > 2 * healthy["bpfo"]
    assert early["kurtosis"] < 3.2


@pytest.mark.parametrize(
    ("line", "rate_hz"), [("bsf", 2 * RATES["bsf"]), ("bpfo", RATES["bpfo"]), ("ftf", RATES["ftf"])]
)
def test_a_ball_is_looked_for_at_twice_its_spin_and_the_others_at_their_rate(line: str, rate_hz: float) -> None:
    time_s = np.arange(12_000) / 12_000
    ringing = np.sin(2 * np.pi * 3400 * time_s) * (1 + 0.5 * np.sin(2 * np.pi * rate_hz * time_s))
    found = features(ringing + 0.01 * np.random.default_rng(0).normal(size=12_000), 12_000, RATES)
    assert line == max(("bpfo", "bpfi", "bsf", "ftf"), key=found.__getitem__)


def test_velocity_rms_of_a_sine_is_its_acceleration_over_the_angular_frequency() -> None:
    time_s = np.arange(12_000) / 12_000
    found = features(np.sin(2 * np.pi * 100 * time_s), 12_000, RATES)
    assert found["velocity_rms"] == pytest.approx(9806.65 / (2 * np.pi * 100) / np.sqrt(2), rel=1e-6)
    assert found["crest"] == pytest.approx(np.sqrt(2), rel=1e-3)


def test_a_bad_waveform_becomes_bad_features_with_its_reason(step_of: Make, frame_of: Make) -> None:
    step = step_of("feature.vibration", ("vib",), 12_000.0, rpm=1797, bearing=GEOMETRY)
    frame = frame_of(("vib",), [0], np.zeros(12_000))
    frame.mark_all(BAD, "flatline")
    result, _ = step.apply(frame)
    assert result.names == NAMES
    assert (result.quality == BAD).all()
    assert set(result.reasons.values()) == {"flatline"}


def test_a_silent_sensor_has_no_crest_and_is_bad_there(step_of: Make, frame_of: Make) -> None:
    step = step_of("feature.vibration", ("vib",), 12_000.0, rpm=1797, bearing=GEOMETRY)
    result, _ = step.apply(frame_of(("vib",), [0], np.zeros(12_000)))
    assert result.quality[NAMES.index("crest")] == BAD


@pytest.mark.parametrize("blob", [None, np.zeros(100), np.zeros((64, 64))])
def test_what_is_no_waveform_is_bad(step_of: Make, frame_of: Make, blob: Any) -> None:
    step = step_of("feature.vibration", ("vib",), 12_000.0, rpm=1797, bearing=GEOMETRY)
    assert (step.apply(frame_of(("vib",), [0], blob))[0].quality == BAD).all()


def test_a_band_above_half_the_sample_rate_is_refused(step_of: Make) -> None:
    with pytest.raises(ValueError, match="half the sample rate"):
        step_of("feature.vibration", ("vib",), 8_000.0, rpm=1797, bearing=GEOMETRY)


@pytest.mark.parametrize(("layout", "shape"), [("NCHW", (1, 3, 32, 48)), ("NHWC", (1, 32, 48, 3))])
def test_a_picture_has_the_size_colour_and_layout_that_the_model_wants(layout: Any, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 96), np.uint8)
    ready = prepared(image, PrepareOptions(size=(32, 48), color="rgb", layout=layout))
    assert (ready.shape, ready.dtype) == (shape, np.float32)
    assert 0 <= ready.min() <= ready.max() <= 1


def test_scale_mean_and_deviation_are_applied_in_this_order_by_channel() -> None:
    image = np.full((2, 2, 3), 51, np.uint8)
    ready = prepared(image, PrepareOptions(size=(2, 2), color="rgb", mean=(0.0, 0.1, 0.2), deviation=(1.0, 0.1, 0.1)))
    assert np.allclose(ready[0, :, 0, 0], [0.2, 1.0, 0.0], atol=1e-6)


def test_the_size_of_a_picture_of_the_right_size_does_not_need_pillow() -> None:
    face = casting.face(np.random.default_rng(1))
    assert np.allclose(prepared(face, PrepareOptions(size=(64, 64)))[0, 0] * 255, face, atol=1e-3)


def test_a_defect_darkens_the_face_where_it_is() -> None:
    for fault in casting.FAULTS:
        clean = casting.face(np.random.default_rng(7), defect=fault, severity=0.0).astype(int)
        hurt = casting.face(np.random.default_rng(7), defect=fault).astype(int)
        assert (hurt <= clean).all()
        assert (clean - hurt).max() > 30

"""Training again gives what is committed, and what is committed does what its figures say on data it has not seen."""

import functools
import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples import artifacts
from examples.bearing import train as bearing
from examples.casting import train as casting
from examples.pump import make_variants
from examples.pump import train as pump
from examples.pump.generate import DAY, FEATURES, normal, windows
from examples.shuttle import train as shuttle
from nodeagent.model.golden import Golden, GoldenMismatch
from nodeagent.model.inference import Model
from nodeagent.pipeline.drift import histogram, psi
from store import builder

EXAMPLES = Path(pump.__file__).parents[1]
FOLDERS = {
    "bearing": EXAMPLES / "bearing",
    "casting": EXAMPLES / "casting",
    "pump": EXAMPLES / "pump",
    "shuttle": EXAMPLES / "shuttle",
    **{f"pump {version}": EXAMPLES / "pump" / "variants" / version for version in ("2.0", "2.1", "2.2")},
}
MODEL_BYTES_MAX = 50_000


@functools.cache
def trained(name: str) -> artifacts.Trained:
    again: dict[str, Callable[[], artifacts.Trained]] = {
        "bearing": bearing.train,
        "casting": casting.train,
        "pump": pump.train,
        "shuttle": shuttle.train,
        "pump 2.0": functools.partial(pump.train, make_variants.GOOD),
        "pump 2.1": lambda: make_variants.bad_in_trial(trained("pump 2.0")),
        "pump 2.2": lambda: make_variants.wrong_golden(trained("pump 2.0"))[0],
    }
    return again[name]()


def described(name: str) -> dict[str, object]:
    return tomllib.loads((FOLDERS[name] / "bundle.toml").read_text())


@pytest.mark.parametrize("name", FOLDERS)
def test_training_again_gives_the_committed_model(name):
    """Processors round differently, and training amplifies it: outputs are compared, with room, and not weights."""
    committed = (FOLDERS[name] / "model.onnx").read_bytes()
    again = trained(name)
    ours = artifacts.answers(committed, again.golden)
    theirs = artifacts.answers(again.model, again.golden)
    for output, values in ours.items():
        np.testing.assert_allclose(values, theirs[output], rtol=0.05, atol=0.05, err_msg=output)
    assert len(committed) < MODEL_BYTES_MAX


@pytest.mark.parametrize("name", FOLDERS)
def test_training_again_gives_the_stated_figures(name):
    stated = described(name)["lineage"].get("metrics", {})
    for figure, value in trained(name).figures.items():
        assert stated[figure] == pytest.approx(value, abs=0.02), figure


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "pump 2.2"])
def test_the_committed_model_reproduces_its_golden_vectors_on_the_agents_runtime(name):
    model = Model.load(FOLDERS[name] / "model.onnx")
    golden = Golden.read(FOLDERS[name] / "golden.npz")
    assert golden.check(model.run, [spec.name for spec in model.inputs]) >= 4
    model.close()


def test_preflight_of_pump_2_2_fails_at_its_golden_vectors():
    model = Model.load(FOLDERS["pump 2.2"] / "model.onnx")
    with pytest.raises(GoldenMismatch, match="score"):
        Golden.read(FOLDERS["pump 2.2"] / "golden.npz").check(model.run, ["X"])
    model.close()


@pytest.mark.parametrize(
    ("name", "auc_min", "found_min", "false_max"),
    [("bearing", 0.98, 0.8, 0.01), ("casting", 0.98, 0.75, 0.01), ("shuttle", 0.999, 0.98, 0.01)],
)
def test_the_classifiers_and_the_shuttle_tell_good_from_bad(name, auc_min, found_min, false_max):
    figures = trained(name).figures
    assert figures["auc"] >= auc_min
    assert figures["found"] >= found_min
    assert figures["false"] <= false_max


@pytest.mark.parametrize("name", ["pump", "pump 2.0"])
def test_a_pump_model_finds_each_fault_and_raises_no_alarm_on_four_clean_days(name):
    figures = trained(name).figures
    assert figures["wear_0_6_found"] > 0.95
    assert figures["cavitation_0_3_found"] > 0.95
    assert figures["bearing_0_3_found"] > 0.95
    assert figures["false_alarms"] == figures["false_alarms_slow_plc"] == 0
    assert figures["windows_over_1"] < 0.01


def test_pump_2_0_finds_wear_that_1_0_does_not_see():
    assert trained("pump").figures["wear_0_2_found"] < 0.1
    assert trained("pump 2.0").figures["wear_0_2_found"] > 0.5


def test_pump_2_1_has_no_score_for_any_load_of_a_clean_day():
    model = (FOLDERS["pump 2.1"] / "model.onnx").read_bytes()
    day = windows(normal(DAY, seed=31), every=30)
    assert np.isnan(artifacts.run(model, {"X": day})["score"]).mean() > 0.99


@pytest.mark.parametrize("name", FOLDERS)
def test_a_baseline_counts_its_rows_and_its_thresholds_hold_for_every_window(name):
    found = json.loads((FOLDERS[name] / "baseline.json").read_text())
    lengths = {str(length) for length in found["windows"]}
    for column in (*found["inputs"].values(), found["score"]):
        assert sum(column["counts"]) == found["rows"]
        assert len(column["counts"]) == len(column["edges"]) + 1
        assert column["edges"] == sorted(column["edges"])
        assert set(column["psi_max"]) == lengths
        assert min(column["psi_max"].values()) >= 0.1
    assert set(found["score"]["share_max"]) == lengths


def test_the_pumps_drift_thresholds_keep_quiet_on_clean_days_and_speak_when_a_unit_changes():
    found = json.loads((FOLDERS["pump"] / "baseline.json").read_text())
    length = max(found["windows"])
    rows = windows(normal(3 * DAY, seed=55), every=5)[:, FEATURES.index("power.Average")]
    column = found["inputs"]["power.Average"]

    def worst(values: np.ndarray) -> float:
        parts = [values[at : at + length // 5] for at in range(0, len(values) - length // 5, length // 10)]
        return max(psi(histogram(part, column["edges"]), np.array(column["counts"])) for part in parts)

    assert worst(rows) < column["psi_max"][str(length)]
    assert worst(rows * 1.341) > column["psi_max"][str(length)]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_bundle_can_be_built_of_each_folder(name):
    about = builder.read_config(FOLDERS[name] / "bundle.toml")
    for file in (about.files.model, about.files.pipeline, about.files.baseline, about.files.golden):
        assert (FOLDERS[name] / file).is_file()


def test_sequences_of_the_pump_rise_with_its_versions():
    order = [described(name)["sequence"] for name in ("pump", "pump 2.0", "pump 2.1", "pump 2.2")]
    assert order == sorted(set(order))


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        artifacts.write(trained("pump"), tmp_path / folder)
    for file in ("model.onnx", "baseline.json", "golden.npz", "bundle.toml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_no_row_of_the_shuttle_data_is_kept():
    rows, _ = shuttle.fetch()
    kept, _ = artifacts.read_golden(FOLDERS["shuttle"] / "golden.npz")
    assert not {row.tobytes() for row in kept["X"].reshape(-1, 9)} & {row.tobytes() for row in rows}

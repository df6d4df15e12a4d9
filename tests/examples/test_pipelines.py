"""The examples' pipelines in the agent's own engine: quiet while all is well, an alarm soon after a fault."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from examples import artifacts
from examples.bearing import generate as bearing_data
from examples.casting import train as casting
from examples.pump import generate as pump_data
from nodeagent.frame import BAD, good
from nodeagent.model.inference import Model
from nodeagent.pipeline import config
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.outcome import ERROR, IDLE, Outcome
from nodeagent.sources.simulators import bearing, pump
from nodeagent.sources.simulators import casting as face

EXAMPLES = Path(artifacts.__file__).parent
BINDINGS = {
    "plc": "tcp://127.0.0.1:502",
    "seed": 7,
    "motor": "opc.tcp://127.0.0.1:4840",
    "broker": "mqtt://127.0.0.1:1883",
    "vibration": "/var/lib/vibration",
    "camera": "/var/lib/camera",
    "recording": "/var/lib/recording.csv",
}
SWEEP_US = 200_000


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.us = 10_000_000

    def boottime_us(self) -> int:
        return self.us

    def wall_us(self) -> int:
        return self.us + 1_700_000_000_000_000

    def boot_id(self) -> str:
        return "a-boot"


class Line:
    """One example's pipeline with its model."""

    def __init__(self, folder: Path) -> None:
        self.clock = Hand()
        self.model = Model.load(folder / "model.onnx")
        text = (folder / "pipeline.toml").read_text()
        self.engine = Engine(
            config.load(text, bindings=BINDINGS),
            run_model=self.model.run,
            model_inputs=self.model.inputs,
            clock=self.clock,
        )

    def push(self, names: tuple[str, ...], values: object, blob: object = None) -> list[Outcome]:
        self.clock.us += SWEEP_US
        source = self.engine.config.sources[0].id
        return self.engine.push(
            good(names, values, source_us=self.clock.wall_us(), received_us=self.clock.us, blob=blob, source=source)
        )

    def sweeps(self, rows: np.ndarray) -> list[Outcome]:
        return [outcome for row in rows for outcome in self.push(pump.TAGS, row)]


@contextmanager
def line(*parts: str) -> Iterator[Line]:
    found = Line(EXAMPLES.joinpath(*parts))
    yield found
    found.model.close()


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("pipeline*.toml")), ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_every_pipeline_passes_the_check_and_names_its_bindings(path):
    loaded = config.load(path.read_text())
    assert loaded.bindings
    assert config.load(path.read_text(), bindings=BINDINGS).bound


@pytest.mark.parametrize(
    ("name", "seed"),
    [
        ("bearing", {"seed": 21, "fault": "bpfo", "severity": [[0, 0], [600, 0.6]]}),
        ("casting", {"seed": 31, "defect_share": 0.3}),
    ],
)
def test_a_node_can_give_its_simulated_machine_a_fault_by_binding(name, seed):
    loaded = config.load((EXAMPLES / name / "pipeline.simulate.toml").read_text(), bindings={"seed": seed})
    assert {key: getattr(loaded.sources[0].options, key) for key in seed} == seed


def test_a_misspelt_key_in_an_example_is_an_error_with_its_line():
    text = (EXAMPLES / "pump" / "pipeline.toml").read_text().replace("min_percent_good", "min_percent_god")
    line_number = next(at for at, found in enumerate(text.splitlines(), 1) if "min_percent_god" in found)
    with pytest.raises(ConfigError) as caught:
        config.load(text)
    assert caught.value.line == line_number


def test_the_engine_gives_the_model_what_training_gave_it():
    sweeps = pump_data.normal(120, seed=41)
    with line("pump") as plant:
        outcomes = [outcome for outcome in plant.sweeps(sweeps) if outcome.valid]
    # The first windows hold sweeps from before the gate opened, which count as Bad.
    wanted = pump_data.windows(sweeps)[-len(outcomes) :]
    found = np.stack([outcome.inputs for outcome in outcomes])
    np.testing.assert_allclose(found[-60:], wanted[-60:], rtol=1e-4)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_pump_is_quiet_over_a_clean_hour_and_alarms_within_60_sweeps_of_wear(version):
    parts = ("pump",) if version == "1.0" else ("pump", "variants", version)
    with line(*parts) as plant:
        clean = plant.sweeps(pump_data.normal(3600, seed=51, start_s=20_000))
        worn = plant.sweeps(pump_data.failing(120, "wear", 0.6, seed=52, start_s=23_600))
    assert not any(outcome.alarm for outcome in clean)
    first = next(at for at, outcome in enumerate(worn) if outcome.alarm)
    assert first <= 60


def test_dirt_in_a_pumps_data_lowers_quality_and_raises_no_alarm():
    dirt, truth = pump.dirty(pump_data.normal(2400, seed=61), seed=62, spike=0.002, missing=0.003, dropouts=2)
    with line("pump") as plant:
        outcomes = plant.sweeps(dirt)
    assert (truth > 0).any()
    assert not any(outcome.alarm for outcome in outcomes)
    assert any(outcome.quality == BAD for outcome in outcomes)
    assert sum(outcome.valid for outcome in outcomes) > 0.8 * len(outcomes)


def test_every_prediction_of_pump_2_1_is_an_error_once_it_runs():
    with line("pump", "variants", "2.1") as plant:
        outcomes = plant.sweeps(pump_data.normal(200, seed=71))
    judged = [outcome for outcome in outcomes if outcome.inputs is not None]
    assert len(judged) > 100
    assert all(outcome.decision == ERROR for outcome in judged)


def test_a_bearing_is_quiet_while_healthy_and_alarms_on_the_third_faulty_second():
    rng = np.random.default_rng(81)
    with line("bearing") as plant:

        def second(fault: str | None, severity: float, *, dead: bool = False, rpm: float = bearing.RPM) -> Outcome:
            wave = bearing_data.wave(rng, fault, severity).astype(np.float32)
            if dead:
                wave[:] = wave[0]
            return plant.push(("vib", "speed"), [0.0, rpm], wave)[0]

        starting = [second(None, 0.0, rpm=rpm) for rpm in (0.0, 900.0, bearing.RPM)]
        healthy = [second(None, 0.0) for _ in range(120)]
        dead = second(None, 0.0, dead=True)
        faulty = [second("bpfo", 0.6) for _ in range(5)]
    assert [outcome.decision for outcome in starting] == [IDLE] * 3
    assert all(outcome.valid and not outcome.alarm for outcome in healthy)
    assert dead.quality == BAD
    assert [outcome.alarm for outcome in faulty] == [False, False, True, True, True]


@pytest.mark.parametrize("fault", bearing.FAULTS)
def test_each_kind_of_bearing_fault_alarms_within_five_seconds(fault):
    rng = np.random.default_rng(82)
    with line("bearing") as plant:
        waves = [bearing_data.wave(rng, fault, 0.8).astype(np.float32) for _ in range(5)]
        plant.push(("vib", "speed"), [0.0, bearing.RPM], waves[0])  # it settles
        assert any(plant.push(("vib", "speed"), [0.0, bearing.RPM], wave)[0].alarm for wave in waves)


def test_a_casting_with_a_scratch_is_rejected_a_good_one_accepted_and_a_dark_picture_reviewed():
    rng = np.random.default_rng(91)
    with line("casting") as plant:

        def judge(picture: np.ndarray) -> str:
            return plant.push(("camera",), [0.0], picture)[0].decision

        good_ones = [judge(face.face(rng)) for _ in range(60)]
        bad_ones = [judge(face.face(rng, defect="scratch")) for _ in range(30)]
        dark = judge(np.zeros((64, 64), np.uint8))
    assert good_ones.count("reject") == 0
    assert good_ones.count("accept") >= 55
    assert bad_ones.count("reject") >= 24
    assert dark == "review"


def test_the_shuttle_judges_a_row_of_nine_sensors():
    inputs, outputs = artifacts.read_golden(EXAMPLES / "shuttle" / "golden.npz")
    with line("shuttle") as plant:
        names = tuple(f"f{at}" for at in range(1, 10))
        outcomes = [plant.push(names, row[0].astype(np.float64))[0] for row in inputs["X"]]
    assert [outcome.score for outcome in outcomes] == pytest.approx(outputs["score"][:, 0].tolist(), rel=1e-3)


def test_a_picture_reaches_the_model_as_training_scaled_it():
    picture = face.face(np.random.default_rng(3))
    with line("casting") as plant:
        outcome = plant.push(("camera",), [0.0], picture)[0]
    assert outcome.score == pytest.approx(
        float(casting.probability((EXAMPLES / "casting" / "model.onnx").read_bytes(), picture[None])[0]), abs=1e-5
    )


def test_baselines_name_the_inputs_that_their_pipelines_give_the_model():
    for name in ("bearing", "pump", "shuttle"):
        baseline = json.loads((EXAMPLES / name / "baseline.json").read_text())
        loaded = config.load((EXAMPLES / name / "pipeline.toml").read_text(), bindings=BINDINGS)
        assert list(loaded.model.options.inputs) == sorted(baseline["inputs"], key=loaded.model.options.inputs.index)

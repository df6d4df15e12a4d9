"""A model is tried alone under limits before anything depends on it; what it does to that process is the verdict."""

import asyncio
import os

import msgspec
import numpy as np
import pytest

from nodeagent.runtime.probation_start import probation
from nodeagent.spec import Activation


def attempt(activation, **limits):
    asked = msgspec.convert(activation, Activation)
    return asyncio.run(probation(asked, **{"wall_s": 60.0, **limits}))


@pytest.fixture
def golden(state):
    """Writes golden vectors for the `sum` model of revision 1: inputs and the outputs given."""

    def write(outputs, **inputs):
        path = state / "golden.npz"
        rows = np.arange(12, dtype=np.float32).reshape(3, 1, 4)
        np.savez(path, **{"input.x": rows, "output.y": np.array(outputs, np.float32).reshape(3, 1, 1)}, **inputs)
        return str(path)

    return write


def test_a_good_model_passes_and_is_measured(bundles, golden):
    verdict = attempt(bundles.activation(1, golden_path=golden([1006, 1022, 1038])))
    assert (verdict.ok, verdict.golden_cases, verdict.error) == (True, 3, "")
    assert verdict.latency_ms > 0
    assert verdict.memory_bytes > 10 << 20
    assert verdict.batch_rows_max > 1


@pytest.mark.parametrize(
    ("outputs", "inputs", "says"),
    [
        ([1006, 1022, 1040], {}, "case 2: y gave 1038.0 and not 1040.0"),
        ([1006, 1022, 1038], {"input.z": np.zeros((3, 1))}, "golden vectors are for the inputs"),
        ([1006, 1022, 1038], {"output.z": np.zeros((3, 1))}, "no output 'z'"),
        ([1006, 1022, 1038], {"output.w": np.zeros((2, 1))}, "equally many"),
        ([1006, 1022, 1038], {"surprise": np.zeros((3, 1))}, "'surprise'"),
    ],
)
def test_golden_vectors_that_are_not_reproduced_are_refused_in_words(bundles, golden, outputs, inputs, says):
    verdict = attempt(bundles.activation(1, golden_path=golden(outputs, **inputs)))
    assert (verdict.ok, verdict.code) == (False, "DEPLOYMENT.PREFLIGHT")
    assert says in verdict.error


def test_golden_vectors_that_would_run_something_are_not_read(bundles, state):
    np.savez(state / "golden.npz", **{"input.x": np.array([{}]), "output.y": np.array([{}])})
    verdict = attempt(bundles.activation(1, golden_path=str(state / "golden.npz")))
    assert not verdict.ok
    assert "cannot be read" in verdict.error


def test_a_file_that_is_no_model_is_the_bundles_fault(bundles):
    activation = bundles.activation(1)
    with open(activation["model_path"], "wb") as file:
        file.write(os.urandom(4_000))
    verdict = attempt(activation)
    assert (verdict.ok, verdict.code) == (False, "BUNDLE.MODEL_REFUSED")


def test_a_model_that_never_ends_is_ended_by_its_processor_time_and_by_the_wall(bundles, state):
    rows = np.full((1, 1, 4), 200, np.float32)
    np.savez(state / "endless.npz", **{"input.x": rows, "output.y": np.zeros((1, 1, 1), np.float32)})
    activation = bundles.activation(1, model="loop", golden_path=str(state / "endless.npz"))
    by_cpu = attempt(activation, cpu_s=3)
    assert (by_cpu.ok, by_cpu.code) == (False, "DEPLOYMENT.PREFLIGHT")
    assert "SIGKILL" in by_cpu.error or "SIGXCPU" in by_cpu.error
    by_wall = attempt(activation, wall_s=2.5)
    assert "not ready in 2.5 s" in by_wall.error


def test_a_model_that_takes_more_memory_than_declared_is_refused(bundles, state):
    rows = np.full((1, 1, 4), 1 << 30, np.float32)
    np.savez(state / "greedy.npz", **{"input.x": rows, "output.y": np.zeros((1, 1, 1), np.float32)})
    verdict = attempt(bundles.activation(1, model="bomb", golden_path=str(state / "greedy.npz")))
    assert (verdict.ok, verdict.code) == (False, "DEPLOYMENT.PREFLIGHT")


@pytest.mark.parametrize(
    ("text", "bindings", "code"),
    [
        ("schema = 1\nsurprise = 2\n", {}, "BUNDLE.PIPELINE"),
        ("schema = 1\nsurprise = 2\n", {"plc": "tcp://127.0.0.1:502"}, "BUNDLE.PIPELINE"),
    ],
)
def test_a_pipeline_that_is_wrong_is_the_bundles_fault_and_names_the_line(bundles, text, bindings, code):
    verdict = attempt(bundles.pipeline(1, text, bindings=bindings))
    assert (verdict.ok, verdict.code) == (False, code)
    assert "pipeline.toml:2" in verdict.error


PIPELINE = """
schema = 1
name = "skid"
[[source]]
id = "plc"
type = "modbus"
url = "${plc}"
tags = [{ name = "a", register = "holding:2", type = "uint16" }]
[model]
inputs = ["a"]
[decide]
use = "alarm"
score = "y"
high = 1.0
"""


def test_a_binding_that_does_not_fit_is_the_nodes_fault(bundles):
    verdict = attempt(bundles.pipeline(1, PIPELINE, bindings={"plc": "no address"}))
    assert (verdict.ok, verdict.code) == (False, "BINDING.MALFORMED")


def test_a_pipeline_that_does_not_fit_its_model_is_refused(bundles):
    verdict = attempt(bundles.pipeline(1, PIPELINE.replace('["a"]', '["b"]'), bindings={"plc": "tcp://127.0.0.1:502"}))
    assert not verdict.ok
    assert "'b'" in verdict.error

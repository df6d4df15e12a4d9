"""What a real worker tells of its model: drift by the bundle's baseline, the alarm with its limit."""

import asyncio
import json

import msgspec
import pytest

from nodeagent.runtime.probation_start import probation
from nodeagent.spec import Activation

PIPELINE = """
schema = 1
name = "skid"

[[source]]
id = "plc"
type = "simulate"
machine = "pump"
poll = "10ms"

[model]
inputs = ["speed", "q_in", "p_dis", "vib"]

[decide]
use = "alarm"
score = "SCORE"
high = 1.0
"""


def column(**more) -> dict:
    return {"edges": [0.0], "counts": [5, 5], "psi_max": {"40": 1000.0}, **more}


@pytest.fixture
def baseline(state):
    """Writes a baseline of one input; every score is over its limit, which is `share_max` too much or not."""

    def write(tag="vib", share_max=1.0):
        path = state / "baseline.json"
        score = column(limit=0.0, share_max={"40": share_max})
        path.write_text(json.dumps({"schema": 1, "windows": [40], "inputs": {tag: column()}, "score": score}))
        return str(path)

    return write


def figures(workers) -> dict:
    return workers.ask("tell")["telemetry"][0]


def test_a_worker_watches_until_a_window_is_full_and_tells_its_alarm(workers, bundles, baseline, until):
    workers.start()
    activation = bundles.pipeline(1, PIPELINE.replace("SCORE", "y"), baseline_path=baseline())
    workers.ask("ensure", activation=activation)
    seen = [until(lambda: figures(workers)["predictions_total"] and figures(workers), "it predicts")]
    until(lambda: seen.append(figures(workers)) or seen[-1]["drift"] == "ok", "a window is full")
    assert seen[-1]["alarm"].endswith("alarm at or over 1")
    assert {each["drift"].partition(" ")[0] for each in seen} <= {"watching", "ok"}
    assert figures(workers)["predictions_total"] >= 40


def test_a_worker_without_a_baseline_says_so(workers, bundles, until):
    workers.start()
    workers.ask("ensure", activation=bundles.pipeline(1, PIPELINE.replace("SCORE", "y")))
    assert until(lambda: figures(workers)["predictions_total"] and figures(workers), "")["drift"] == "no baseline"


@pytest.mark.parametrize(
    ("score", "tag", "says"),
    [
        ("wrong", "vib", "no output 'wrong'"),
        ("y", "torque", "the model does not see it"),
        ('y"\nlow = 1.0 #', "vib", "either 'high' or 'low'"),
    ],
)
def test_what_does_not_fit_the_model_is_the_bundles_fault_before_it_runs(bundles, baseline, score, tag, says):
    asked = bundles.pipeline(1, PIPELINE.replace("SCORE", score), baseline_path=baseline(tag), bindings={"a": "b"})
    verdict = asyncio.run(probation(msgspec.convert(asked, Activation), wall_s=60.0))
    assert (verdict.ok, verdict.code) == (False, "BUNDLE.PIPELINE")
    assert says in verdict.error


def test_a_worker_that_is_started_again_goes_on_watching_where_it_stood(workers, bundles, baseline, until):
    workers.start()
    activation = bundles.pipeline(1, PIPELINE.replace("SCORE", "y"), baseline_path=baseline())
    workers.ask("ensure", activation=activation)
    until(lambda: figures(workers)["drift"] == "ok", "a window is full")
    workers.ask("stop", safe=True)
    slow = PIPELINE.replace("SCORE", "y").replace("10ms", "500ms")  # a window of its own would take 20 s
    workers.ask("ensure", activation=bundles.pipeline(1, slow, baseline_path=activation["baseline_path"]))
    assert until(lambda: figures(workers)["last"] and figures(workers), "it predicts")["drift"] == "ok"


def test_more_tags_than_the_model_has_room_for_are_refused_before_it_runs(bundles):
    text = PIPELINE.replace("SCORE", "y").replace('"vib"]', '"vib", "power"]')
    verdict = asyncio.run(probation(msgspec.convert(bundles.pipeline(1, text), Activation), wall_s=60.0))
    assert (verdict.ok, verdict.code) == (False, "BUNDLE.PIPELINE")
    assert "takes [-1, 4], and 5 tags make [-1, 5]" in verdict.error

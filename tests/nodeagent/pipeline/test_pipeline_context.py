"""`[context]`: what the machine is busy with stands on every outcome, and drift compares like with like by it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nodeagent.authoring.baseline import baseline
from nodeagent.frame import UNCERTAIN, good
from nodeagent.pipeline.config import load
from nodeagent.pipeline.context import Context, ContextOptions
from nodeagent.pipeline.drift import BaselineRefused, of_bundle
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.errors import ConfigError
from nodeagent.pipeline.outcome import Outcome
from nodeagent.protocol import Tap
from nodeagent.worker.loading import ModelInput

PIPELINE = """schema = 1
name = "p"
[[source]]
id = "mes"
type = "push"
tags = ["vib", "product", "shift"]
[context]
tags = { product = "product", shift = "shift" }
words = { product = { 4 = "A4" } }
[[step]]
use = "clean.hold_last"
max_hold = 3
[model]
inputs = ["vib"]
[decide]
use = "alarm"
score = "y"
high = 1.0
"""


def column(counts: list[int], window: int = 10) -> dict[str, Any]:
    return {"edges": [0.0], "counts": counts, "psi_max": {str(window): 0.5}}


def one(counts: list[int]) -> dict[str, Any]:
    score = column([10, 0]) | {"limit": 9.0, "share_max": {"10": 0.5}}
    return {"schema": 1, "windows": [10], "inputs": {"vib": column(counts)}, "score": score}


# Of product A4 every value lies below 0, of A5 above: together they would be drift of nothing.
BASELINE = one([50, 50]) | {"contexts": {"product=A4": one([100, 0]), "product=A5": one([0, 100])}}


def outcomes(context: str, value: float, count: int = 30) -> list[Outcome]:
    row = np.array([value], np.float32)
    return [Outcome(0, 0, 0, -1.0, "", "normal", 0, "", row, None, False, context) for _ in range(count)]


def engine_of(clock: Any) -> Engine:
    return Engine(
        load(PIPELINE, bindings={}),
        run_model=lambda feeds: {"y": np.zeros((len(feeds["x"]), 1), np.float32)},
        model_inputs=[ModelInput("x", "FP32", (-1, 1))],
        clock=clock,
    )


def watch() -> Any:
    return of_bundle(json.dumps(BASELINE).encode(), ["vib"])


def test_an_outcome_says_the_product_by_its_word_and_what_is_not_good_is_not_known(clock: Any) -> None:
    engine = engine_of(clock)
    found = []
    for product in (4.0, 7.0, float("nan")):
        frame = good(("vib", "product", "shift"), [0.5, product, 2.0], source_us=0, received_us=0)
        frame.mark(np.array([False, False, product == 7.0]), UNCERTAIN, "old")
        found += [outcome.context for outcome in engine.push(frame)]
    assert found == ["product=A4 shift=2", "product=7 shift=?", "product=? shift=2"]


def test_each_product_is_compared_with_its_own_and_an_unknown_one_with_nothing() -> None:
    drift = watch()
    drift.saw(outcomes("product=A4", -1.0))
    assert drift.verdict == "ok"
    drift.saw(outcomes("product=A5", 1.0))
    assert drift.verdict == "ok"
    drift.saw(outcomes("product=A6", 1.0))
    assert drift.verdict == "no baseline for product=A6"
    drift.saw(outcomes("product=A5", -1.0))
    assert drift.verdict.startswith("drift: vib PSI")
    drift.saw(outcomes("product=A4", -1.0, 1))
    assert drift.verdict.endswith("(product=A5)"), "another product's drift is not forgotten by a change of product"


def test_a_successor_goes_on_with_every_products_window_and_a_mark_begins_them_anew() -> None:
    first, second = watch(), watch()
    first.saw(outcomes("product=A4", -1.0, 5))
    first.saw(outcomes("product=A5", 1.0, 3))
    assert second.restore(first.state())
    second.saw(outcomes("product=A4", -1.0, 1))
    assert second.verdict == "watching 60 %"
    second.restart("vib was replaced")
    assert second.verdict == "watching 0 %, since vib was replaced"
    assert not second.restore(b"\x90")


def test_a_baseline_whose_contexts_are_none_is_refused() -> None:
    nested = BASELINE | {"contexts": {"product=A4": BASELINE}}
    with pytest.raises(BaselineRefused, match="'product=A4' has contexts of its own"):
        of_bundle(json.dumps(nested).encode(), ["vib"])
    with pytest.raises(BaselineRefused, match="the model does not see it"):
        of_bundle(json.dumps(BASELINE).encode(), ["other"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('tags = { product = "produkt" }', "there is no tag 'produkt'"),
        ('tags = { "a b" = "product" }', "is not a word"),
        ("tags = {}", "1 to 4 names"),
        ('tags = { product = "product" }\nwords = { shift = { 1 = "x" } }', "'words' has 'shift'"),
        ('tags = { product = "product" }\nwords = { product = { x = "y" } }', "by whole numbers"),
        ('tags = { product = "product" }\nword = 1', "unknown key"),
    ],
)
def test_a_context_that_cannot_be_meant_is_refused_with_its_line(clock: Any, text: str, says: str) -> None:
    head, _, rest = PIPELINE.partition("[context]")
    whole = f"{head}[context]\n{text}\n[[step]]{rest.partition('[[step]]')[2]}"
    with pytest.raises(ConfigError, match=says) as refused:
        Engine(
            load(whole, bindings={}),
            run_model=lambda feeds: {},
            model_inputs=[ModelInput("x", "FP32", (-1, 1))],
            clock=clock,
        )
    assert refused.value.line in range(7, 11)


def test_a_pipeline_without_a_context_says_none() -> None:
    assert Context(None).of(good(("a",), [1.0], source_us=0, received_us=0)) == ""
    assert ContextOptions(tags={"p": "t"}).words == {}


def test_a_training_scripts_baseline_by_context_is_what_the_node_reads() -> None:
    rng = np.random.default_rng(7)
    products = ["product=A4"] * 400 + ["product=A5"] * 400
    vib = np.concatenate([rng.normal(-5, 1, 400), rng.normal(5, 1, 400)])
    made = baseline({"vib": vib}, np.zeros(800), output="y", windows=[100], limit=1.0, contexts=products)
    drift = of_bundle(json.dumps(made).encode(), ["vib"])
    for value in rng.normal(5, 1, 100):
        drift.saw(outcomes("product=A5", float(value), 1))
    assert drift.verdict == "ok"
    with pytest.raises(ValueError, match="product=A5: a window of 100 predictions, and only 10"):
        baseline({"vib": vib[:410]}, np.zeros(410), output="y", windows=[100], limit=1.0, contexts=products[:410])


def test_a_tap_says_of_each_sweep_what_the_machine_was_busy_with_also_where_several_are_evaluated_together(
    clock: Any,
) -> None:
    engine = engine_of(clock)
    taps: list[Tap] = []
    engine.tap = taps.append
    sweeps = [
        good(("vib", "product", "shift"), [0.5, p, 2.0], source_us=at, received_us=0) for at, p in enumerate((4, 7))
    ]
    found = engine.push_many(sweeps)
    said = ["product=A4 shift=2", "product=7 shift=2"]
    assert [outcome.context for outcome in found] == said
    for stage in {tap.stage for tap in taps}:
        assert [tap.context for tap in taps if tap.stage == stage] == said

"""Carried state and several models in one pipeline, with models that are plain functions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from nodeagent.clock import SystemClock
from nodeagent.frame import Frame, good
from nodeagent.pipeline import config as pipeline_config
from nodeagent.pipeline.engine import Engine
from nodeagent.pipeline.errors import ConfigError, ModelFailed
from nodeagent.pipeline.models import Loaded
from nodeagent.pipeline.steps.crop import CropOptions, cropped, resized

HEAD = 'schema = 1\nname = "p"\n[[source]]\nid = "s"\ntype = "push"\ntags = ["x"]\n'
SUM = HEAD + (
    '[model]\ninputs = { x = ["x"] }\nstate = { h = "hn" }\nconstants = { k = 2 }\nwarm_up = 2\nstate_reset = "10s"\n'
    '[decide]\nuse = "alarm"\nscore = "y"\nhigh = 1e9\n'
)
THEN = HEAD + (
    '[model]\ninputs = ["x"]\n[[then]]\nmodel = "second"\ninputs = { a = "y", b = "input:x" }\nwhen = "y >= 2"\n'
    'otherwise = { z = -1 }\n[decide]\nuse = "alarm"\nscore = "second.z"\nhigh = 1e9\n'
)


class Tensor(NamedTuple):
    name: str
    datatype: str
    shape: tuple[int, ...]


def total(feeds: dict[str, Any]) -> dict[str, Any]:
    """y = k x + h, which is carried on."""
    y = feeds["k"] * feeds["x"] + feeds["h"]
    if float(y.max()) > 1e6:
        raise ModelFailed("too large")
    return {"y": y, "hn": y if float(y.max()) < 1e5 else y * np.float32(np.nan)}


TOTAL = [Tensor("x", "FP32", (1, 1)), Tensor("h", "FP32", (1, 1)), Tensor("k", "FP32", ())]
ADD = Loaded(
    lambda feeds: {"z": feeds["a"] + feeds["b"]},
    [Tensor("a", "FP32", (-1, 1)), Tensor("b", "FP32", (-1, 1))],
    ["z"],
)


def engine(text: str, *, key: str = "", more: dict[str, Loaded] | None = None) -> Engine:
    config = pipeline_config.load(text, bindings={})
    if more is None:
        return Engine(
            config, run_model=total, model_inputs=TOTAL, clock=SystemClock(), model_outputs=["y", "hn"], model_key=key
        )
    return Engine(
        config,
        run_model=lambda feeds: {"y": feeds["x"]},
        model_inputs=[Tensor("x", "FP32", (-1, 1))],
        clock=SystemClock(),
        model_outputs=["y"],
        more=more,
    )


def frame(value: float, at_s: float = 0.0) -> Frame:
    return good(("x",), (value,), source_us=0, received_us=round(at_s * 1e6))


def scores(running: Engine, *values: float, at_s: float = 0.0) -> list[float | None]:
    return [outcome.score for outcome in running.push_many([frame(value, at_s) for value in values])]


def test_an_output_is_the_input_of_the_next_sweep_also_of_sweeps_that_come_together() -> None:
    assert scores(engine(SUM), 1, 1, 1, 1) == [2, 4, 6, 8]


def test_a_bad_sweep_leaves_what_is_carried_as_it_is() -> None:
    assert scores(engine(SUM), 1, float("nan"), 1) == [2, None, 4]


def test_after_a_silence_it_begins_anew() -> None:
    running = engine(SUM)
    assert scores(running, 1, 1) == [2, 4]
    assert scores(running, 1, at_s=9.0) == [6]
    assert scores(running, 1, at_s=20.0) == [2]


def test_a_run_that_fails_changes_nothing_and_a_state_that_is_no_number_begins_anew() -> None:
    running = engine(SUM)
    assert scores(running, 1, 1e7, 1) == [2, None, 4]
    assert scores(running, 1e5, 1) == [None, 2]


def test_it_goes_over_a_switch_to_the_same_model_and_to_no_other() -> None:
    old = engine(SUM, key="sha256:a")
    assert not old.warm
    scores(old, 1, 1)
    assert old.warm
    same, other = engine(SUM, key="sha256:a"), engine(SUM, key="sha256:b")
    same.restore(old.state())
    other.restore(old.state())
    assert (scores(same, 1), scores(other, 1)) == ([6], [2])


def test_a_model_behind_another_is_given_what_that_said_and_what_that_was_given() -> None:
    assert scores(engine(THEN, more={"second": ADD}), 1, 2, 3) == [-1, 4, 6]


WRONG = {
    SUM.replace('"hn"', '"gone"'): "there is no|the model has no output 'gone'",
    SUM.replace("{ h =", "{ g ="): "the model has no input 'g'",
    SUM.replace("constants = { k = 2 }\n", ""): "the inputs of the model are x, k",
    SUM.replace("{ k = 2 }", "{ k = 2, h = 1 }"): "'h' is given twice",
    SUM.replace('state = { h = "hn" }\n', ""): "belong to a 'state'",
}


@pytest.mark.parametrize(("text", "why"), WRONG.items(), ids=list(WRONG.values()))
def test_a_state_that_does_not_fit_is_told_with_its_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        engine(text)
    assert caught.value.line >= 7


WRONG_THEN = {
    THEN.replace('"second"', '"third"'): "the bundle has no model 'third'; allowed: second",
    THEN.replace('a = "y"', 'a = "w"'): "nothing before it is called 'w'",
    THEN.replace('a = "y", ', ""): "the inputs of second are a, b",
    THEN.replace("y >= 2", "w >= 2"): "nothing before it is called 'w'",
    THEN.replace("y >= 2", "y is 2"): "'when' reads",
    THEN.replace("otherwise = { z = -1 }\n", ""): "'otherwise' says",
    THEN.replace("{ z = -1 }", "{ w = -1 }"): "second has no output 'w'",
    THEN.replace("second.z", "z"): "the model has no output 'z'; allowed: y, second.z",
}


@pytest.mark.parametrize(("text", "why"), WRONG_THEN.items(), ids=list(WRONG_THEN.values()))
def test_a_further_model_that_does_not_fit_is_told_with_its_line(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        engine(text, more={"second": ADD})
    assert caught.value.line >= 9


PICTURE = np.arange(2 * 8 * 8, dtype=np.float32).reshape(1, 2, 8, 8)


def test_the_box_around_what_a_map_shows_is_cut_out() -> None:
    seen = np.zeros((1, 4, 4), np.float32)
    seen[0, 1, 2] = 0.9
    part = cropped(PICTURE, {"m": seen}, CropOptions(input="a", map="m", at=0.5, size=(2, 2)))
    np.testing.assert_array_equal(part, PICTURE[:, :, 2:4, 4:6])


def test_of_boxes_the_surest_is_cut_out_with_its_margin_and_inside_the_picture() -> None:
    boxes, seen = np.array([[0, 0, 2, 2], [4, 4, 8, 8]], np.float32), np.array([0.2, 0.7], np.float32)
    options = CropOptions(input="a", boxes="b", scores="s", at=0.5, margin=0.5, size=(6, 6))
    part = cropped(PICTURE, {"b": boxes, "s": seen}, options)
    np.testing.assert_array_equal(part, PICTURE[:, :, 2:8, 2:8])


def test_nothing_seen_is_nothing_cut_out() -> None:
    nothing = {"m": np.zeros((1, 4, 4)), "b": np.zeros((0, 4)), "s": np.zeros(0)}
    assert cropped(PICTURE, nothing, CropOptions(input="a", map="m", size=(2, 2))) is None
    assert cropped(PICTURE, nothing, CropOptions(input="a", boxes="b", scores="s", size=(2, 2))) is None


def test_a_part_is_resized_as_others_do_it() -> None:
    row = np.array([[[[0.0, 4.0]]]], np.float32)
    np.testing.assert_allclose(resized(row, (1, 4)), [[[[0, 1, 3, 4]]]])
    np.testing.assert_allclose(resized(row[..., :1], (2, 2)), np.zeros((1, 1, 2, 2)))

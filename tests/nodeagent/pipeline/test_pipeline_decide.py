"""decide: alarms with delays and deadband (ISA-18.2), classes with a band for people."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nodeagent.pipeline.decide import Alarm, AlarmOptions, Classes, ClassesOptions, score_of
from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.options import Seconds, convert


def decisions(alarm: Alarm, scores: list[float], step_s: float = 1.0) -> str:
    """n for normal, A for alarm."""
    words = (alarm.decide({"s": np.array(s)}, round(at * step_s * 1e6)).decision for at, s in enumerate(scores))
    return "".join("A" if word == "alarm" else "n" for word in words)


def test_an_alarm_waits_for_on_count_in_a_row_and_clears_below_the_deadband_for_off_count() -> None:
    alarm = Alarm(AlarmOptions(score="s", high=1.0, deadband=0.2, on_count=3, off_count=2))
    assert decisions(alarm, [1, 1, 0.9, 1, 1, 1, 0.9, 0.85, 0.7, 0.9, 0.7, 0.7, 0]) == "nnnnnAAAAAAnn"


def test_delays_in_time_count_from_the_first_crossing() -> None:
    alarm = Alarm(AlarmOptions(score="s", high=1.0, on_delay=Seconds(3), off_delay=Seconds(2)))
    assert decisions(alarm, [1, 1, 1, 1, 1, 0, 0, 0, 0]) == "nnnAAAAnn"


def test_a_low_alarm_stands_under_its_limit() -> None:
    assert decisions(Alarm(AlarmOptions(score="s", low=10.0, deadband=1)), [11, 10, 11, 11.5]) == "nAAn"


def test_without_a_prediction_the_alarm_stands_as_it_stood() -> None:
    alarm = Alarm(AlarmOptions(score="s", high=1.0, on_count=2))
    decisions(alarm, [1, 1])
    assert alarm.bad("skipped").alarm is True
    assert alarm.bad("skipped").decision == "skipped"


def test_a_missing_prediction_between_two_high_ones_does_not_start_the_count_again() -> None:
    alarm = Alarm(AlarmOptions(score="s", high=1.0, on_count=2))
    alarm.decide({"s": np.array(1.0)}, 0)
    alarm.bad("skipped")
    assert alarm.decide({"s": np.array(1.0)}, 1).decision == "alarm"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"high": 1.0, "low": 0.0},
        {"high": 1.0, "on_count": 3, "on_delay": "3s"},
        {"high": 1.0, "off_count": 3, "off_delay": "3s"},
        {"high": 1.0, "deadband": -1.0},
        {"high": 1.0, "on_count": 0},
    ],
)
def test_an_alarm_that_could_be_read_in_two_ways_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"either|>=|Expected"):
        convert({"score": "s"} | options, AlarmOptions)


def test_classes_send_what_is_between_to_a_person() -> None:
    classes = Classes(ClassesOptions(score="p", reject_at=0.9, review_at=0.4))
    found = [classes.decide({"p": np.array(p)}, 0)[2:] for p in (0.1, 0.4, 0.89, 0.9)]
    assert found == [("accept", False), ("review", False), ("review", False), ("reject", True)]


@pytest.mark.parametrize(("policy", "word"), [("skip", "skipped"), ("review", "review")])
def test_a_part_that_could_not_be_judged_is_skipped_or_reviewed_and_never_accepted(policy: Any, word: str) -> None:
    classes = Classes(ClassesOptions(score="p", reject_at=0.9, on_bad_quality=policy))
    assert classes.bad("skipped").decision == word


def test_a_class_number_becomes_its_label() -> None:
    classes = Classes(ClassesOptions(score="p:1", reject_at=0.9, label="class", labels=("ok", "scratch")))
    decision = classes.decide({"p": np.array([0.05, 0.95]), "class": np.array(1)}, 0)
    assert (decision.score, decision.label) == (0.95, "scratch")


@pytest.mark.parametrize(
    ("score", "text"),
    [("q", "no output 'q'"), ("p", "say which: p:1"), ("p:2", "no column 2"), ("nan", "is nan")],
)
def test_a_score_that_is_not_one_number_fails_with_what_to_write(score: str, text: str) -> None:
    with pytest.raises(ModelFailed, match=text):
        score_of({"p": np.array([0.1, 0.9]), "nan": np.array(np.nan)}, score)

"""decide: alarms with delays and deadband (ISA-18.2), classes with a band for people."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from nodeagent.pipeline.alarm import StandingAlarm
from nodeagent.pipeline.decide import Alarm, AlarmOptions, Classes, ClassesOptions, Vote, VoteOptions, score_of
from nodeagent.pipeline.errors import ModelFailed
from nodeagent.pipeline.options import Seconds, convert
from nodeagent.pipeline.outcome import Outcome


def decisions(alarm: Alarm | Vote, scores: list[float], step_s: float = 1.0) -> str:
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


def test_an_alarm_that_was_raised_stands_at_least_stand_min() -> None:
    alarm = Alarm(AlarmOptions(score="s", high=1.0, stand_min=Seconds(4)))
    assert decisions(alarm, [1, 0, 0, 0, 0, 0, 1, 0]) == "AAAAnnAA"


def test_k_of_the_last_n_raise_and_all_of_them_have_to_be_clear_again() -> None:
    vote = Vote(VoteOptions(score="s", high=1.0, k=2, n=4))
    assert decisions(vote, [1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]) == "nnnnnnAAAAn"


def test_a_vote_clears_earlier_when_it_may_keep_some() -> None:
    vote = Vote(VoteOptions(score="s", high=1.0, deadband=0.5, k=2, n=4, clear=1))
    assert decisions(vote, [1, 1, 0.6, 0, 0, 0]) == "nAAAAn"


def test_a_vote_goes_on_from_the_scores_of_the_one_before() -> None:
    first, second = (Vote(VoteOptions(score="s", high=1.0, k=3, n=4)) for _ in range(2))
    decisions(first, [1, 1])
    second.restore(first.state())
    assert decisions(second, [1]) == "A"


@pytest.mark.parametrize("options", [{"k": 3, "n": 2}, {"k": 2, "n": 4, "clear": 2}, {"k": 1}])
def test_a_vote_that_can_never_be_taken_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        convert({"score": "s", "high": 1.0, **options}, VoteOptions)


def outcome(decision: str, score: float | None, alarm: bool) -> Outcome:
    return Outcome(0, 0, 0, score, "", decision, 0, "", None, None, alarm)


def test_a_standing_alarm_is_told_with_its_limit_until_the_decision_clears_it() -> None:
    alarm = StandingAlarm(AlarmOptions(score="s", high=3.0))
    alarm.saw([outcome("alarm", 3.25, True), outcome("skipped", None, True)])
    assert alarm.text == "score 3.25, alarm at or over 3"
    alarm.saw([outcome("normal", 1.0, False)])
    assert alarm.text == ""


def test_a_rejected_part_is_no_alarm() -> None:
    alarm = StandingAlarm(ClassesOptions(score="s", reject_at=0.9))
    alarm.saw([outcome("reject", 0.95, True)])
    assert alarm.text == ""

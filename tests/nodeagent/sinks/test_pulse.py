"""What a bundle says of itself: a count that goes on, and a word that is true."""

from __future__ import annotations

import pytest

from nodeagent.pipeline.outcome import Outcome
from nodeagent.sinks.pulse import CODES, Heart

SECOND_US = 1_000_000


def outcome(decision: str, score: float | None = None) -> Outcome:
    return Outcome(1, 1, 1, score, "", decision, 0, "why so", None, None, False)


@pytest.mark.parametrize(
    ("last", "held", "work", "alive"),
    [
        (None, False, "starting", False),
        (outcome("normal", 0.5), False, "running", True),
        (outcome("alarm", 2.0), False, "running", True),
        (outcome("idle"), False, "idle", True),
        (outcome("skipped"), False, "no decision", False),
        (outcome("error"), False, "error", False),
        (outcome("normal", 0.5), True, "held", False),
    ],
)
def test_the_word_is_that_of_the_last_outcome_and_a_hold_goes_before_it(
    last: Outcome | None, held: bool, work: str, alive: bool
) -> None:
    heart = Heart()
    if last is not None:
        heart.saw(last, SECOND_US)
    beats = [heart.beat(2 * SECOND_US, held=held) for _ in range(2)]
    assert [beat.number for beat in beats] == [1, 2]
    assert (beats[0].work, beats[0].alive, beats[0].code) == (work, alive, CODES[work])


def test_a_decision_is_missed_after_thirty_seconds_or_after_three_of_its_own_intervals() -> None:
    often, seldom = Heart(), Heart()
    for at in range(3):
        often.saw(outcome("normal", 0.5), at * SECOND_US)
        seldom.saw(outcome("normal", 0.5), at * 60 * SECOND_US)
    assert often.beat(32 * SECOND_US, held=False).work == "running"
    late = often.beat(33 * SECOND_US, held=False)
    assert (late.work, late.reason) == ("no decision", "none for 31 s")
    assert seldom.beat((120 + 170) * SECOND_US, held=False).work == "running"
    assert seldom.beat((120 + 190) * SECOND_US, held=False).work == "no decision"

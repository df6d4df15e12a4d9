"""Policy files: what they say, and where they are wrong."""

from __future__ import annotations

import pytest

from console.rollout.calendar import is_open
from console.rollout.policy import Limits, Policy, PolicyError, Window, parse_policy, percent_or_count
from console.rollout.policy_lines import line_of

WHOLE = """
name = "presses, one line at a time"
stage = "everywhere"
success = "pause"

[select]
nodes = ["press-*"]
labels = { kind = "press" }

[waves]
canary = ["press-01"]
steps = ["25%", "100%"]
soak = "30m"
concurrency = 8

[redundancy]
label = "pair"
groups = [["press-07", "press-08"]]

[trial]
window = "10m"
soak = "2m"

[failures]
threshold = "10%"
retries = 1
unreachable = "90s"

[window]
days = ["sat", "sun"]
from = "22:00"
to = "04:00"
zone = "Europe/Vienna"

[gate]
score_share_rise_max = 0.1
"""


def test_a_whole_policy_is_read_with_its_times_in_seconds() -> None:
    policy = parse_policy(WHOLE)
    assert policy.waves.canary == ("press-01",)
    assert (policy.waves.soak_s, policy.trial.window_s, policy.failures.unreachable_s) == (1_800.0, 600.0, 90.0)
    assert policy.window == Window(days=("sat", "sun"), start="22:00", end="04:00", zone="Europe/Vienna")
    assert policy.gate == Limits(score_share_rise_max=0.1)


def test_a_budget_is_read_as_a_rate_and_refused_with_its_line_otherwise() -> None:
    assert parse_policy('[transfer]\nbudget = "10Mbit/s"').transfer.bytes_per_s == 1_250_000
    assert parse_policy("").transfer.bytes_per_s is None
    with pytest.raises(PolicyError, match=r"line 3: transfer\.budget: 'fast' is not a rate such as 2MB/s"):
        parse_policy('[transfer]\ndifference = false\nbudget = "fast"')


def test_an_empty_policy_is_the_defaults() -> None:
    assert parse_policy("") == Policy()


@pytest.mark.parametrize(
    ("text", "key", "line", "words"),
    [
        ("[waves]\ncanari = 1", "waves.canari", 2, "unknown key"),
        ("wave = 1", "wave", 1, "unknown key"),
        ("[waves]\nsoak_s = 3.0", "waves.soak_s", 2, "unknown key"),
        ("\n[trial]\nwindow = 600", "trial.window", 3, "600 is not a time"),
        ('[trial]\nsoak = "10 minutes"', "trial.soak", 2, "is not a time"),
        ('[trial]\nwindow = "2s"\nsoak = "1s"', "trial.window", 2, "a node takes 5s to 24h"),
        ('[trial]\nwindow = "1m"\nsoak = "1m"', "trial.soak", 3, "shorter than the window"),
        ('[waves]\ncanary = 1\nsteps = ["50%", "25%"]', "waves.steps", 3, "cumulative"),
        ('[waves]\nsteps = ["half"]', "waves.steps", 2, "a count or a share"),
        ('[waves]\nby = "site"\nsteps = ["100%"]', "waves.steps", 3, "not together"),
        ('[waves]\nby = "plant"', "waves.by", 2, "plant"),
        ("[waves]\nconcurrency = 0", "waves.concurrency", 2, "Expected `int` >= 1"),
        ('[failures]\nthreshold = "0%"', "failures.threshold", 2, "a count, or a share"),
        ("[failures]\nthreshold = 0", "failures.threshold", 2, ""),
        ('[window]\nfrom = "25:00"', "window.from", 2, "time of day"),
        ('[window]\nzone = "Vienna"', "window.zone", 2, "time zone"),
        ("[gate]\nerrors_share_max = 2.0", "gate.errors_share_max", 2, "<= 1.0"),
        ('success = "stop"', "success", 1, "stop"),
        ("[waves\n", "", 1, "Expected"),
        ("trial = 3", "trial", 1, "Expected `object`"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_key(text: str, key: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert (caught.value.key, caught.value.line) == (key, line)
    assert words in caught.value.message


def test_a_line_is_found_in_tables_dotted_keys_and_inline_tables() -> None:
    text = 'a.b = 1\n[t]\n"c" = 2\n[t.u]\nd = { e = 3 }\n'
    assert [line_of(text, path.split(".")) for path in ("a.b", "t.c", "t.u.d.e", "t.u", "x")] == [1, 3, 5, 4, 0]


@pytest.mark.parametrize(
    ("step", "total", "count"), [("25%", 10, 3), ("100%", 7, 7), ("1%", 3, 1), (5, 3, 3), (2, 9, 2)]
)
def test_steps_round_up_and_end_at_the_whole(step: int | str, total: int, count: int) -> None:
    assert percent_or_count(step, total) == count


# Saturday, 21 November 2026, 22:00 UTC.
SATURDAY_22 = 1_795_298_400.0


@pytest.mark.parametrize(
    ("hours", "is_it"),
    [(0, True), (3.9, True), (6, False), (-1, False), (24, True), (48, False), (27, True), (29, True), (30, False)],
)
def test_a_window_over_midnight_belongs_to_its_first_day(hours: float, is_it: bool) -> None:
    window = Window(days=("sat", "sun"), start="22:00", end="04:00")
    assert is_open(window, SATURDAY_22 + hours * 3_600) is is_it


def test_a_window_whose_ends_are_equal_is_the_whole_day_and_none_is_always() -> None:
    assert is_open(Window(days=("sat",)), SATURDAY_22)
    assert not is_open(Window(days=("sat",)), SATURDAY_22 + 3 * 3_600)
    assert is_open(None, 0.0)

"""Alert rules: what a file may say, what is wrong with others, and how delays and deadband work."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.health import default_rules, rules
from nodeagent.health.measures import MEASURES, Reading
from nodeagent.health.rule_book import RuleBook
from nodeagent.health.rule_watch import RuleWatch
from nodeagent.pipeline.errors import ConfigError
from nodeagent.settings import Settings

DEFAULTS = default_rules.defaults(Settings())
HOT = '[[alert]]\ncode = "PRESS.HOT"\nfigure = "bundle.score"\nhigh = 10\ndeadband = 2\n'


def parse(text: str, origin: str = rules.OPERATOR) -> tuple[rules.Rule, ...]:
    return rules.parse(text, file="alerts.toml", origin=origin, defaults=DEFAULTS)


WRONG = {
    "[[alert]\n": (1, "Expected ']]'"),
    "[alert]\ncode = 1\n": (1, "written [[alert]]"),
    '[[alert]]\ncode = "PRESS.HOT"\n': (1, "'figure' is missing"),
    '[[alert]]\nfigure = "bundle.score"\nhigh = 1\n': (1, "'code' is missing"),
    "[[rule]]\n": (1, "unknown key"),
    HOT + "limit = 3\n": (6, "unknown key"),
    HOT + 'on_delay = "10"\n': (6, "a duration is a number with its unit"),
    HOT + 'on_delay = "48h"\n': (6, "at most 24h"),
    HOT + "priority = 5\n": (6, "<= 4"),
    HOT + "low = 9\n": (6, "below high by more than the deadband"),
    HOT + "low = nan\n": (6, "a finite number"),
    HOT + "enabled = 1\n": (6, "expected true or false"),
    HOT.replace("deadband = 2", "deadband = -2"): (5, "0 or more"),
    HOT.replace("high = 10", 'high = "10"'): (4, "expected a number"),
    HOT.replace("high = 10\n", ""): (1, "'high' or 'low' is missing"),
    HOT.replace("bundle.score", "bundle.scores"): (3, "there is no 'bundle.scores'"),
    HOT.replace("PRESS.HOT", "press"): (2, "words in capitals"),
    HOT.replace("PRESS.HOT", "MODEL.ALARM"): (2, "raised by the agent itself"),
    HOT + HOT: (7, "already"),
    HOT + 'message = "' + "x" * 201 + '"\n': (6, "<= 200"),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.items(), ids=[f"{line} {why}" for line, why in WRONG.values()])
def test_a_wrong_rule_file_is_told_with_its_line(text: str, expected: tuple[int, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.line == expected[0]
    assert expected[1] in str(caught.value)


def test_a_bundle_may_only_have_rules_for_figures_of_its_own() -> None:
    text = '[[alert]]\ncode = "NODE.HOT"\nfigure = "host.temperature_c"\nhigh = 70\n'
    assert parse(text)
    with pytest.raises(ConfigError, match=r"alerts.toml:3: alert.figure: there is no 'host.temperature_c'"):
        parse(text, origin="press")


def test_a_rule_of_a_default_takes_over_what_it_does_not_say() -> None:
    (rule,) = parse('[[alert]]\ncode = "HOST.TEMPERATURE"\nhigh = 60\n')
    assert (rule.options.figure, rule.options.high, rule.options.priority) == ("host.temperature_c", 60.0, 2)
    assert rule.options.advice == "Check cooling and the cabinet's fan."


def test_every_default_names_a_figure_that_there_is_and_says_what_to_do() -> None:
    assert {rule.options.figure for rule in DEFAULTS} <= set(MEASURES)
    assert all(rule.options.advice for rule in DEFAULTS)


def standing_after(values: list[tuple[float, float | None]], text: str = HOT) -> list[bool]:
    """Whether the alert stands after each (second, value)."""
    watch, stands, found = RuleWatch(), frozenset[tuple[str, str]](), []
    for second, value in values:
        reading = Reading("bundle.score", "press", value, "press")
        conditions = watch.judge(parse(text), [reading], round(second * 1e6), stands)
        stands = frozenset(condition.key for condition in conditions)
        found.append(bool(stands))
    return found


def test_an_alert_clears_only_when_the_figure_is_better_by_the_deadband() -> None:
    assert standing_after([(0, 10.0), (1, 10.1), (2, 9.0), (3, 8.1), (4, 8.0)]) == [False, True, True, True, False]


def test_an_on_delay_is_counted_anew_when_the_figure_was_within_in_between() -> None:
    slow = HOT + 'on_delay = "5s"\n'
    values: list[tuple[float, float | None]] = [(0, 11.0), (4, 11.0), (5, 1.0), (6, 11.0), (10, 11.0), (11, 11.0)]
    assert standing_after(values, slow) == [False, False, False, False, False, True]


def test_an_off_delay_keeps_an_alert_until_the_figure_was_within_for_so_long() -> None:
    slow = HOT + 'off_delay = "5s"\n'
    values: list[tuple[float, float | None]] = [(0, 11.0), (1, 1.0), (5, 1.0), (6, 1.0)]
    assert standing_after(values, slow) == [True, True, True, False]


def test_a_figure_that_is_not_known_neither_raises_nor_clears() -> None:
    assert standing_after([(0, None), (1, 11.0), (2, None), (3, 1.0)]) == [False, True, True, False]


def test_what_the_operator_says_comes_before_the_bundle_and_that_before_the_default() -> None:
    def limit(*found: rules.Rule) -> list[str]:
        reading = Reading("bundle.rejects_share", "press", 0.9, "press")
        watch = RuleWatch()
        for second in (0, 60):
            conditions = watch.judge(found, [reading], second * 1_000_000, frozenset())
        return [condition.message for condition in conditions]

    off = parse('[[alert]]\ncode = "PREDICTIONS.REJECTED"\nenabled = false\n')
    brought = parse('[[alert]]\ncode = "PREDICTIONS.REJECTED"\nhigh = 0.8\n', origin="press")
    another = parse('[[alert]]\ncode = "PREDICTIONS.REJECTED"\nhigh = 0.7\n', origin="pump")
    assert "(limit 50 %)" in limit(*DEFAULTS)[0]
    assert "(limit 80 %)" in limit(*another, *brought, *DEFAULTS)[0]
    assert limit(*off, *brought, *DEFAULTS) == []


def test_rules_are_kept_over_a_restart_and_a_spoilt_file_leaves_the_defaults(tmp_path: Path) -> None:
    async def no_pipeline(digest: str) -> str:
        return ""

    RuleBook(tmp_path, Settings(), no_pipeline).set(HOT)
    book = RuleBook(tmp_path, Settings(), no_pipeline)
    assert book.load() == ""
    assert (book.text, book.in_force[0].options.code) == (HOT, "PRESS.HOT")
    (tmp_path / "alerts.toml").write_text(HOT + "limit = 3\n")
    spoilt = RuleBook(tmp_path, Settings(), no_pipeline)
    assert "alerts.toml:6: alert.limit: unknown key" in spoilt.load()
    assert spoilt.in_force == DEFAULTS

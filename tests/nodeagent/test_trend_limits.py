"""The limits that stand in a bundle's charts."""

from __future__ import annotations

import pytest

from nodeagent.health import default_rules, rules, trend_limits
from nodeagent.settings import Settings

DEFAULTS = default_rules.defaults(Settings())


def test_limits_are_those_of_the_rules_in_force_and_the_operators_come_first() -> None:
    text = (
        '[[alert]]\ncode = "PRESS.SLOW"\nfigure = "bundle.latency_ms_p95"\nhigh = 40\nonly = "press"\n'
        '[[alert]]\ncode = "PREDICTIONS.REJECTED"\nhigh = 0.1\n'
        '[[alert]]\ncode = "NODE.BUSY"\nfigure = "host.cpu_percent"\nhigh = 90\n'
    )
    own = rules.parse(text, file="alerts.toml", origin=rules.OPERATOR, defaults=DEFAULTS)
    found = {limit.code: (limit.figure, limit.value) for limit in trend_limits.of_rules((*own, *DEFAULTS), "press")}
    assert found == {
        "PRESS.SLOW": ("bundle.latency_ms_p95", 40.0),
        "PREDICTIONS.REJECTED": ("bundle.rejects_share", 0.1),
        "NODE.BUSY": ("host.cpu_percent", 90.0),
    }
    assert "PRESS.SLOW" not in {limit.code for limit in trend_limits.of_rules(own, "pump")}
    assert [limit.code for limit in trend_limits.of_rules((*own, *DEFAULTS), "")] == ["NODE.BUSY"]


def test_a_rule_that_is_switched_off_has_no_limit_and_hides_the_default() -> None:
    off = rules.parse('[[alert]]\ncode = "PREDICTIONS.REJECTED"\nenabled = false\n', file="a", origin=rules.OPERATOR,
                      defaults=DEFAULTS)  # fmt: skip
    assert trend_limits.of_rules((*off, *DEFAULTS), "press") == []


@pytest.mark.parametrize(
    ("decide", "sides"),
    [({"use": "alarm", "high": 3}, ["high"]), ({"low": 0.2}, ["low"]), ({"high": "${limit}"}, []), (None, [])],
)
def test_the_limit_of_the_decision_is_taken_as_the_bundle_says_it(decide: object, sides: list[str]) -> None:
    assert [limit.side for limit in trend_limits.of_decision({"decide": decide} if decide else {})] == sides

"""Times as people type them."""

from __future__ import annotations

from datetime import datetime

import pytest

from console.moments import MomentError, parse_moment

NOW = datetime(2026, 3, 12, 14, 2, 31)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("14:02", datetime(2026, 3, 12, 14, 2)),
        ("14:05", datetime(2026, 3, 11, 14, 5)),
        ("yesterday 6:30", datetime(2026, 3, 11, 6, 30)),
        ("12 Mar 14:00", datetime(2026, 3, 12, 14, 0)),
        ("13 March 14:00", datetime(2025, 3, 13, 14, 0)),
        ("1 Jan 2024 00:00:07", datetime(2024, 1, 1, 0, 0, 7)),
        ("2026-03-01 10:00", datetime(2026, 3, 1, 10, 0)),
        ("2h ago", datetime(2026, 3, 12, 12, 2, 31)),
        ("  90s ", datetime(2026, 3, 12, 14, 1, 1)),
    ],
)
def test_a_time_without_a_day_is_the_last_time_that_the_clock_showed_it(text: str, meant: datetime) -> None:
    assert parse_moment(text, NOW.timestamp()) == round(meant.timestamp() * 1e6)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "31 Feb 10:00", "14", "12 Mars Bar 10:00", "9" * 40 + "h ago"])
def test_what_is_no_time_says_what_is(text: str) -> None:
    with pytest.raises(MomentError, match="yesterday 6:30"):
        parse_moment(text, NOW.timestamp())

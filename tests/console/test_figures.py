"""Figures as people read them."""

from __future__ import annotations

import pytest

from console import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "?"), (0.0, "0"), (0.42, "0.42"), (9.999, "10.0"), (24.84, "24.8"), (411.6, "412"), (12_345.0, "12.3k"),
     (1.2e6, "1.2M")],
)  # fmt: skip
def test_numbers_have_the_digits_that_matter(value: float | None, text: str) -> None:
    assert figures.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.2, "1s"), (4.9, "3s"), (14.0, "10s"), (59.0, "45s"), (60.0, "1m"), (3_700.0, "1h"),
     (200_000.0, "2d")],
)  # fmt: skip
def test_ages_go_in_steps_so_that_cells_stay_as_they_are(seconds: float | None, text: str) -> None:
    assert figures.age(seconds) == text


def test_a_countdown_is_minutes_and_seconds() -> None:
    assert [figures.countdown(s) for s in (192.9, 59, 3_723, -1)] == ["3:12", "0:59", "1:02:03", "0:00"]


def test_sizes_and_offsets_carry_their_units() -> None:
    assert [figures.size(n) for n in (None, 312, 18_400, 2_480_000)] == ["?", "312 B", "18.4 kB", "2.5 MB"]
    assert [figures.offset(s) for s in (None, 0.0, 0.012, -3.2, 7_300.0)] == ["?", "0ms", "+12ms", "-3.2s", "+2h"]

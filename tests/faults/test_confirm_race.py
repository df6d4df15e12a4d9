"""Confirm and deadline meet within 50 ms of each other. `make faults` runs a thousand of them."""

from __future__ import annotations

from tests.faults import race

BOTH = {"COMMITTED", "DEPLOYMENT.ALREADY_ROLLED_BACK"}


def test_i3_i5_a_confirm_that_races_the_deadline_has_one_outcome_and_both_sides_know_it() -> None:
    outcomes, wrong = race.run(120)
    assert wrong == []
    assert set(outcomes) == BOTH
    assert min(outcomes.values()) > 10


def test_a_race_without_the_lock_is_found() -> None:
    assert race.run(400, locked=False)[1]

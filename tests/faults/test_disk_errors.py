"""A disk that refuses: a sample of the calls that `make faults` lets fail, all of them."""

from __future__ import annotations

from pathlib import Path

from tests.faults import errors
from tests.faults.planted import ON_ERRORS


def test_a_call_that_fails_is_told_as_such_and_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    tried, wrong = errors.run(tmp_path, step=29)
    assert wrong == []
    assert tried > 40


def test_an_error_that_is_swallowed_is_found(tmp_path: Path) -> None:
    assert errors.run(tmp_path, step=13, bug=ON_ERRORS)[1]

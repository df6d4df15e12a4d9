"""A kill and a power cut in a node's life, and the bugs that this has to find. `make faults` takes every point.

Figures and the reasons: a power cut with `synchronous=NORMAL` loses acknowledged rows that no kill ever loses.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import power
from tests.faults.planted import BUGS, UNSYNCED

STEP = 4
# Wrong for the length of a few writes only; any other bug leaves something that stays wrong.
NARROW = ("FlipInTwo", "ConfirmToldFirst", "HalfABinding", "NamesNotSynced", "BlobsNotSynced")


def step(bug: str) -> int:
    return 1 if bug in NARROW else STEP


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.build(tmp_path_factory.mktemp("disklog"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, library: Path) -> power.Run:
    """The correct life."""
    return power.live(tmp_path_factory.mktemp("life"), library)


def test_i1_i3_i4_i5_i6_i7_i15_i16_hold_after_a_kill_or_a_power_cut_at_any_point(run: power.Run) -> None:
    disks, wrong = power.violations(run, step=STEP)
    assert wrong == []
    assert len(run.events) > 300
    assert disks > 150


def test_i6_a_second_fault_while_it_recovers_from_the_first_leaves_the_same(
    run: power.Run, tmp_path: Path, library: Path
) -> None:
    pairs, wrong = power.double(run, tmp_path, library, 6)
    assert wrong == []
    assert pairs > 20


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(tmp_path: Path, library: Path, bug: str) -> None:
    _, wrong = power.violations(power.live(tmp_path, library, bug), stop=True, step=step(bug))
    assert wrong, bug


@pytest.mark.parametrize("bug", UNSYNCED)
def test_what_is_not_synced_is_found(run: power.Run, bug: str) -> None:
    _, wrong = power.violations(run, ignore=UNSYNCED[bug], stop=True, step=step(bug))
    assert wrong, bug


def test_a_commit_that_is_not_synced_is_found_by_a_power_cut_and_by_no_kill(tmp_path: Path, library: Path) -> None:
    _, wrong = power.violations(power.live(tmp_path, library, "SynchronousNormal"), step=STEP)
    assert any("I4" in text for text in wrong)
    assert any("I5" in text for text in wrong)
    assert not any(text.startswith("kill") for text in wrong)

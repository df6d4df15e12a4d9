"""A power cut or a kill while the agent itself is upgraded: the version that counts runs, or the one before it.

A part of the points; `make faults` takes every one (`upgrades`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import power, upgrades

STEP = 3


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.build(tmp_path_factory.mktemp("disklog"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, library: Path) -> power.Run:
    return upgrades.live(tmp_path_factory.mktemp("upgrades"), library)


def test_i1_i3_i5_i6_hold_for_the_agents_own_version_after_a_kill_or_a_power_cut_at_any_point(run: power.Run) -> None:
    disks, wrong = upgrades.violations(run, step=STEP)
    assert wrong == []
    assert disks > 60


@pytest.mark.parametrize("bug", upgrades.BUGS)
def test_a_bug_planted_in_an_upgrade_is_found(tmp_path: Path, library: Path, bug: str) -> None:
    assert upgrades.violations(upgrades.live(tmp_path, library, bug), stop=True)[1]


@pytest.mark.parametrize("bug", upgrades.UNSYNCED)
def test_what_an_upgrade_does_not_sync_is_found(run: power.Run, bug: str) -> None:
    assert upgrades.violations(run, ignore=upgrades.UNSYNCED[bug], stop=True)[1]

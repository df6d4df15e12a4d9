"""What a launcher finds written down decides which version runs: after a kill at any moment it is old, or confirmed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nodeagent.processes.versions import Installed, Versions

OLD, NEW = "0.1.0-a", "0.2.0-b"


class Still:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_us, self.boot = 1_000_000, "one"

    def boottime_us(self) -> int:
        return self.now_us

    def wall_us(self) -> int:
        return 0

    def boot_id(self) -> str:
        return self.boot


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    for version in (OLD, NEW):
        (tmp_path / "versions" / version).mkdir(parents=True)
        (tmp_path / "versions" / version / "installed.json").write_text(json.dumps({"python": f"/usr/bin/{version}"}))
    return Installed(tmp_path / "versions", OLD)


@pytest.fixture
def clock() -> Still:
    return Still()


def order(version: str = NEW, **more: Any) -> dict[str, Any]:
    return {"upgrade": "u1", "version": version, "window_s": 60.0, "actor": "alice", **more}


def again(tmp_path: Path, clock: Still, installed: Installed) -> Versions:
    """The next launcher on the same state."""
    return Versions(tmp_path, clock, installed)


def test_the_command_and_the_packages_are_those_of_the_version_on_trial(
    tmp_path: Path, clock: Still, installed: Installed
) -> None:
    versions = again(tmp_path, clock, installed)
    assert versions.command(["python", "-m", "x"]) == ["python", "-m", "x"]
    assert versions.begin(order())
    assert not versions.begin(order())
    assert versions.command(["python", "-m", "x"]) == [f"/usr/bin/{NEW}", "-P", "-m", "x"]
    assert versions.environment({"A": "1"}) == {"A": "1", "PYTHONPATH": str(installed.folder / NEW / "site")}


def test_killed_before_the_file_is_there_nothing_happened(tmp_path: Path, clock: Still, installed: Installed) -> None:
    (tmp_path / ".upgrade.json.tmp").write_text('{"half')
    assert again(tmp_path, clock, installed).running == OLD


def test_killed_in_the_trial_the_version_before_is_back_and_stays(
    tmp_path: Path, clock: Still, installed: Installed
) -> None:
    again(tmp_path, clock, installed).begin(order())
    for _ in range(2):
        versions = again(tmp_path, clock, installed)
        assert (versions.running, versions.upgrade and versions.upgrade.reason) == (OLD, "INTERRUPTED")


def test_killed_after_the_confirm_the_new_version_stays(tmp_path: Path, clock: Still, installed: Installed) -> None:
    versions = again(tmp_path, clock, installed)
    versions.begin(order())
    versions.confirm("u1")
    clock.boot = "two"
    assert again(tmp_path, clock, installed).running == NEW


def test_a_confirm_and_a_deadline_have_one_outcome(tmp_path: Path, clock: Still, installed: Installed) -> None:
    versions = again(tmp_path, clock, installed)
    versions.begin(order())
    clock.now_us += 60_000_000
    assert versions.is_due()
    with pytest.raises(ValueError, match="time was over"):
        versions.confirm("u1")
    versions.expire()
    assert versions.running == OLD
    with pytest.raises(ValueError, match="UNCONFIRMED"):
        versions.confirm("u1")


def test_a_disk_that_takes_nothing_does_not_keep_the_new_version(
    tmp_path: Path, clock: Still, installed: Installed
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    versions = Versions(state, clock, installed)
    versions.begin(order())
    (state / "upgrade.json").unlink()
    (state / "upgrade.json").mkdir()
    versions.expire()
    assert versions.running == OLD


def test_another_launcher_does_not_take_what_was_meant_for_this_one(
    tmp_path: Path, clock: Still, installed: Installed
) -> None:
    versions = again(tmp_path, clock, installed)
    versions.begin(order())
    versions.confirm("u1")
    assert Versions(tmp_path, clock, Installed(installed.folder, NEW)).upgrade is None


def test_a_version_that_was_taken_away_is_not_started(tmp_path: Path, clock: Still, installed: Installed) -> None:
    versions = again(tmp_path, clock, installed)
    versions.begin(order())
    versions.confirm("u1")
    (installed.folder / NEW / "installed.json").unlink()
    assert versions.running == OLD


@pytest.mark.parametrize("text", ["", "null", "[]", '{"id": 1}', "\x00"])
def test_a_file_that_cannot_be_read_is_no_upgrade(
    tmp_path: Path, clock: Still, installed: Installed, text: str
) -> None:
    (tmp_path / "upgrade.json").write_text(text)
    assert again(tmp_path, clock, installed).running == OLD


def test_where_there_is_one_version_nothing_changes(tmp_path: Path, clock: Still) -> None:
    versions = Versions(tmp_path, clock, None)
    assert versions.show() == {"running": "", "launcher": "", "installed": []}
    with pytest.raises(ValueError, match="not installed"):
        versions.begin(order())

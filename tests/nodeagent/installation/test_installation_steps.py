"""What the installer does on a node: unzips strictly, flips at once, remembers, and takes back only what is ours."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from nodeagent.installation import boot, journal, place, unpack, wipe
from nodeagent.installation.journal import SetupError, load
from nodeagent.installation.keeper import pids_of, take_lock
from nodeagent.installation.layout import Layout


def wheel(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


def named(path: Path, *members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(name, "x")
    return path


def test_a_wheel_is_unzipped_without_the_console_and_with_its_data_where_it_is_found(tmp_path: Path) -> None:
    made = named(
        tmp_path / "w",
        "nodeagent/a.py",
        "console/b.py",
        "widgets/c.py",
        "outstation-1.data/purelib/d.py",
        "outstation-1.data/scripts/e",
    )
    unpack.unpack([("outstation-1-py3-none-any.whl", made)], tmp_path / "site")
    found = sorted(str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*.py"))
    assert found == ["d.py", "nodeagent/a.py"]
    assert not (tmp_path / "site" / "e").exists()


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil.py", "a/../../evil.py", "a\\..\\evil.py"])
def test_a_wheel_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SetupError, match="holds"):
        unpack.unpack([("a.whl", named(tmp_path / "w", name))], tmp_path / "site")
    assert not (tmp_path / "evil.py").exists()


def test_versions_that_nothing_needs_are_removed_and_a_half_removed_one_is_none(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / "state")
    for version in ("1", "2", "3"):
        (layout.versions / version / "site").mkdir(parents=True)
        (layout.versions / version / "installed.json").write_text("{}")
    (layout.versions / "1" / "installed.json").unlink()
    assert place.switch(layout, "2") == ""
    assert place.prune(layout, {"2", "3"}) == ["1"]
    assert place.prune(layout, {"2", "3"}) == []
    assert [place.is_placed(layout, version) for version in ("1", "2", "3")] == [False, True, True]


def test_two_wheels_with_the_same_file_are_refused(tmp_path: Path) -> None:
    wheels = [("a.whl", named(tmp_path / "a", "x.py")), ("b.whl", named(tmp_path / "b", "x.py"))]
    with pytest.raises(SetupError, match="both hold"):
        unpack.unpack(wheels, tmp_path / "site")


def test_a_damaged_copy_is_named_and_removed_so_that_it_is_sent_again(tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(b"right")
    unpack.check(staged, hashlib.sha256(b"right").hexdigest())
    with pytest.raises(SetupError, match="damaged"):
        unpack.check(staged, "0" * 64)
    assert not staged.exists()
    with pytest.raises(SetupError, match="was not copied"):
        unpack.check(staged, "0" * 64)


def test_the_link_flips_to_an_installed_version_alone_and_says_what_was_before(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / "state")
    for version in ("1", "2"):
        (layout.versions / version).mkdir(parents=True)
        (layout.versions / version / "installed.json").write_text("{}")
    assert place.switch(layout, "1") == ""
    assert place.switch(layout, "2") == "1"
    assert place.switch(layout, "2") == ""
    assert layout.current.resolve() == layout.versions / "2"
    with pytest.raises(SetupError, match="not installed"):
        place.switch(layout, "3")


def test_the_line_at_boot_is_there_once_before_an_exit_and_gone_without_a_trace(tmp_path: Path) -> None:
    before = "#!/bin/sh\nother\n\nexit 0\n"
    once = boot.with_line(before, "ours")
    assert once == f"#!/bin/sh\nother\n\nours {boot.MARK}\nexit 0\n"
    assert boot.with_line(once, "ours") == once
    assert boot.without_line(once) == before
    assert boot.with_line("", "ours") == f"ours {boot.MARK}\n"


def test_an_rc_local_that_holds_only_our_line_is_made_and_removed_and_another_one_stays(tmp_path: Path) -> None:
    layout, path = Layout(tmp_path, tmp_path / "state"), tmp_path / "rc.local"
    boot.add_to_rc_local(layout, path)
    assert path.stat().st_mode & 0o777 == 0o755
    assert f"{layout.keeper()} {tmp_path} >/dev/null 2>&1 & {boot.MARK}" in path.read_text()
    boot.remove_from_rc_local(path)
    assert not path.exists()
    path.write_text("#!/bin/sh\nother\n")
    boot.add_to_rc_local(layout, path)
    boot.remove_from_rc_local(path)
    assert path.read_text() == "#!/bin/sh\nother\n"


def test_an_act_is_written_down_once_and_read_back(tmp_path: Path) -> None:
    kept = load(tmp_path / "bootstrap.json")
    kept.state = "/s"
    kept.will("crontab")
    kept.will("crontab")
    again = load(tmp_path / "bootstrap.json")
    assert (again.state, again.acts) == ("/s", [{"act": "crontab"}])
    (tmp_path / "bootstrap.json").write_text('{"format": 2}')
    with pytest.raises(SetupError, match="cannot be read"):
        load(tmp_path / "bootstrap.json")


def test_wiping_takes_the_folders_that_were_made_and_leaves_what_somebody_else_put_there(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "made" / "outstation", tmp_path / "made" / "outstation" / "state")
    kept = load(layout.journal)
    place.begin(layout, kept)
    layout.state.mkdir()
    (layout.state / "node.id").write_text("n")
    mine = layout.prefix / "notes.txt"
    mine.write_text("mine")
    assert wipe.wipe(layout, load(layout.journal), keep_state=False) == [f"{layout.prefix}: notes.txt"]
    assert mine.exists()
    assert not layout.state.exists()
    mine.unlink()
    assert wipe.wipe(layout, load(layout.journal), keep_state=False) == []
    assert not layout.prefix.exists()


def test_a_state_folder_that_is_no_nodes_is_never_removed(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "p", tmp_path / "documents")
    layout.state.mkdir()
    (layout.state / "letter.txt").write_text("x")
    place.begin(layout, load(layout.journal))
    assert wipe.wipe(layout, load(layout.journal), keep_state=False) == [
        f"{layout.state}: it does not look like a node's"
    ]
    assert (layout.state / "letter.txt").exists()


def test_wiping_with_the_state_kept_leaves_the_state_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "p", tmp_path / "p" / "state")
    place.begin(layout, journal.load(layout.journal))
    layout.state.mkdir()
    (layout.state / "node.db").write_text("x")
    assert wipe.wipe(layout, load(layout.journal), keep_state=True) == []
    assert [path.name for path in layout.prefix.iterdir()] == ["state"]


def test_a_lock_tells_a_living_keeper_from_the_file_of_a_dead_one(tmp_path: Path) -> None:
    path = tmp_path / "keeper.lock"
    assert pids_of(path) == []
    path.write_text("1 2")
    assert pids_of(path) == []
    assert take_lock(path) is not None
    assert len(pids_of(path)) == 1
    assert take_lock(path) is None

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from store import durable, errors


def test_a_written_file_has_its_content_and_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        durable.write_file(tmp_path / "a", b"one", 0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_file_whose_writing_fails_stays_as_it_was_and_leaves_no_temporary(tmp_path: Path) -> None:
    durable.write_file(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError, match="half way"):
        _write_half(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_in_the_way_is_replaced_and_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"keep")
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    durable.write_file(tmp_path / "a", b"new")
    assert (tmp_path / "secret").read_bytes() == b"keep"
    assert not (tmp_path / "a").is_symlink()


def test_appending_to_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"keep")
    (tmp_path / "log").symlink_to(tmp_path / "secret")
    with pytest.raises(errors.StoreError):
        durable.append(tmp_path / "log", b"more")
    assert (tmp_path / "secret").read_bytes() == b"keep"


def test_append_says_how_long_the_file_is_now(tmp_path: Path) -> None:
    assert durable.append(tmp_path / "log", b"ab") == 2
    assert durable.append(tmp_path / "log", b"c", sync=False) == 3


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.x1.tmp", "a.tmp", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    assert durable.remove_temporaries(tmp_path) == 1
    assert sorted(os.listdir(tmp_path)) == [".hidden", "a.tmp"]


def test_new_folders_get_the_mode_and_old_ones_keep_theirs(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir(mode=0o755)
    durable.make_dir(tmp_path / "old" / "new" / "deep")
    modes = [stat.S_IMODE((tmp_path / path).stat().st_mode) for path in ("old", "old/new", "old/new/deep")]
    assert modes == [0o755, 0o700, 0o700]


def test_a_part_grows_at_its_end_and_takes_a_repeated_piece_but_no_gap(tmp_path: Path) -> None:
    part = durable.Part(tmp_path / "p")
    assert part.write_at(0, b"abc") == 3
    assert part.write_at(1, b"bcd") == 4
    with pytest.raises(ValueError, match="past the end"):
        part.write_at(9, b"x")
    assert part.path.read_bytes() == b"abcd"


def test_after_a_reboot_a_part_is_cut_back_to_what_was_synced(tmp_path: Path) -> None:
    part = durable.Part(tmp_path / "p")
    part.write_at(0, bytes(durable.Part.SYNC_BYTES + 5))
    assert part.settle() == durable.Part.SYNC_BYTES
    assert part.size() == durable.Part.SYNC_BYTES


def test_ballast_takes_its_room_gives_it_up_once_and_takes_it_again(tmp_path: Path) -> None:
    ballast = durable.Ballast(tmp_path / "ballast", 1 << 20)
    ballast.create()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 1 << 20
    assert (ballast.release(), ballast.release(), ballast.held()) == (True, False, False)
    ballast.create()
    assert ballast.held()


def test_only_this_file_of_the_packages_writes_syncs_or_renames() -> None:
    root = Path(__file__).parents[2]
    calls = (
        "os.fsync",
        "os.fdatasync",
        "os.rename",
        "os.replace",
        ".write_bytes(",
        ".write_text(",
    )
    found = [
        f"{path.relative_to(root)}: {call}"
        for package in ("store", "nodeagent", "console")
        for path in sorted((root / package).rglob("*.py"))
        for call in calls
        if call in path.read_text() and path != root / "store" / "durable.py"
    ]
    # The demo's plant lives in a folder that is thrown away with it. The installer places thousands of files, syncs
    # once and then renames one folder; it runs on a node before there is anything else of ours.
    # What pip reads to build a kit is thrown away, too.
    apart = ("console/demo/", "nodeagent/installation/", "console/kit/wheels.py")
    assert [line for line in found if not line.startswith(apart)] == []


def _write_half(path: Path) -> None:
    with durable.replacing(path) as file:
        file.write(b"new")
        raise RuntimeError("half way")

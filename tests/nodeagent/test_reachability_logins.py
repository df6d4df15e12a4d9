"""Which login a peer came by, read from /proc as sshd leaves it."""

from __future__ import annotations

import os
from pathlib import Path

from nodeagent.deployment import reachability


def process(proc: Path, pid: int, name: str, parent: int, started_ticks: int) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    fields = ["S", str(parent), *["0"] * 17, str(started_ticks), "0"]
    (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")


def test_for_stream_local_the_peer_is_sshd_itself(tmp_path: Path) -> None:
    process(tmp_path, 9, "sshd-session", 8, 12_345)
    process(tmp_path, 8, "sshd", 1, 100)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    assert reachability.login_us(9, proc=tmp_path) == 12_345 * 1_000_000 // ticks_per_s
    assert reachability.is_from_afar(9, proc=tmp_path)


def test_for_the_bridge_it_is_the_nearest_sshd_above(tmp_path: Path) -> None:
    process(tmp_path, 20, "python3 (evil) x", 19, 900)
    process(tmp_path, 19, "bash", 18, 890)
    process(tmp_path, 18, "sshd", 7, 500)
    process(tmp_path, 7, "sshd", 1, 10)
    assert reachability.login_us(20, proc=tmp_path) == 500 * 1_000_000 // os.sysconf("SC_CLK_TCK")
    assert not reachability.is_from_afar(20, proc=tmp_path)


def test_what_cannot_be_seen_proves_nothing(tmp_path: Path) -> None:
    process(tmp_path, 5, "python3", 1, 10)
    assert reachability.login_us(5, proc=tmp_path) is None
    assert reachability.login_us(4_000, proc=tmp_path) is None
    assert reachability.login_us(-1, proc=tmp_path) is None
    assert reachability.is_from_afar(4_000, proc=tmp_path)


def test_a_circle_of_parents_ends(tmp_path: Path) -> None:
    process(tmp_path, 5, "a", 6, 10)
    process(tmp_path, 6, "b", 5, 10)
    assert reachability.login_us(5, proc=tmp_path) is None


def test_this_test_came_by_no_login_or_an_earlier_one() -> None:
    began_us = reachability.login_us(os.getpid())
    assert began_us is None or began_us > 0

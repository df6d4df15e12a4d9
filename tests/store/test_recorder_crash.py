"""Killed and cut off: every row offered is there or inside a counted gap, and every acknowledged row is there."""

import contextlib
import fcntl
import os
import random
import re
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store import records
from store.recorder import Recorder, Row

CHILD = Path(__file__).with_name("recorder_child.py")
ROOT = Path(__file__).resolve().parents[2]
_SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
_WITHOUT_LOG_FLUSH = 2


class Told:
    """What the child said before it died: rows offered for certain, rows perhaps, keys acknowledged."""

    def __init__(self, text: str) -> None:
        self.offered = max([int(n) for n in re.findall(r"^offered (\d+)$", text, re.M)], default=0)
        self.acknowledged = max([int(n) for n in re.findall(r"^committed (\d+)$", text, re.M)], default=0)
        self.done = "done" in text


def spawn(folder: Path, rate: int, seconds: float, boot: int, mode: str = "FULL") -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), str(rate), str(seconds), str(boot), mode],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def kill(child: subprocess.Popen[bytes]) -> Told:
    child.kill()
    assert child.stdout is not None
    told = Told(child.stdout.read().decode())
    child.wait()
    child.stdout.close()
    return told


def begin(folder: Path, boot: int, **settings: int) -> Recorder:
    return Recorder(
        folder, bundle="child", revision=1, digest="", config="", boot_number=boot,
        clock_us=lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000, free_bytes_min=0, free_share_min=0.0,
        **settings,
    )  # fmt: skip


def restart(folder: Path, boot: int) -> None:
    begin(folder, boot).close()


def read(folder: Path) -> tuple[list[tuple[int, int]], list[records.Gap]]:
    rows: list[tuple[int, int]] = []
    gaps: list[records.Gap] = []
    after: int | None = 0
    while after is not None:
        page = records.query(folder, after=after, limit=records.LIMIT_MAX, deadline_s=20)
        rows += [(record.key, record.source_us or 0) for record in page.records]
        gaps += page.gaps
        after = page.next
    return rows, gaps


def unexplained(rows: list[tuple[int, int]], gaps: list[records.Gap]) -> int:
    """Rows missing between neighbours that no gap between them counts; the rows must be in order."""
    assert rows == sorted(rows), "keys and row numbers do not rise together"
    assert len({key for key, _ in rows}) == len(rows), "a key is there twice"
    missing = 0
    ends = [(0, -1), *rows]
    for (key, number), (next_key, next_number) in zip(ends, rows, strict=False):
        hole = next_number - number - 1
        if hole:
            missing += hole - sum(gap.lost for gap in gaps if key < gap.key_from <= next_key)
    return missing


@pytest.mark.parametrize("seed", [1, 2])
def test_i4_50_000_rows_a_second_and_kill_9_leave_every_row_present_or_counted(tmp_path, seed):
    folder = tmp_path / "rec"
    child = spawn(folder, 50_000, 30, boot=7)
    time.sleep(random.Random(seed).uniform(1.2, 2.2))
    told = kill(child)
    restart(folder, boot=7)
    rows, gaps = read(folder)
    assert told.offered > 20_000
    assert unexplained(rows, gaps) == 0
    after_last = sum(gap.lost for gap in gaps if gap.key_from > rows[-1][0])
    total = rows[-1][1] + 1 + after_last
    assert told.offered <= total <= told.offered + 5_000
    assert rows[-1][0] >= told.acknowledged


def test_three_kills_in_a_row_keep_the_order_and_the_count(tmp_path):
    folder = tmp_path / "rec"
    offered = 0
    for _ in range(3):
        child = spawn(folder, 20_000, 30, boot=7)
        time.sleep(0.4)
        offered += kill(child).offered
    restart(folder, boot=7)
    rows, gaps = read(folder)
    keys = [key for key, _ in rows]
    assert keys == sorted(set(keys))
    assert offered <= len(rows) + sum(gap.lost for gap in gaps) <= offered + 15_000


def test_a_process_that_dies_before_its_first_commit_is_counted(tmp_path):
    folder = tmp_path / "rec"
    code = (
        "import os, sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
        "from store.recorder import Recorder, Row\n"
        "r = Recorder(pathlib.Path(sys.argv[1]), bundle='b', revision=1, digest='', config='', boot_number=7,"
        " clock_us=lambda: 5, commit_s=60, commit_rows=10**6)\n"
        "r.offer_many([Row(0, n, 0, None, '', '', 0, '', None, None) for n in range(321)])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(ROOT)], check=False)
    restart(folder, boot=7)
    rows, gaps = read(folder)
    assert rows == []
    assert [(gap.lost, gap.reason) for gap in gaps] == [(321, "recorder ended")]


@contextlib.contextmanager
def disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system on a loop device, for a power cut. Where none can be mounted, the test fails and says why."""
    image, mount = tmp_path / "disk.img", tmp_path / "mnt"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(96 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], capture_output=True, text=True, check=False)
    mounted = made.returncode == 0 and attach(image, mount)
    if not mounted:
        why = made.stderr or f"mount -o loop {image} failed: root and loop devices are needed"
        pytest.fail(f"NOT RUN: {why.strip()}")
    try:
        yield mount
    finally:
        detach(mount)


def attach(image: Path, mount: Path) -> bool:
    return subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=False).returncode == 0


def detach(mount: Path) -> None:
    subprocess.run(["umount", str(mount)], check=True)


def cut_power(mount: Path) -> None:
    fd = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG_FLUSH))
    finally:
        os.close(fd)


def after_power_cut(tmp_path: Path, mode: str) -> tuple[Told, list[tuple[int, int]], list[records.Gap]]:
    with disk(tmp_path) as mount:
        child = spawn(mount / "rec", 5_000, 30, boot=7, mode=mode)
        time.sleep(1.0)
        cut_power(mount)
        told = kill(child)
        detach(mount)
        assert attach(tmp_path / "disk.img", mount)
        restart(mount / "rec", boot=8)
        return told, *read(mount / "rec")


def test_a_disk_that_fills_up_never_holds_the_caller_and_what_it_cost_is_counted(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(mount)], check=False)
    if made.returncode:
        pytest.fail("NOT RUN: a tmpfs cannot be mounted; root is needed")
    try:
        ballast = mount / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        recorder = begin(mount / "rec", boot=7, queue_rows=2_000)
        slowest_s = 0.0
        for n in range(0, 30_000, 50):
            start_s = time.monotonic()
            recorder.offer_many([Row(n + i, n + i, 0, None, "", "", 0, "", bytes(64), None) for i in range(50)])
            slowest_s = max(slowest_s, time.monotonic() - start_s)
            time.sleep(0.0005)
        assert recorder.counters.state == "disk full"
        ballast.unlink()
        assert recorder.flush(10)
        recorder.offer(Row(30_000, 30_000, 0, None, "", "", 0, "", None, None))
        recorder.close()
        rows, gaps = read(mount / "rec")
    finally:
        detach(mount)
    assert slowest_s < 1.0
    assert unexplained(rows, gaps) == 0
    assert rows[-1][1] == 30_000
    assert {gap.reason for gap in gaps} == {"disk full"}


def test_i4_a_power_cut_takes_no_acknowledged_row_and_leaves_a_gap(tmp_path):
    told, rows, gaps = after_power_cut(tmp_path, "FULL")
    assert told.acknowledged
    assert rows[-1][0] >= told.acknowledged
    assert unexplained(rows, gaps) == 0
    assert [gap.reason for gap in gaps if gap.key_from > rows[-1][0]] == ["power cut, at least"]


def test_the_power_cut_test_sees_the_fault_that_synchronous_normal_would_be(tmp_path):
    def loses(attempt: int) -> bool:
        folder = tmp_path / str(attempt)
        folder.mkdir()
        told, rows, _ = after_power_cut(folder, "NORMAL")
        assert told.acknowledged
        return not rows or rows[-1][0] < told.acknowledged

    # A checkpoint just before the cut may save the rows once; five times in a row it does not.
    assert any(loses(attempt) for attempt in range(5))

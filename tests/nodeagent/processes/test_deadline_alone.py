"""A trial's deadline is kept by the launcher when no supervisor is there to keep it (I3)."""

import contextlib
import os
import signal
import socket
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from nodeagent.processes.deadline import GRACE_US, STUCK_US, Armed, Row, Verdict, judge
from nodeagent.processes.deadline_row import read_row
from store.migrations import migrate_node

WINDOW_US = 1_200_000


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000


def write_row(state: Path, row_state: str, deadline_us: int) -> None:
    with contextlib.closing(sqlite3.connect(state / "node.db")) as connection, connection:
        connection.execute("delete from deployments")
        connection.execute(
            "insert into deployments (id, bundle, version, digest, epoch, sequence, state, revision, boot_id,"
            " deadline_us, window_us, actor, created_wall_us, changed_wall_us, changed_boottime_us, reason)"
            " values ('d1', 'press', '2', 'sha256:0', 1, 1, ?, 2, 'b', ?, 1, 'alice', 0, 0, 0, ?)",
            (row_state, deadline_us, "UNCONFIRMED" if row_state == "ROLLED_BACK" else None),
        )


def spec(state: Path, worker: str, revision: int) -> dict[str, Any]:
    return {
        "worker": worker,
        "bundle": "press",
        "revision": revision,
        "role": "active",
        "document": {"worker": worker, "revision": revision, "folder": str(state)},
        "listeners": {"model": "m-press", "control": f"w-{worker}"},
        "limits": {},
    }


def answering(state: Path) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(state / "run" / "m-press.sock"))
        return sock.recv(100).decode().strip()


@pytest.fixture
def on_trial(node, state, until):
    """A node whose revision 2 is on trial for two seconds, revision 1 given to the launcher to go back to."""
    migrate_node(state / "node.db")
    node.start()
    node.ask("spawn", spec=spec(state, "new", 2))
    until(lambda: answering(state), "revision 2 answers")
    deadline_us = now_us() + WINDOW_US
    write_row(state, "TRIAL", deadline_us)
    node.ask("arm", deadline_us=deadline_us, spec=spec(state, "old", 1))
    node.deadline_us = deadline_us
    return node


def went_back_s(node, state, until) -> float:
    """Seconds past the deadline at which revision 1 answers."""
    until(lambda: answering(state) == "old r1", "revision 1 answers")
    return (now_us() - node.deadline_us) / 1e6


def test_i3_a_supervisor_stopped_before_the_deadline_does_not_keep_the_new_revision(on_trial, state, until, frozen):
    supervisor = on_trial.ask("tell")["pid"]
    frozen(supervisor)
    assert went_back_s(on_trial, state, until) > 0
    told = until(lambda: (got := on_trial.ask_once("tell"))["pid"] != supervisor and got, "another supervisor")
    assert told["went_back"] == ["d1"]
    assert [worker["worker"] for worker in told["running"]] == ["old"]


def test_i3_a_dead_supervisor_that_never_comes_back_does_not_keep_the_new_revision(on_trial, state, until):
    end_s = time.monotonic() + 30
    while answering(state) != "old r1":
        assert time.monotonic() < end_s
        with contextlib.suppress(OSError, ValueError, ProcessLookupError):
            os.kill(on_trial.ask_once("tell")["pid"], signal.SIGKILL)
        time.sleep(0.02)
    assert now_us() > on_trial.deadline_us


def test_a_committed_trial_stays_although_nobody_disarmed_it(on_trial, state, until, frozen):
    write_row(state, "COMMITTED", on_trial.deadline_us)
    supervisor = on_trial.ask("tell")["pid"]
    frozen(supervisor)
    until(lambda: on_trial.ask_once("tell")["pid"] != supervisor, "the silent supervisor is replaced")
    assert answering(state) == "new r2"


def test_an_extension_in_the_row_counts_although_it_was_not_armed_again(on_trial, state, until, frozen):
    later_us = on_trial.deadline_us + 600_000
    write_row(state, "TRIAL", later_us)
    frozen(on_trial.ask("tell")["pid"])
    until(lambda: answering(state) == "old r1", "revision 1 answers")
    assert now_us() > later_us


def test_a_living_supervisor_is_left_to_keep_its_deadline_itself(on_trial, state, until):
    until(lambda: now_us() > on_trial.deadline_us + GRACE_US + 1_000_000, "the deadline passes")
    assert answering(state) == "new r2"


def test_a_trial_that_was_disarmed_is_left_alone_whatever_the_row_says(on_trial, state, until, frozen):
    on_trial.ask("disarm")
    frozen(on_trial.ask("tell")["pid"])
    until(lambda: now_us() > on_trial.deadline_us + GRACE_US + 1_000_000, "the deadline passes")
    assert answering(state) == "new r2"


def test_i3_a_deadline_that_passed_while_the_launcher_was_stopped_is_judged_on_waking(on_trial, state, until, frozen):
    supervisor = on_trial.ask("tell")["pid"]
    frozen(supervisor)
    frozen(on_trial.process.pid)
    until(lambda: now_us() > on_trial.deadline_us + 1_500_000, "the deadline passes")
    assert answering(state) == "new r2"
    os.kill(on_trial.process.pid, signal.SIGCONT)
    until(lambda: answering(state) == "old r1", "revision 1 answers")


ARMED = Armed("press", "d1", 1_000_000, None)
LATE = 1_000_000 + GRACE_US
STUCK = 1_000_000 + STUCK_US
TRIAL = Row("TRIAL", 1_000_000)


@pytest.mark.parametrize(
    ("row", "now", "supervised", "verdict"),
    [
        (TRIAL, LATE, False, Verdict.GO_BACK),
        (TRIAL, LATE - 1, False, Verdict.WAIT),
        (TRIAL, LATE, True, Verdict.WAIT),
        (TRIAL, STUCK, True, Verdict.GO_BACK),
        (Row("ROLLED_BACK", None), LATE, False, Verdict.GO_BACK),
        (Row("ROLLED_BACK", None), STUCK, True, Verdict.WAIT),
        (Row("COMMITTED", None), STUCK, False, Verdict.FORGET),
        (Row("COMMITTED", None), STUCK, True, Verdict.FORGET),
        (None, LATE, False, Verdict.GO_BACK),
        (Row("TRIAL", 9_000_000), LATE, False, Verdict.WAIT),
        (Row("TRIAL", 9_000_000), 9_000_000 + GRACE_US, False, Verdict.GO_BACK),
        (Row("TRIAL", 500_000), LATE - 1, False, Verdict.WAIT),
    ],
)
def test_the_verdict_on_an_armed_trial(row, now, supervised, verdict):
    assert judge(ARMED, row, now_us=now, supervised=supervised) is verdict


def test_a_row_is_read_while_its_writer_holds_it_and_none_where_there_is_no_database(state):
    assert read_row(state / "node.db", "d1") is None
    migrate_node(state / "node.db")
    write_row(state, "TRIAL", 5)
    with contextlib.closing(sqlite3.connect(state / "node.db", isolation_level=None)) as writer:
        writer.execute("begin immediate")
        assert read_row(state / "node.db", "d1") == Row("TRIAL", 5)
        writer.execute("rollback")
    assert read_row(state / "node.db", "other") is None

"""Lives with one bug each, which the harness has to find. `python -m tests.faults.planted STATE BUG` lives one of them.

The list is that of the mistakes which updaters were seen to make: what is not synced, what is not one transaction, what
is told too early, what recovery makes of it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from store import db
from store.errors import StoreError
from store.node import revisions
from store.node.deployments import Deployment
from tests.faults.disk import Event
from tests.faults.life import MINUTE_US, Life


class Correct(Life):
    """No bug."""


class SynchronousNormal(Life):
    """A commit is not synced."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.connection.execute("PRAGMA synchronous=NORMAL")


class FlipInTwo(Life):
    """The state and the active row change in two transactions."""

    def begin(self, id_: str) -> Deployment:
        before = revisions.active(self.connection, "b") or revisions.Active("b", None, None, None)
        with db.transaction(self.connection):
            row = super().begin(id_)
            after = revisions.active(self.connection, "b")
            revisions.set_active(self.connection, before)
        assert after is not None
        revisions.set_active(self.connection, after)
        return row


class ConfirmToldFirst(Life):
    """The confirm is acknowledged and then committed."""

    def confirm(self, id_: str) -> None:
        self.tell(id=id_, state="COMMITTED")
        super().confirm(id_)


class ErrorsSwallowed(Life):
    """A confirm that the disk refused is acknowledged."""

    def confirm(self, id_: str) -> None:
        with contextlib.suppress(StoreError):
            super().confirm(id_)
        self.tell(id=id_, state="COMMITTED")


class FloorAtTrial(Life):
    """The floor rises with the flip."""

    def begin(self, id_: str) -> Deployment:
        with db.transaction(self.connection):
            row = super().begin(id_)
            revisions.raise_floor(self.connection, "b", revisions.Floor(row.epoch, row.sequence))
        return row


class DeadlineInMemory(Life):
    """The row holds a time that never comes: the schema refuses a trial without any."""

    def begin(self, id_: str) -> Deployment:
        with db.transaction(self.connection):
            row = super().begin(id_)
            self.connection.execute("UPDATE deployments SET deadline_us = 1 << 60 WHERE id = ?", (id_,))
        return row


class ResumeExtends(Life):
    """A restart of the agent gives the trial more time."""

    def resume(self, id_: str) -> None:
        super().resume(id_)
        self.connection.execute("UPDATE deployments SET deadline_us = deadline_us + 1 WHERE id = ?", (id_,))


class RowBeforeBlobs(Life):
    """The row that names the blobs comes before them."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self._later: list[bytes] = []

    def send(self, data: bytes) -> str:
        self._later.append(data)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def confirm(self, id_: str) -> None:
        super().confirm(id_)
        for data in self._later:
            super().send(data)


class WayBackForgotten(Life):
    """A rollback leaves the active row."""

    def roll_back(self, id_: str) -> Deployment:
        active = revisions.active(self.connection, "b")
        assert active is not None
        with db.transaction(self.connection):
            row = super().roll_back(id_)
            revisions.set_active(self.connection, active)
        return row


class HalfABinding(Life):
    """The revision of the bindings and its trial are two transactions."""

    def bind(self, number: int) -> None:
        self.add_bindings(number)
        self.stage_binding(number)
        self.try_binding(number)


class CollectsTheActive(Life):
    """What the active revision needs is taken for unused."""

    def kept(self) -> set[str]:
        return set()


class TemporariesStay(Life):
    """Recovery leaves what was half written."""

    @staticmethod
    def recover(state: Path, rebooted: bool) -> None:
        left = {path: path.read_bytes() for path in state.glob(".*.tmp")}
        Life.recover(state, rebooted)
        for path, data in left.items():
            path.write_bytes(data)


class RecoveryUndoesConfirm(Life):
    """A reboot takes the newest revision for one on trial, whatever its row says."""

    @staticmethod
    def recover(state: Path, rebooted: bool) -> None:
        Life.recover(state, rebooted)
        with contextlib.closing(db.open_writer(state / "node.db")) as connection:
            active = revisions.active(connection, "b")
            if rebooted and active is not None and active.previous:
                revisions.set_active(connection, active._replace(revision=active.previous))


class RecoveryExtends(Life):
    """A start in the same boot begins the window anew."""

    @staticmethod
    def recover(state: Path, rebooted: bool) -> None:
        Life.recover(state, rebooted)
        with contextlib.closing(db.open_writer(state / "node.db")) as connection:
            connection.execute("UPDATE deployments SET deadline_us = ? WHERE state = 'TRIAL'", (5 * MINUTE_US,))


LIVES: dict[str, type[Life]] = {
    made.__name__: made
    for made in (
        Correct, SynchronousNormal, FlipInTwo, ConfirmToldFirst, FloorAtTrial, DeadlineInMemory, ResumeExtends,
        RowBeforeBlobs, WayBackForgotten, HalfABinding, CollectsTheActive, TemporariesStay, RecoveryUndoesConfirm,
        RecoveryExtends,
    )
}  # fmt: skip

BUGS = [bug for bug in LIVES if bug != "Correct"]

# A bug that only a failing disk shows.
ON_ERRORS = ErrorsSwallowed.__name__
LIVES[ON_ERRORS] = ErrorsSwallowed

# Bugs in syncing: what the disk is told and this leaves out of the log. Each is a rule for (event, path).
UNSYNCED: dict[str, Callable[[Event, str], bool]] = {
    "BlobsNotSynced": lambda event, path: event.letter == "S" and "/uploads/" in path,
    "NamesNotSynced": lambda event, path: event.letter == "D" and "/blobs/" in path,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.planted", description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("bug", choices=LIVES)
    asked = parser.parse_args()
    life = LIVES[asked.bug](asked.state)
    life.live()
    life.close()


if __name__ == "__main__":
    main()

"""Rollouts as the console keeps them: plans that never change, where each wave and node is, and what was asked of whom.

In the console's database, beside the catalog, with migrations of its own. Every method is one durable transaction.
Synchronous: call it in one thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from store import db, migrations
from store.db import transaction

MIGRATION_SET = "rollouts"
STEPS = {
    "0001_rollouts": """
CREATE TABLE rollout (
  id TEXT PRIMARY KEY, digest TEXT NOT NULL, plan BLOB NOT NULL, archive TEXT NOT NULL, state TEXT NOT NULL,
  want TEXT NOT NULL, why TEXT NOT NULL, operator TEXT NOT NULL, created_wall_s REAL NOT NULL,
  changed_wall_s REAL NOT NULL
);
CREATE TRIGGER plans_stand BEFORE UPDATE OF id, digest, plan ON rollout
  BEGIN SELECT RAISE(ABORT, 'a plan is never edited'); END;
CREATE TABLE wave (
  rollout TEXT NOT NULL REFERENCES rollout (id), number INTEGER NOT NULL, state TEXT NOT NULL, verdict TEXT NOT NULL,
  accepted_by TEXT NOT NULL, changed_wall_s REAL NOT NULL, PRIMARY KEY (rollout, number)
);
CREATE TABLE target (
  rollout TEXT NOT NULL REFERENCES rollout (id), node TEXT NOT NULL, wave INTEGER NOT NULL, goal TEXT NOT NULL,
  state TEXT NOT NULL, attempt INTEGER NOT NULL, deployment TEXT NOT NULL, asked TEXT NOT NULL, flips INTEGER NOT NULL,
  cause TEXT NOT NULL, detail TEXT NOT NULL, hint TEXT NOT NULL, debt INTEGER NOT NULL, trial_s REAL NOT NULL,
  trial_left_s REAL NOT NULL, soaked_us INTEGER NOT NULL, seen_boot TEXT NOT NULL, seen_us INTEGER NOT NULL,
  before TEXT NOT NULL, after TEXT NOT NULL, changed_wall_s REAL NOT NULL, PRIMARY KEY (rollout, node)
);
CREATE TABLE oplog (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL REFERENCES rollout (id), node TEXT NOT NULL,
  op TEXT NOT NULL, deployment TEXT NOT NULL, operator TEXT NOT NULL, asked_wall_s REAL NOT NULL,
  outcome TEXT NOT NULL, ended_wall_s REAL
);
CREATE INDEX oplog_open ON oplog (rollout, node) WHERE ended_wall_s IS NULL;
""",
    "0002_verdicts": """
ALTER TABLE target ADD COLUMN gate TEXT NOT NULL DEFAULT '';
ALTER TABLE target ADD COLUMN shadow TEXT NOT NULL DEFAULT '';
""",
}
OPLOG_ROWS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One rollout. `plan` are the bytes that `digest` names; `want`: what a person asked of it and is not done yet."""

    id: str
    digest: str
    plan: bytes
    archive: str
    state: str
    want: str
    why: str
    operator: str
    created_wall_s: float
    changed_wall_s: float


@dataclass(frozen=True, slots=True)
class WaveRow:
    """One wave. `verdict` is the gate's last one, as JSON, with its figures."""

    rollout: str
    number: int
    state: str = "waiting"
    verdict: str = ""
    accepted_by: str = ""
    changed_wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One node of a rollout.

    `goal`: new, or old while it is reverted. `asked`: the operation whose outcome is not known. `flips`: how often
    this attempt asked for the switch. `debt`: it did not answer and is owed. `trial_s` of the trial by the node's
    clock, `trial_left_s` until it goes back. `soaked_us` since the commit by CLOCK_BOOTTIME, last seen at `seen_us`
    of `seen_boot`. `before`, `after`: samples of the previous and the new revision, as JSON. `gate`, `shadow`: the
    verdicts of the recorder gate and of the shadow on this node, as JSON.
    """

    rollout: str
    node: str
    wave: int
    goal: str = "new"
    state: str = "waiting"
    attempt: int = 1
    deployment: str = ""
    asked: str = ""
    flips: int = 0
    cause: str = ""
    detail: str = ""
    hint: str = ""
    debt: int = 0
    trial_s: float = 0.0
    trial_left_s: float = 0.0
    soaked_us: int = 0
    seen_boot: str = ""
    seen_us: int = 0
    before: str = ""
    after: str = ""
    changed_wall_s: float = 0.0
    gate: str = ""
    shadow: str = ""


@dataclass(frozen=True, slots=True)
class OpRow:
    """One thing that was asked of a node. `outcome` is empty while it is not known."""

    seq: int
    rollout: str
    node: str
    op: str
    deployment: str
    operator: str
    asked_wall_s: float
    outcome: str
    ended_wall_s: float | None


R = TypeVar("R", RolloutRow, WaveRow, TargetRow, OpRow)


class Rollouts:
    """The rollouts in the console's database at `path`, made where there is none. Raises StoreError kinds."""

    def __init__(self, path: Path) -> None:
        self._connection = db.open_shared(path)
        migrations.migrate(self._connection, MIGRATION_SET, STEPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    # -- reading

    def rollouts(self, limit: int = 1_000) -> list[RolloutRow]:
        """Newest first."""
        return self._read(RolloutRow, "rollout", "1 ORDER BY created_wall_s DESC, id LIMIT ?", (limit,))

    def rollout(self, id_: str) -> RolloutRow | None:
        """The rollout of that id."""
        return next(iter(self._read(RolloutRow, "rollout", "id = ?", (id_,))), None)

    def waves(self, rollout: str) -> list[WaveRow]:
        """In order."""
        return self._read(WaveRow, "wave", "rollout = ? ORDER BY number", (rollout,))

    def targets(self, rollout: str) -> list[TargetRow]:
        """By wave, then by name."""
        return self._read(TargetRow, "target", "rollout = ? ORDER BY wave, node", (rollout,))

    def operations(self, rollout: str, node: str = "", limit: int = OPLOG_ROWS_MAX) -> list[OpRow]:
        """What was asked, newest first; of one node, or of all."""
        where = "rollout = ? AND ? IN ('', node) ORDER BY seq DESC LIMIT ?"
        return self._read(OpRow, "oplog", where, (rollout, node, limit))

    def _read(self, kind: type[R], table: str, where: str, values: Iterable[Any]) -> list[R]:
        names = ", ".join(field.name for field in fields(kind))
        return [
            kind(*row) for row in self._connection.execute(f"SELECT {names} FROM {table} WHERE {where}", (*values,))
        ]

    # -- writing

    def plan(self, rollout: RolloutRow, waves: Iterable[WaveRow], targets: Iterable[TargetRow]) -> None:
        """Keeps a new rollout. sqlite3.IntegrityError for an id that is there."""
        with transaction(self._connection):
            rows: list[RolloutRow | WaveRow | TargetRow] = [rollout, *waves, *targets]
            for row in rows:
                _insert(self._connection, row)

    def set_rollout(self, id_: str, *, wall_s: float, **values: str) -> None:
        """Changes state, want or why."""
        with transaction(self._connection):
            _set_rollout(self._connection, id_, wall_s, values)

    def change(
        self,
        id_: str,
        *,
        wall_s: float,
        rollout: dict[str, str] | None = None,
        waves: Iterable[WaveRow] = (),
        targets: Iterable[TargetRow] = (),
    ) -> None:
        """Where the rollout, waves and nodes are now, all or nothing."""
        with transaction(self._connection):
            rows: list[WaveRow | TargetRow] = [*waves, *targets]
            for row in rows:
                _replace(self._connection, row, wall_s)
            if rollout:
                _set_rollout(self._connection, id_, wall_s, rollout)

    def ask(self, target: TargetRow, op: str, operator: str, *, wall_s: float) -> int:
        """Writes the intent, before the node is asked; `target` as it is from now on. The intent's number."""
        with transaction(self._connection):
            _replace(self._connection, target, wall_s)
            row = (target.rollout, target.node, op, target.deployment, operator, wall_s)
            sql = "INSERT INTO oplog (rollout, node, op, deployment, operator, asked_wall_s, outcome) "
            cursor = self._connection.execute(sql + "VALUES (?, ?, ?, ?, ?, ?, '')", row)
            return int(cursor.lastrowid or 0)

    def answer(self, target: TargetRow, outcome: str, seq: int = 0, *, wall_s: float) -> None:
        """Writes what the node answered; with `seq` that intent's outcome, otherwise that of every open one."""
        with transaction(self._connection):
            _answer(self._connection, target, outcome, seq, wall_s)

    def answers(self, found: Iterable[tuple[TargetRow, str]], *, wall_s: float) -> None:
        """As `answer` without `seq`, for what came together: one sync of the disk for all."""
        with transaction(self._connection):
            for target, outcome in found:
                _answer(self._connection, target, outcome, 0, wall_s)


def _insert(connection: sqlite3.Connection, row: RolloutRow | WaveRow | TargetRow) -> None:
    values = astuple(row)
    names, marks = ", ".join(field.name for field in fields(row)), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {_TABLES[type(row)]} ({names}) VALUES ({marks})", values)


def _replace(connection: sqlite3.Connection, row: WaveRow | TargetRow, wall_s: float) -> None:
    names = [field.name for field in fields(row)]
    key = "node" if isinstance(row, TargetRow) else "number"
    pairs = ", ".join(f"{name} = :{name}" for name in names)
    values = {name: getattr(row, name) for name in names} | {"changed_wall_s": wall_s}
    sql = f"UPDATE {_TABLES[type(row)]} SET {pairs} WHERE rollout = :rollout AND {key} = :{key}"
    connection.execute(sql, values)


def _answer(connection: sqlite3.Connection, target: TargetRow, outcome: str, seq: int, wall_s: float) -> None:
    _replace(connection, target, wall_s)
    which = "seq = ?" if seq else "rollout = ? AND node = ? AND ended_wall_s IS NULL"
    values = (seq,) if seq else (target.rollout, target.node)
    if seq or not target.asked:
        sql = f"UPDATE oplog SET outcome = ?, ended_wall_s = ? WHERE {which}"
        connection.execute(sql, (outcome, wall_s, *values))


def _set_rollout(connection: sqlite3.Connection, id_: str, wall_s: float, values: dict[str, str]) -> None:
    pairs = "".join(f"{name} = ?, " for name in values)
    connection.execute(f"UPDATE rollout SET {pairs}changed_wall_s = ? WHERE id = ?", (*values.values(), wall_s, id_))


_TABLES: dict[type, str] = {RolloutRow: "rollout", WaveRow: "wave", TargetRow: "target"}

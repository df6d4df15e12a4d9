"""Reports of one-way nodes on the console: the newest of each, and which numbers came: loss and replay are seen.

In the console's database, beside the catalog. A number that came twice with another content is kept as a problem until
a person accepts it. Synchronous: call it in one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from store import catalog, db, migrations
from store.db import transaction

MIGRATION_SET = "one_way"
STEPS = {
    "0001_one_way": """
CREATE TABLE one_way_number (
  node_id TEXT NOT NULL, sequence INTEGER NOT NULL, digest TEXT NOT NULL, taken_wall_s REAL NOT NULL,
  PRIMARY KEY (node_id, sequence)
) WITHOUT ROWID;
CREATE TABLE one_way_newest (
  node_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, taken_wall_s REAL NOT NULL, source TEXT NOT NULL,
  document BLOB NOT NULL
);
CREATE TABLE one_way_problem (node_id TEXT PRIMARY KEY, text TEXT NOT NULL, found_wall_s REAL NOT NULL);
"""
}
NUMBERS_MAX: Final = 20_000
Outcome = Literal["new", "late", "known", "doubled"]


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest report of a node. `taken_wall_s`: when it came here first, by this console's clock.

    `lost`: numbers below it, as far back as they are kept, that never came. `problem`: why they are not believed.
    """

    node_id: str
    sequence: int
    taken_wall_s: float
    source: str
    document: bytes
    lost: int
    problem: str


class Reports:
    """The reports in the console's database at `path`. Raises StoreError kinds."""

    def __init__(self, path: Path) -> None:
        self._connection = db.open_shared(path)
        migrations.migrate(self._connection, catalog.MIGRATION_SET, catalog.STEPS)
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

    def take(self, node_id: str, sequence: int, digest: str, document: bytes, *, source: str, wall_s: float) -> Outcome:
        """Keeps a report whose signature counted.

        `known`: it was here already, as when it is played again; its age stays what it was. `late`: an older one that
        had not come. `doubled`: another one bore its number.
        """
        with transaction(self._connection):
            before = self._digest(node_id, sequence)
            if before is not None:
                return "known" if before == digest else self._doubled(node_id, sequence, source, wall_s)
            self._connection.execute(
                "INSERT INTO one_way_number VALUES (?, ?, ?, ?)", (node_id, sequence, digest, wall_s)
            )
            last = self._last(node_id)
            if last is not None and sequence < last:
                return "late"
            self._connection.execute(
                "INSERT INTO one_way_newest VALUES (?, ?, ?, ?, ?) ON CONFLICT (node_id) DO UPDATE SET "
                "sequence = excluded.sequence, taken_wall_s = excluded.taken_wall_s, source = excluded.source, "
                "document = excluded.document",
                (node_id, sequence, wall_s, source, document),
            )
            self._connection.execute(
                "DELETE FROM one_way_number WHERE node_id = ? AND sequence <= ?", (node_id, sequence - NUMBERS_MAX)
            )
            return "new"

    def newest(self, node_id: str) -> Newest | None:
        """The newest report; None: nothing came yet."""
        row = self._connection.execute(
            "SELECT sequence, taken_wall_s, source, document FROM one_way_newest WHERE node_id = ?", (node_id,)
        ).fetchone()
        if row is None:
            return None
        first, count = self._connection.execute(
            "SELECT min(sequence), count(*) FROM one_way_number WHERE node_id = ?", (node_id,)
        ).fetchone()
        problem = self._connection.execute("SELECT text FROM one_way_problem WHERE node_id = ?", (node_id,)).fetchone()
        lost = row[0] - first + 1 - count
        sequence, taken_wall_s, source, document = row
        return Newest(
            node_id, sequence, taken_wall_s, source, document, lost=lost, problem=problem[0] if problem else ""
        )

    def accept(self, node_id: str) -> bool:
        """Ends a problem by a person's word. False: there was none."""
        with transaction(self._connection):
            return self._connection.execute("DELETE FROM one_way_problem WHERE node_id = ?", (node_id,)).rowcount > 0

    def _doubled(self, node_id: str, sequence: int, source: str, wall_s: float) -> Outcome:
        text = (
            f"two different reports bear the number {sequence} (seen in: {source}): the node's folder was copied or "
            "taken back to an earlier state"
        )
        self._connection.execute(
            "INSERT INTO one_way_problem VALUES (?, ?, ?) ON CONFLICT (node_id) DO NOTHING", (node_id, text, wall_s)
        )
        return "doubled"

    def _digest(self, node_id: str, sequence: int) -> str | None:
        row = self._connection.execute(
            "SELECT digest FROM one_way_number WHERE node_id = ? AND sequence = ?", (node_id, sequence)
        ).fetchone()
        return None if row is None else str(row[0])

    def _last(self, node_id: str) -> int | None:
        row = self._connection.execute("SELECT sequence FROM one_way_newest WHERE node_id = ?", (node_id,)).fetchone()
        return None if row is None else int(row[0])

"""Copies of nodes' ledgers on the console: every entry that was verified, and what was wrong with a chain.

In the console's database, beside the catalog, whose anchors move here and nowhere else. A copy only grows, and only by
what extends it. A break that was found stays until a person accepts it with a reason; then a new chapter begins with
what the node shows by then, and the old one is kept. Synchronous: call it in one thread.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from store import catalog, db, ledger, migrations
from store.db import transaction
from store.ledger import Break, Entry, Head

MIGRATION_SET = "histories"
STEPS = {
    "0001_histories": """
CREATE TABLE history (
  node_id TEXT NOT NULL, chapter INTEGER NOT NULL, seq INTEGER NOT NULL, boot_id TEXT NOT NULL,
  boottime_us INTEGER NOT NULL, wall_us INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  subject TEXT NOT NULL, detail TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
  PRIMARY KEY (node_id, chapter, seq)
) WITHOUT ROWID;
CREATE TRIGGER history_is_not_edited BEFORE UPDATE ON history
  BEGIN SELECT RAISE(ABORT, 'a history only grows'); END;
CREATE TRIGGER history_is_not_cut BEFORE DELETE ON history
  BEGIN SELECT RAISE(ABORT, 'a history only grows'); END;
CREATE TABLE history_break (
  node_id TEXT NOT NULL, chapter INTEGER NOT NULL, kind TEXT NOT NULL, seq INTEGER NOT NULL, text TEXT NOT NULL,
  source TEXT NOT NULL, found_wall_s REAL NOT NULL, accepted_by TEXT NOT NULL DEFAULT '',
  accepted_why TEXT NOT NULL DEFAULT '', PRIMARY KEY (node_id, chapter)
);
"""
}
AGENT = "agent"
LATELY = 100
_ENTRY = "seq, boot_id, boottime_us, wall_us, actor, action, subject, detail, previous, hash"


@dataclass(frozen=True, slots=True)
class KnownBreak:
    """A break that stands. `source`: where it was seen, as `node` or the name of a file."""

    node_id: str
    found: Break
    source: str
    found_wall_s: float

    def __str__(self) -> str:
        return f"ledger {self.found.kind.upper()}: {self.found.text} (seen in: {self.source})"


@dataclass(frozen=True, slots=True)
class Chain:
    """The copy of one node's ledger: how far it is verified, when that was last so, what was done last, its break.

    `newest` is the newest entry of a person, or of the agent where no person did anything lately.
    """

    node_id: str
    head: Head
    verified_wall_s: float | None
    newest: Entry | None
    broken: KnownBreak | None


class Histories:
    """The copies in the console's database at `path`, made where there are none. Raises StoreError kinds."""

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

    # -- reading

    def nodes(self) -> list[str]:
        """Ids of the nodes with a copy."""
        return [row[0] for row in self._connection.execute("SELECT DISTINCT node_id FROM history ORDER BY node_id")]

    def chains(self) -> list[Chain]:
        """Every node of which something was verified, or whose chain is broken."""
        verified = dict(self._connection.execute("SELECT node_id, seen_wall_s FROM anchors").fetchall())
        broken = {found.node_id: found for found in self.breaks()}
        return [self._chain(node_id, verified, broken) for node_id in sorted(verified.keys() | broken.keys())]

    def _chain(self, node_id: str, verified: dict[str, float], broken: dict[str, KnownBreak]) -> Chain:
        head = self.head(node_id)
        lately = self.entries(node_id, after=max(0, head.seq - LATELY))
        newest = next((entry for entry in reversed(lately) if entry.actor != AGENT), lately[-1] if lately else None)
        return Chain(node_id, head, verified.get(node_id), newest, broken.get(node_id))

    def newest(self, node_id: str, limit: int) -> list[Entry]:
        """The last `limit` entries of the copy, oldest first."""
        return self.entries(node_id, after=max(0, self.head(node_id).seq - limit))

    def head(self, node_id: str) -> Head:
        """The last entry of the copy; (0, GENESIS) where there is none."""
        row = self._connection.execute(
            "SELECT seq, hash FROM history WHERE node_id = ? AND chapter = ? ORDER BY seq DESC LIMIT 1",
            (node_id, self._chapter(node_id)),
        ).fetchone()
        return Head(*row) if row else Head(0, ledger.GENESIS)

    def anchor(self, node_id: str) -> Head:
        """The furthest head ever verified: past the copy where a console of before the copies verified more."""
        row = self._connection.execute("SELECT seq, hash FROM anchors WHERE node_id = ?", (node_id,)).fetchone()
        return max(self.head(node_id), Head(*row) if row else Head(0, ledger.GENESIS), key=lambda head: head.seq)

    def entries(self, node_id: str, *, after: int = 0, limit: int = 1 << 62) -> list[Entry]:
        """Entries of the copy with `seq > after`, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_ENTRY} FROM history WHERE node_id = ? AND chapter = ? AND seq > ? ORDER BY seq LIMIT ?",
            (node_id, self._chapter(node_id), after, limit),
        )
        return [_entry(row) for row in rows]

    def broken(self, node_id: str) -> KnownBreak | None:
        """The break that stands for the node."""
        return next((found for found in self.breaks() if found.node_id == node_id), None)

    def breaks(self) -> list[KnownBreak]:
        """Every break that no person has accepted."""
        rows = self._connection.execute(
            "SELECT node_id, kind, seq, text, source, found_wall_s FROM history_break "
            "WHERE accepted_by = '' ORDER BY node_id"
        )
        return [KnownBreak(row[0], Break(*row[1:4]), row[4], row[5]) for row in rows]

    # -- what a visit or a file brings

    def extend(
        self,
        node_id: str,
        entries: Sequence[Entry],
        *,
        end: Head | None = None,
        source: str = "node",
        wall_s: float,
    ) -> Break | None:
        """Takes `entries`, which follow the copy, and moves the anchor; or keeps the break that it finds.

        `end` is the head that the node shows when these are the last entries. A node whose break stands takes nothing.
        """
        with transaction(self._connection):
            if (standing := self.broken(node_id)) is not None:
                return standing.found
            found = self._judge(node_id, entries, end)
            if found is not None:
                self._keep_break(node_id, found, source, wall_s)
                return found
            self._append(node_id, entries)
            self._move_anchor(node_id, wall_s)
            return None

    def merge(self, node_id: str, entries: Sequence[Entry], *, source: str, wall_s: float) -> tuple[int, Break | None]:
        """Takes another console's copy, from its first entry on: how many were new, and what is wrong.

        A copy that is whole in itself and differs from ours is a fork of the node. One that is not whole in itself is
        the file's fault: that is answered and not kept.
        """
        broken = ledger.find_break(Head(0, ledger.GENESIS), entries)
        if broken is not None:
            return 0, broken
        ours = {entry.seq: entry.hash for entry in self.entries(node_id)}
        parted = next((entry for entry in entries if ours.get(entry.seq, entry.hash) != entry.hash), None)
        if parted is not None:
            text = f"entry {parted.seq} is another one in {source} than here: the node showed two histories"
            found = Break("forked", parted.seq, text)
            with transaction(self._connection):
                if self.broken(node_id) is None:
                    self._keep_break(node_id, found, source, wall_s)
            return 0, found
        new = [entry for entry in entries if entry.seq not in ours]
        return len(new), self.extend(node_id, new, source=source, wall_s=wall_s)

    def accept(self, node_id: str, *, by: str, why: str) -> bool:
        """Ends a break by a person's word: a new chapter begins at what the node shows next. False: none stands."""
        with transaction(self._connection):
            if self.broken(node_id) is None:
                return False
            self._connection.execute(
                "UPDATE history_break SET accepted_by = ?, accepted_why = ? WHERE node_id = ? AND accepted_by = ''",
                (by, why, node_id),
            )
            self._connection.execute("DELETE FROM anchors WHERE node_id = ?", (node_id,))
            return True

    # -- inside

    def _chapter(self, node_id: str) -> int:
        """The number of breaks that were accepted: entries after them are another chain."""
        row = self._connection.execute(
            "SELECT count(*) FROM history_break WHERE node_id = ? AND accepted_by <> ''", (node_id,)
        ).fetchone()
        return int(row[0])

    def _judge(self, node_id: str, entries: Sequence[Entry], end: Head | None) -> Break | None:
        kept, anchor = self.head(node_id), self.anchor(node_id)
        if end is not None and end.seq < anchor.seq:
            return ledger.find_break(anchor, (), end)
        if (found := ledger.find_break(kept, entries, end)) is not None:
            return found
        at_anchor = next((entry.hash for entry in entries if entry.seq == anchor.seq), anchor.hash)
        if at_anchor != anchor.hash:
            return Break("forked", anchor.seq, f"entry {anchor.seq} is not the one that had been verified")
        return None

    def _append(self, node_id: str, entries: Iterable[Entry]) -> None:
        chapter = self._chapter(node_id)
        self._connection.executemany(
            f"INSERT INTO history (node_id, chapter, {_ENTRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(node_id, chapter, *entry._replace(detail=_json(entry.detail))) for entry in entries],  # type: ignore[arg-type]
        )

    def _move_anchor(self, node_id: str, wall_s: float) -> None:
        head = self.anchor(node_id)
        if head.seq:
            self._connection.execute(
                "INSERT INTO anchors (node_id, seq, hash, seen_wall_s) VALUES (?, ?, ?, ?) ON CONFLICT (node_id) "
                "DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seen_wall_s = excluded.seen_wall_s",
                (node_id, *head, wall_s),
            )

    def _keep_break(self, node_id: str, found: Break, source: str, wall_s: float) -> None:
        self._connection.execute(
            "INSERT INTO history_break (node_id, chapter, kind, seq, text, source, found_wall_s) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (node_id, self._chapter(node_id), *found, source, wall_s),
        )


def _json(detail: dict[str, Any]) -> str:
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _entry(row: sqlite3.Row | tuple[Any, ...]) -> Entry:
    return Entry(*row)._replace(detail=json.loads(row[7]))

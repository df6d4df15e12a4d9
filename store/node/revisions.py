"""What each activation put on the node, which one is active, and the floor below which no bundle is new."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

_COLUMNS = "bundle, revision, version, digest, signature, epoch, sequence, binding_revision, deployment, since_us"


class Revision(NamedTuple):
    """One activation of a bundle. `digest` and `signature` name its manifest's and signature's blobs."""

    bundle: str
    revision: int
    version: str
    digest: str
    signature: str
    epoch: int
    sequence: int
    binding_revision: int
    deployment: str
    since_us: int


class Active(NamedTuple):
    """A bundle's row: what serves (None: stopped), what served before it, what was last committed."""

    bundle: str
    revision: int | None
    previous: int | None
    good: int | None


class Floor(NamedTuple):
    """The highest (epoch, sequence) ever committed."""

    epoch: int
    sequence: int


def active(connection: sqlite3.Connection, bundle: str) -> Active | None:
    """The bundle's row; None when no deployment of it ever reached its trial."""
    row = connection.execute(
        "SELECT bundle, revision, previous, good FROM active WHERE bundle = ?", (bundle,)
    ).fetchone()
    return Active(*row) if row else None


def all_active(connection: sqlite3.Connection) -> list[Active]:
    """The row of every bundle, by name."""
    rows = connection.execute("SELECT bundle, revision, previous, good FROM active ORDER BY bundle")
    return [Active(*row) for row in rows]


def revision(connection: sqlite3.Connection, bundle: str, number: int) -> Revision | None:
    """One revision."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM revisions WHERE bundle = ? AND revision = ?", (bundle, number)
    ).fetchone()
    return Revision(*row) if row else None


def revisions(connection: sqlite3.Connection, bundle: str | None = None, limit: int = 1_000) -> list[Revision]:
    """Newest first, of one bundle or of all."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM revisions WHERE ? IS NULL OR bundle = ? ORDER BY since_us DESC, revision DESC LIMIT ?",
        (bundle, bundle, limit),
    )
    return [Revision(*row) for row in rows]


def floor(connection: sqlite3.Connection, bundle: str) -> Floor | None:
    """The bundle's floor; None before its first commit."""
    row = connection.execute("SELECT epoch, sequence FROM floors WHERE bundle = ?", (bundle,)).fetchone()
    return Floor(*row) if row else None


def before(connection: sqlite3.Connection, bundle: str, number: int | None) -> int | None:
    """The revision that `number` took over from."""
    row = connection.execute(
        "SELECT previous_revision FROM deployments WHERE bundle = ? AND revision = ?", (bundle, number)
    ).fetchone()
    return row[0] if row else None


def digests_kept(connection: sqlite3.Connection) -> set[str]:
    """Blobs (manifests and signatures) that must stay: active, previous and last good revisions, open deployments.

    While a trial runs, also what its rollback would make the previous revision. What a manifest names stays with
    it; `store.bundle.blobs_named` lists that.
    """
    rows = connection.execute(
        "SELECT r.digest, r.signature FROM active AS a JOIN revisions AS r ON r.bundle = a.bundle "
        "AND r.revision IN (a.revision, a.previous, a.good, (SELECT d.previous_revision FROM deployments AS d "
        "WHERE d.bundle = a.bundle AND d.revision = a.previous)) UNION "
        "SELECT digest, signature FROM deployments WHERE state NOT IN ('COMMITTED', 'ROLLED_BACK', 'REFUSED')"
    )
    return {digest for row in rows for digest in row if digest}


def add(connection: sqlite3.Connection, new: Revision) -> None:
    """Writes a revision's row; part of a trial's transaction."""
    connection.execute(f"INSERT INTO revisions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", new)


def next_number(connection: sqlite3.Connection, bundle: str) -> int:
    """The number of the bundle's next revision, from 1."""
    row = connection.execute("SELECT coalesce(max(revision), 0) + 1 FROM revisions WHERE bundle = ?", (bundle,))
    return int(row.fetchone()[0])


def set_active(connection: sqlite3.Connection, row: Active) -> None:
    """Replaces the bundle's row; only trials do this."""
    connection.execute("INSERT OR REPLACE INTO active (bundle, revision, previous, good) VALUES (?, ?, ?, ?)", row)


def raise_floor(connection: sqlite3.Connection, bundle: str, to: Floor) -> None:
    """Raises the floor to `to` where it is lower; only a commit does this (I16)."""
    now = floor(connection, bundle)
    if now is None:
        connection.execute("INSERT INTO floors (bundle, epoch, sequence) VALUES (?, ?, ?)", (bundle, *to))
    elif to > now:
        connection.execute("UPDATE floors SET epoch = ?, sequence = ? WHERE bundle = ?", (*to, bundle))

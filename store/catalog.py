"""What the console keeps: nodes, bundles, the last ledger head seen of each node, deployments it started, settings.

It holds no secret and no truth about a node: that is asked of the node. Several consoles of one person may have the
file open at once, the command line beside the application. Synchronous: call it in one thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlite_utils

from store import db, ledger, migrations
from store.db import transaction

MIGRATION_SET = "catalog"
STEPS = {
    "0001_catalog": """
CREATE TABLE nodes (
  name TEXT PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL, user TEXT NOT NULL, jumps TEXT NOT NULL,
  socket TEXT NOT NULL, agent TEXT NOT NULL, site TEXT NOT NULL, line TEXT NOT NULL, machine TEXT NOT NULL,
  labels TEXT NOT NULL, node_id TEXT NOT NULL, identity_files TEXT NOT NULL, proxy_command TEXT NOT NULL
);
CREATE UNIQUE INDEX nodes_by_id ON nodes (node_id) WHERE node_id <> '';
CREATE TABLE bundles (
  digest TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, epoch INTEGER NOT NULL,
  sequence INTEGER NOT NULL, path TEXT NOT NULL, size_bytes INTEGER NOT NULL, signer TEXT NOT NULL,
  facts TEXT NOT NULL, added_wall_s REAL NOT NULL
);
CREATE TABLE anchors (
  node_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL, seen_wall_s REAL NOT NULL
);
CREATE TRIGGER anchors_go_forward BEFORE UPDATE ON anchors WHEN NEW.seq < OLD.seq
  BEGIN SELECT RAISE(ABORT, 'an anchor only moves forward'); END;
CREATE TABLE deployments (
  id TEXT PRIMARY KEY, node TEXT NOT NULL, node_id TEXT NOT NULL, digest TEXT NOT NULL, operator TEXT NOT NULL,
  window_s REAL NOT NULL, started_wall_s REAL NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL,
  ended_wall_s REAL
);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
""",
    "0002_one_way": """
ALTER TABLE nodes ADD COLUMN one_way_key TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN one_way_age_s REAL NOT NULL DEFAULT 0;
""",
}


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as the operator named it: the fields of the console's address, and the id that the node showed."""

    name: str
    host: str
    port: int = 22
    user: str = ""
    jumps: tuple[str, ...] = ()
    socket: str = ""
    agent: str = "outstation-agent"
    site: str = ""
    line: str = ""
    machine: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    node_id: str = ""
    identity_files: tuple[str, ...] = ()
    proxy_command: str = ""
    one_way_key: str = ""
    one_way_age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BundleRow:
    """A bundle whose archive the console holds. `signer` is empty while it is unsigned."""

    digest: str
    name: str
    version: str
    epoch: int
    sequence: int
    path: str
    size_bytes: int
    signer: str
    facts: dict[str, Any]
    added_wall_s: float


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A deployment that this console started: written before the node is asked, its outcome after the node answered."""

    id: str
    node: str
    node_id: str
    digest: str
    operator: str
    window_s: float
    started_wall_s: float
    state: str = "asked"
    detail: str = ""
    ended_wall_s: float | None = None


class NodeIdConflict(Exception):
    """A node shows another id than it did, or one that another node has. Both are named; nothing was stored."""

    def __init__(self, name: str, known: str, seen: str, other: str = "") -> None:
        self.name = name
        self.known = known
        self.seen = seen
        self.other = other
        owner = f"which {other} has" if other else f"and was {known}"
        super().__init__(f"{name} shows the node id {seen}, {owner}")


class Catalog:
    """The console's database at `path`, made where there is none. Raises StoreError kinds."""

    def __init__(self, path: Path) -> None:
        self._connection = db.open_shared(path)
        migrations.migrate(self._connection, MIGRATION_SET, STEPS)
        self._tables = sqlite_utils.Database(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def nodes(self) -> list[NodeRow]:
        """Every node, by name."""
        return [_node(row) for row in self._rows("nodes", order_by="name")]

    def node(self, name: str) -> NodeRow | None:
        """The node with this name."""
        return next((_node(row) for row in self._rows("nodes", "name = ?", [name])), None)

    def put_node(self, node: NodeRow) -> None:
        """Adds the node, or replaces what was kept under its name."""
        row = asdict(node) | {key: json.dumps(getattr(node, key)) for key in ("jumps", "labels", "identity_files")}
        self._upsert("nodes", row, "name")

    def remove_node(self, name: str) -> bool:
        """Forgets the node; its anchor stays, so that it is known when it comes back. False: there was none."""
        with transaction(self._connection):
            return self._connection.execute("DELETE FROM nodes WHERE name = ?", (name,)).rowcount > 0

    def learn_node_id(self, name: str, node_id: str) -> None:
        """Keeps the id that a node showed at its first contact. Raises NodeIdConflict, KeyError for no such node."""
        with transaction(self._connection):
            node = self.node(name)
            if node is None:
                raise KeyError(name)
            other = next(iter(self._rows("nodes", "node_id = ? AND name <> ?", [node_id, name])), None)
            if other is not None or node.node_id not in ("", node_id):
                raise NodeIdConflict(name, node.node_id, node_id, other["name"] if other else "")
            self._connection.execute("UPDATE nodes SET node_id = ? WHERE name = ?", (node_id, name))

    def bundles(self) -> list[BundleRow]:
        """Every bundle: by name, newest first."""
        return [_bundle(row) for row in self._rows("bundles", order_by="name, epoch DESC, sequence DESC")]

    def bundle(self, digest: str) -> BundleRow | None:
        """The bundle whose manifest has this digest."""
        return next((_bundle(row) for row in self._rows("bundles", "digest = ?", [digest])), None)

    def put_bundle(self, bundle: BundleRow) -> None:
        """Adds the bundle, or replaces what was kept under its digest."""
        self._upsert("bundles", asdict(bundle) | {"facts": json.dumps(bundle.facts)}, "digest")

    def remove_bundle(self, digest: str) -> None:
        """Forgets the bundle; its file is the caller's."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM bundles WHERE digest = ?", (digest,))

    def anchor(self, node_id: str) -> ledger.Head | None:
        """The last ledger head that this console verified on the node."""
        row = next(iter(self._rows("anchors", "node_id = ?", [node_id])), None)
        return ledger.Head(row["seq"], row["hash"]) if row else None

    def set_anchor(self, node_id: str, head: ledger.Head, *, wall_s: float) -> None:
        """Moves the anchor forward to what was verified to extend it; sqlite3.IntegrityError for backward (I15)."""
        row = {"node_id": node_id, "seq": head.seq, "hash": head.hash, "seen_wall_s": wall_s}
        self._upsert("anchors", row, "node_id")

    def start_deployment(self, row: DeploymentRow) -> None:
        """Writes the intent, before the node is asked. The same id again changes nothing."""
        with transaction(self._connection):
            self._tables.table("deployments").insert(asdict(row), ignore=True)

    def set_deployment(self, id_: str, state: str, detail: str = "", *, ended_wall_s: float | None = None) -> None:
        """Writes what the node answered; `ended_wall_s` when that is final."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE deployments SET state = ?, detail = ?, ended_wall_s = ? WHERE id = ?",
                (state, detail, ended_wall_s, id_),
            )

    def deployments(self, *, open_only: bool = False, limit: int = 1_000) -> list[DeploymentRow]:
        """Newest first; `open_only`: those whose outcome is not known, which the nodes are to be asked about."""
        where = "ended_wall_s IS NULL" if open_only else None
        rows = self._rows("deployments", where, order_by="started_wall_s DESC", limit=limit)
        return [DeploymentRow(**row) for row in rows]

    def setting(self, key: str, default: Any = None) -> Any:
        """What was kept under `key`."""
        row = next(iter(self._rows("settings", "key = ?", [key])), None)
        return json.loads(row["value"]) if row else default

    def set_setting(self, key: str, value: Any) -> None:
        """Keeps a JSON value under `key`."""
        self._upsert("settings", {"key": key, "value": json.dumps(value)}, "key")

    def _rows(
        self,
        table: str,
        where: str | None = None,
        values: list[Any] | None = None,
        *,
        order_by: str | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        yield from self._tables.table(table).rows_where(where, values or [], order_by=order_by, limit=limit)

    def _upsert(self, table: str, row: dict[str, Any], key: str) -> None:
        with transaction(self._connection):
            self._tables.table(table).upsert(row, pk=key)


def _node(row: dict[str, Any]) -> NodeRow:
    values = {field.name: row[field.name] for field in fields(NodeRow)}
    values["jumps"] = tuple(json.loads(row["jumps"]))
    values["identity_files"] = tuple(json.loads(row["identity_files"]))
    values["labels"] = tuple((key, value) for key, value in json.loads(row["labels"]))
    return NodeRow(**values)


def _bundle(row: dict[str, Any]) -> BundleRow:
    return BundleRow(**(row | {"facts": json.loads(row["facts"])}))

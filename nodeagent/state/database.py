"""node.db as the supervisor uses it: one writer connection in one thread, and what is left when it cannot be written.

A full or read-only disk leaves reading (from a copy in memory where SQLite needs one). A database that is damaged is
copied to quarantine/ and not touched again: the node is then in SAFE and serves what was last known good.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import enum
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from store import db, durable, errors
from store.node import schema

MIGRATION_S_MAX = 60.0
READ_S_MAX = 5.0

P = ParamSpec("P")
T = TypeVar("T")


class Condition(enum.StrEnum):
    """What can be done with the database now."""

    WRITABLE = "writable"
    READ_ONLY = "read-only"
    DISK_FULL = "disk full"
    SAFE = "safe"


class NotWritable(Exception):
    """The change was not made, since the database cannot be written. `condition` says why."""

    def __init__(self, condition: Condition, text: str) -> None:
        self.condition = condition
        super().__init__(text)


class NodeDatabase:
    """All access to node.db of one supervisor. Every function given runs in the one database thread, in order."""

    def __init__(self, path: Path, *, ballast: durable.Ballast) -> None:
        self.path = path
        self.condition = Condition.SAFE
        self.reason = "not opened yet"
        self.ballast = ballast
        self._connection: sqlite3.Connection | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="node.db")

    async def open(self) -> Condition:
        """Opens what can be opened and brings it to this agent's schema. Raises nothing that a disk can cause."""
        return await self._run(self._open)

    async def read(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`function(connection, ...)`, which only reads. Raises StoreError kinds, NotWritable in SAFE."""

        def call() -> T:
            connection = self._usable()
            if self.condition is not Condition.WRITABLE:
                db.set_deadline(connection, READ_S_MAX)
            try:
                return function(connection, *args, **kwargs)
            except sqlite3.Error as error:
                raise errors.from_sqlite(error, "read", self.path) from error

        return await self._run(call)

    async def write(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`function(connection, ...)` in one transaction, durable when this returns. Raises NotWritable, Busy.

        After any failure of the disk the connection is opened anew before it is used again.
        """

        def call() -> T:
            connection = self._usable()
            if self.condition is not Condition.WRITABLE:
                raise NotWritable(self.condition, self.reason)
            try:
                with db.transaction(connection):
                    return function(connection, *args, **kwargs)
            except errors.Busy:
                raise
            except errors.StoreError as error:
                self._open()
                if self.condition is Condition.WRITABLE:
                    # The disk took a write again a moment later; what failed was still not done.
                    self.condition = Condition.DISK_FULL if isinstance(error, errors.DiskFull) else self.condition
                raise NotWritable(_condition_of(error), str(error)) from error

        return await self._run(call)

    async def release_ballast(self) -> bool:
        """Gives the ballast up and opens the database anew. False: there was none, or it did not help."""

        def call() -> bool:
            try:
                released = self.ballast.release()
            except errors.StoreError:
                return False
            return released and self._open() is Condition.WRITABLE

        return await self._run(call)

    async def close(self) -> None:
        """Closes the connection; every change that returned is durable already."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            raise NotWritable(self.condition, self.reason)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> Condition:
        self._close()
        try:
            self._connection = self._open_current()
            self.condition, self.reason = Condition.WRITABLE, ""
        except (errors.ReadOnly, errors.DiskFull) as error:
            self.condition, self.reason = _condition_of(error), str(error)
            self._open_reader()
        except errors.StoreError as error:
            self._give_up(error)
        return self.condition

    def _open_current(self) -> sqlite3.Connection:
        connection = db.open_writer(self.path, ballast=self.ballast)
        if not db.is_sound(connection):
            connection.close()
            raise errors.Corrupt("open", self.path, "SQLite finds damage in it")
        if not schema.missing_steps(connection):
            return connection
        connection.close()
        migrate(self.path)
        return db.open_writer(self.path, ballast=self.ballast)

    def _open_reader(self) -> None:
        try:
            self._connection = db.open_reader(self.path, deadline_s=READ_S_MAX)
        except errors.StoreError as error:
            self._give_up(error)

    def _give_up(self, error: errors.StoreError) -> None:
        self._close()
        self.condition, self.reason = Condition.SAFE, str(error)
        self._quarantine()

    def _quarantine(self) -> None:
        """Keeps a copy of the database as it was found, once: a later repair must not lose the evidence."""
        folder = self.path.parent / "quarantine"
        if folder.exists():
            return
        import shutil  # Only here, where something is badly wrong.

        try:
            durable.make_dir(folder)
            for suffix in ("", "-wal"):
                source = self.path.with_name(self.path.name + suffix)
                if source.exists():
                    with source.open("rb") as found, durable.replacing(folder / source.name) as copy:
                        shutil.copyfileobj(found, copy)
        except (errors.StoreError, OSError) as error:
            self.reason += f"; no copy could be kept: {error}"


def migrate(path: Path) -> None:
    """Brings node.db to this agent's schema, in a process of its own. Raises StoreError."""
    command = [sys.executable, "-m", "store.migrations", "node", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=MIGRATION_S_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise errors.StoreError("migrate", path, f"not done after {MIGRATION_S_MAX:.0f} s") from error
    if done.returncode != 0:
        raise errors.StoreError("migrate", path, done.stderr.decode("utf-8", "replace").strip()[-500:])


def _condition_of(error: errors.StoreError) -> Condition:
    if isinstance(error, errors.ReadOnly):
        return Condition.READ_ONLY
    return Condition.DISK_FULL if isinstance(error, errors.DiskFull) else Condition.SAFE

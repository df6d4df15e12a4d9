"""What node.db says of a trial's deadline, for the launcher, which loads this when one is armed. Standard library only.

SQLite and what copies files are 2 MB that a launcher without a trial does without.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

from nodeagent.processes.deadline import Row

BUSY_MS = 500


def read_row(database: Path, deployment: str) -> Row | None:
    """The deployment's row, None where it cannot be read. On a read-only disk a copy of database and log is read."""
    try:
        return _read(database, deployment)
    except sqlite3.Error:
        pass
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        copy = Path(folder) / database.name
        try:
            for suffix in ("", "-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(f"{database}{suffix}", f"{copy}{suffix}")
            return _read(copy, deployment)
        except (OSError, sqlite3.Error):
            return None


def _read(database: Path, deployment: str) -> Row | None:
    uri = f"{database.absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_MS / 1_000)) as connection:
        connection.execute("pragma query_only=1")
        found = connection.execute("select state, deadline_us from deployments where id = ?", (deployment,)).fetchone()
    return None if found is None else Row(str(found[0]), None if found[1] is None else int(found[1]))

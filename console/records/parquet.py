"""Lines of JSON to a Parquet file, by DuckDB: the one file that imports it, an extra of its own (`outstation[export]`).

DuckDB loads and fetches no extension here: what it needs is in its wheel, and a console may have no network.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any, Final

_TYPES: Final = {
    "node": "VARCHAR", "bundle": "VARCHAR", "key": "BIGINT", "revision": "INTEGER", "time": "VARCHAR",
    "wall_us": "BIGINT", "source_us": "BIGINT", "latency_us": "BIGINT", "score": "DOUBLE", "label": "VARCHAR",
    "decision": "VARCHAR", "quality": "VARCHAR", "reason": "VARCHAR", "digest": "VARCHAR", "config": "VARCHAR",
    "inputs": "FLOAT[]", "outputs": "FLOAT[]", "context": "VARCHAR",
}  # fmt: skip
CONFIG: Final = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": "1",
    "memory_limit": "512MB",
}


class NoDuckDB(Exception):
    """The extra is not installed; the text says which."""


def present() -> bool:
    """Whether DuckDB is installed. Imports nothing."""
    return importlib.util.find_spec("duckdb") is not None


def convert(lines: Path, target: Path) -> None:
    """Writes `target` from a file of JSON lines, compressed with zstd. Blocking. Raises NoDuckDB, OSError."""
    if not present():
        raise NoDuckDB("Parquet needs DuckDB: install outstation[export], or take --format csv or jsonl")
    duckdb: Any = importlib.import_module("duckdb")
    columns = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in _TYPES.items())
    rows = f"read_json({_quoted(lines)}, format='newline_delimited', columns={{{columns}}})"
    connection = duckdb.connect(":memory:", config=CONFIG)
    try:
        connection.execute("SET lock_configuration = true")
        connection.execute(f"COPY (SELECT * FROM {rows}) TO {_quoted(target)} (FORMAT parquet, COMPRESSION zstd)")
    except duckdb.Error as error:
        raise OSError(f"{target.name}: {error}") from error
    finally:
        connection.close()


def _quoted(text: object) -> str:
    escaped = str(text).replace("'", "''")
    return f"'{escaped}'"

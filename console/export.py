"""Records of nodes as a data set: one file, written as it is read, and NAME.dataset.json that says what it is.

Rows stand node by node in the order of their keys. A label is the newest that a person gave. What came from a node is
hostile: text that a spreadsheet would take for a formula is quoted in CSV, as OWASP's page on CSV injection has it.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import csv
import hashlib
import io
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

import msgspec

from nodeagent.protocol import PAGE_ROWS_MAX, Record, RecordsPage
from store import durable

KEY_MAX: Final = (1 << 63) - 1
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
COLUMNS: Final = (
    "node", "bundle", "key", "revision", "time", "wall_us", "source_us", "latency_us", "score", "label", "decision",
    "quality", "reason", "digest", "config", "inputs", "outputs",
)  # fmt: skip
QUALITY: Final = ("Good", "Uncertain", "Bad")
Form = Literal["csv", "jsonl"]


class Reader(Protocol):
    """Where records come from: console.client's AgentClient."""

    async def records(
        self,
        bundle: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> RecordsPage: ...


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. Times are wall time of the nodes, in microseconds; None: from the oldest."""

    bundle: str
    nodes: list[str]
    since_us: int | None = None


def form_of(path: Path) -> Form:
    """By the end of the name. Raises ValueError."""
    if path.suffix == ".csv":
        return "csv"
    if path.suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    raise ValueError(f"{path.name} ends in neither .csv nor .jsonl")


async def pages(reader: Reader, bundle: str, since_us: int | None) -> AsyncGenerator[RecordsPage, None]:
    """The records of one node up to the newest there is now, oldest first. A node that goes on is not followed."""
    newest = (await reader.records(bundle, limit=1, newest_first=True)).records
    if not newest:
        return
    last = newest[0].key
    after = await _before(reader, bundle, since_us, last) if since_us is not None else 0
    while after < last:
        page = await reader.records(bundle, after=after, limit=PAGE_ROWS_MAX)
        inside = [record for record in page.records if record.key <= last]
        if inside or page.gaps:
            yield msgspec.structs.replace(page, records=inside)
        if page.next is None or page.next <= after:
            return
        after = page.next


async def _before(reader: Reader, bundle: str, since_us: int, last: int) -> int:
    """A key before the first record of `since_us`: keys rise with time as long as no clock was set back."""
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        found = (await reader.records(bundle, after=middle, limit=1)).records
        if found and found[0].wall_us < since_us:
            low = found[0].key
        else:
            high = middle
    return low


class Export:
    """Writes rows and keeps the facts of what was written. `write` takes one page of one node."""

    def __init__(self, file: BinaryIO, form: Form) -> None:
        self._file = file
        self._form = form
        self._hash = hashlib.sha256()
        self._size = 0
        self.rows: collections.Counter[str] = collections.Counter()
        self._lost: collections.Counter[str] = collections.Counter()
        self._counts: dict[str, collections.Counter[str]] = {
            name: collections.Counter() for name in ("label", "decision", "digest", "config")
        }
        self._first_us: int | None = None
        self._last_us: int | None = None
        if form == "csv":
            self._put(_csv_line(COLUMNS))

    def write(self, node: str, page: RecordsPage) -> None:
        """Adds a page. Blocking. Raises StoreError's kinds and OSError."""
        render = _csv_row if self._form == "csv" else _json_row
        self._put(b"".join(render(node, record) for record in page.records))
        self.rows[node] += len(page.records)
        self._lost[node] += sum(gap.count for gap in page.gaps)
        for record in page.records:
            for name, counter in self._counts.items():
                counter[str(getattr(record, name))] += 1
            self._first_us = record.wall_us if self._first_us is None else min(self._first_us, record.wall_us)
            self._last_us = record.wall_us if self._last_us is None else max(self._last_us, record.wall_us)

    def facts(self, query: Query, path: Path, *, by: str, made_us: int) -> dict[str, Any]:
        """The content of dataset.json: what, from where, by which question, with which models."""
        return {
            "schema": 1,
            "made": _time(made_us),
            "by": by,
            "tool": "outstation",
            "query": msgspec.to_builtins(query),
            "span": {"first_us": self._first_us, "last_us": self._last_us},
            "rows": {node: self.rows[node] for node in query.nodes},
            "lost": {node: self._lost[node] for node in query.nodes},
            "columns": list(COLUMNS),
            "models": _known(self._counts["digest"]),
            "pipelines": _known(self._counts["config"]),
            "labels": _known(self._counts["label"]),
            "decisions": _known(self._counts["decision"]),
            "files": [{"name": path.name, "bytes": self._size, "sha256": self._hash.hexdigest()}],
        }

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._size += len(data)


async def export(
    readers: Mapping[str, Reader],
    query: Query,
    path: Path,
    *,
    by: str,
    clock_us: Callable[[], int],
    progress: Callable[[str, int], None] = lambda node, rows: None,
) -> dict[str, Any]:
    """Writes `path`, all or nothing, and its dataset.json; returns that. Raises ValueError, StoreError, OSError."""
    form = form_of(path)
    with durable.replacing(path) as file:
        made = Export(file, form)
        for node in query.nodes:
            async with contextlib.aclosing(pages(readers[node], query.bundle, query.since_us)) as found:
                async for page in found:
                    await asyncio.to_thread(made.write, node, page)
                    progress(node, made.rows[node])
    facts = made.facts(query, path, by=by, made_us=clock_us())
    durable.write_file(facts_path(path), msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")
    return facts


def facts_path(path: Path) -> Path:
    """Where the facts of the data set at `path` stand."""
    return path.with_name(f"{path.stem}.dataset.json")


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet runs: text that begins as a formula does gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _fields(node: str, record: Record) -> dict[str, Any]:
    return msgspec.structs.asdict(record) | {
        "node": node,
        "time": _time(record.wall_us),
        "quality": QUALITY[record.quality] if 0 <= record.quality < len(QUALITY) else str(record.quality),
    }


def _csv_row(node: str, record: Record) -> bytes:
    fields = _fields(node, record)
    for name in ("inputs", "outputs"):
        fields[name] = None if fields[name] is None else msgspec.json.encode(fields[name]).decode()
    return _csv_line([fields[name] for name in COLUMNS])


def _csv_line(values: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([safe_cell(value) for value in values])
    return line.getvalue().encode()


def _json_row(node: str, record: Record) -> bytes:
    fields = _fields(node, record)
    return msgspec.json.encode({name: fields[name] for name in COLUMNS}) + b"\n"


def _time(wall_us: int) -> str:
    return datetime.fromtimestamp(wall_us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _known(counter: collections.Counter[str]) -> dict[str, int]:
    """Counts of what has a name, the most frequent first."""
    return {name: count for name, count in counter.most_common() if name}

"""Records of nodes as a data set: one file, written as it is read, and what it is beside it.

NAME.dataset.json has digests, query and counts; NAME.lineage.ndjson is the same as one OpenLineage event. Rows stand
node by node in the order of their keys. A label is the newest that a person gave.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import msgspec

from console.client.clocks import made_us
from console.records import forms as exportforms
from console.records import labelstudio, lineage, parquet
from console.records.forms import COLUMNS, Form, form_of, time_text
from nodeagent.protocol import PAGE_ROWS_MAX, RecordsPage
from store import durable

KEY_MAX: Final = (1 << 63) - 1
COPY_BYTES: Final = 1 << 20


class Reader(Protocol):
    """Where records come from: console.client.client's AgentClient."""

    async def records(
        self,
        bundle: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        context: str | None = None,
        newest_first: bool = False,
    ) -> RecordsPage: ...


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. Times are wall time of the nodes, in microseconds; None: from the oldest.

    `context`: only records that have every pair of it, `product=A4 shift=2`; empty: all.
    """

    bundle: str
    nodes: list[str]
    since_us: int | None = None
    context: str = ""


async def pages(
    reader: Reader, bundle: str, since_us: int | None, context: str = ""
) -> AsyncGenerator[RecordsPage, None]:
    """The records of one node up to the newest there is now, oldest first. A node that goes on is not followed.

    An agent that knows no contexts answers with all its records: none of them is taken for what was asked.
    """
    asked, pairs = context or None, set(context.split())
    newest = (await reader.records(bundle, limit=1, newest_first=True, context=asked)).records
    if not newest:
        return
    last = newest[0].key
    after = await _before(reader, bundle, since_us, last) if since_us is not None else 0
    while after < last:
        page = await reader.records(bundle, after=after, limit=PAGE_ROWS_MAX, context=asked)
        inside = [each for each in page.records if each.key <= last and pairs <= set(each.context.split())]
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
        if found and made_us(found[0]) < since_us:
            low = found[0].key
        else:
            high = middle
    return low


class Export:
    """Writes rows and keeps the facts of what was written. `write` takes one page of one node, `end` the end."""

    def __init__(self, file: BinaryIO, form: Form) -> None:
        self._file = file
        self._form = form
        self._render = exportforms.renderer(form)
        self._hash = hashlib.sha256()
        self._size = 0
        self.rows: collections.Counter[str] = collections.Counter()
        self._lost: collections.Counter[str] = collections.Counter()
        self._counts: dict[str, collections.Counter[str]] = {
            name: collections.Counter() for name in ("label", "decision", "digest", "config", "context")
        }
        self._first_us: int | None = None
        self._last_us: int | None = None
        self._put(exportforms.head(form))

    def write(self, node: str, page: RecordsPage) -> None:
        """Adds a page. Blocking. Raises StoreError's kinds and OSError."""
        first = not sum(self.rows.values())
        rows = (self._render(node, record, first and not at) for at, record in enumerate(page.records))
        self._put(b"".join(rows))
        self.rows[node] += len(page.records)
        self._lost[node] += sum(gap.count for gap in page.gaps)
        for record in page.records:
            for name, counter in self._counts.items():
                counter[str(getattr(record, name))] += 1
            at_us = made_us(record)
            self._first_us = at_us if self._first_us is None else min(self._first_us, at_us)
            self._last_us = at_us if self._last_us is None else max(self._last_us, at_us)

    def end(self) -> None:
        """Nothing comes after this."""
        self._put(exportforms.tail(self._form))

    def take(self, file: BinaryIO, other: Path) -> None:
        """What was written is not the data set but its raw material: the data set is `other`, copied into `file`."""
        self._file, self._hash, self._size = file, hashlib.sha256(), 0
        with other.open("rb") as made:
            while data := made.read(COPY_BYTES):
                self._put(data)

    def facts(self, query: Query, path: Path, *, by: str, made_us: int) -> dict[str, Any]:
        """The content of dataset.json: what, from where, by which question, with which models."""
        return {
            "schema": 1,
            "made": time_text(made_us),
            "by": by,
            "tool": "outstation",
            "query": msgspec.to_builtins(query),
            "span": {"first_us": self._first_us, "last_us": self._last_us},
            "rows": {node: self.rows[node] for node in query.nodes},
            "lost": {node: self._lost[node] for node in query.nodes},
            "form": self._form,
            "columns": list(COLUMNS),
            "models": _known(self._counts["digest"]),
            "pipelines": _known(self._counts["config"]),
            "labels": _known(self._counts["label"]),
            "decisions": _known(self._counts["decision"]),
            "contexts": _known(self._counts["context"]),
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
    form: Form | None = None,
    progress: Callable[[str, int], None] = lambda node, rows: None,
) -> dict[str, Any]:
    """Writes `path`, all or nothing, and what stands beside it; returns the facts.

    Raises ValueError, NoDuckDB, StoreError, OSError.
    """
    form = form or form_of(path)
    if form == "parquet" and not parquet.present():
        parquet.convert(path, path)  # says what to install before anything is read
    with durable.replacing(path) as file, _raw(path, file, form) as raw:
        made = Export(raw, form)
        for node in query.nodes:
            async with contextlib.aclosing(pages(readers[node], query.bundle, query.since_us, query.context)) as found:
                async for page in found:
                    await asyncio.to_thread(made.write, node, page)
                    progress(node, made.rows[node])
        made.end()
        if form == "parquet":
            await asyncio.to_thread(_to_parquet, made, raw, file)
    facts = made.facts(query, path, by=by, made_us=clock_us())
    _write_beside(path, facts, form)
    return facts


def facts_path(path: Path) -> Path:
    """Where the facts of the data set at `path` stand."""
    return path.with_name(f"{path.stem}.dataset.json")


@contextlib.contextmanager
def _raw(path: Path, file: BinaryIO, form: Form) -> Iterator[BinaryIO]:
    """Where rows are written: the file itself, or lines that Parquet is made of, gone when the block ends."""
    if form != "parquet":
        yield file
        return
    with (
        tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder,
        open(f"{folder}/lines", "wb") as raw,
    ):
        yield raw


def _to_parquet(made: Export, raw: BinaryIO, file: BinaryIO) -> None:
    raw.flush()
    lines = Path(raw.name)
    target = lines.with_name("rows.parquet")
    parquet.convert(lines, target)
    made.take(file, target)


def _write_beside(path: Path, facts: dict[str, Any], form: Form) -> None:
    durable.write_file(facts_path(path), msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n")
    event = lineage.event(facts, str(path.parent.resolve()))
    durable.write_file(path.with_name(f"{path.stem}.lineage.ndjson"), msgspec.json.encode(event) + b"\n")
    if form == "labelstudio":
        durable.write_file(path.with_name(f"{path.stem}.labelstudio.xml"), labelstudio.interface(facts["labels"]))


def _known(counter: collections.Counter[str]) -> dict[str, int]:
    """Counts of what has a name, the most frequent first."""
    return {name: count for name, count in counter.most_common() if name}

"""A record as a row of a data set, by form. What came from a node is hostile: no cell of a CSV is run as a formula.

Text that a spreadsheet would take for a formula is quoted, as OWASP's page on CSV injection has it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from console.client.clocks import made_us
from nodeagent.protocol import Record

Form = Literal["csv", "jsonl", "parquet", "labelstudio"]
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
COLUMNS: Final = (
    "node", "bundle", "key", "revision", "time", "wall_us", "source_us", "latency_us", "score", "label", "decision",
    "quality", "reason", "digest", "config", "inputs", "outputs", "context",
)  # fmt: skip
QUALITY: Final = ("Good", "Uncertain", "Bad")
# Ends of names -> the form that they mean.
SUFFIXES: Final[dict[str, Form]] = {
    ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".json": "labelstudio",
}  # fmt: skip


def form_of(path: Path, chosen: str = "") -> Form:
    """The form that is `chosen`, or else that the end of the name means. Raises ValueError."""
    meant = SUFFIXES.get(path.suffix)
    if chosen and meant not in (None, chosen):
        raise ValueError(f"{path.name} is the name of a {meant} file, and --format says {chosen}")
    for form in SUFFIXES.values():
        if form == (chosen or meant):
            return form
    raise ValueError(f"{path.name} ends in none of {', '.join(SUFFIXES)}; or say --format")


def head(form: Form) -> bytes:
    """What stands before the first row."""
    return _csv_line(COLUMNS) if form == "csv" else b"[" if form == "labelstudio" else b""


def tail(form: Form) -> bytes:
    """What stands behind the last row."""
    return b"\n]\n" if form == "labelstudio" else b""


def renderer(form: Form) -> Callable[[str, Record, bool], bytes]:
    """(node, record, whether it is the first) -> its bytes. Parquet is made of the lines of JSON."""
    return {"csv": _csv_row, "jsonl": _json_row, "parquet": _json_row, "labelstudio": _task_row}[form]


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet runs: text that begins as a formula does gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def time_text(wall_us: int) -> str:
    """ISO 8601 in UTC."""
    return datetime.fromtimestamp(wall_us / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _fields(node: str, record: Record) -> dict[str, Any]:
    return msgspec.structs.asdict(record) | {
        "node": node,
        "time": time_text(made_us(record)),
        "quality": QUALITY[record.quality] if 0 <= record.quality < len(QUALITY) else str(record.quality),
    }


def _csv_row(node: str, record: Record, first: bool) -> bytes:
    fields = _fields(node, record)
    for name in ("inputs", "outputs"):
        fields[name] = None if fields[name] is None else msgspec.json.encode(fields[name]).decode()
    return _csv_line([fields[name] for name in COLUMNS])


def _csv_line(values: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow([safe_cell(value) for value in values])
    return line.getvalue().encode()


def _json_row(node: str, record: Record, first: bool) -> bytes:
    fields = _fields(node, record)
    return msgspec.json.encode({name: fields[name] for name in COLUMNS}) + b"\n"


def _task_row(node: str, record: Record, first: bool) -> bytes:
    """A task of Label Studio. The key is text: its numbers are those of JavaScript, which end at 2**53."""
    data = _fields(node, record)
    shown = {name: data[name] for name in COLUMNS if name not in ("key", "wall_us", "source_us")}
    choice = record.model_label or record.label or record.decision
    task = {
        "data": {**shown, "key": str(record.key), "wall_us": str(record.wall_us), "text": _summary(data)},
        "predictions": [
            {
                "model_version": record.digest,
                "score": record.score,
                "result": [
                    {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [choice]}}
                ],
            }
        ],
    }
    return (b"\n" if first else b",\n") + msgspec.json.encode(task)


def _summary(fields: dict[str, Any]) -> str:
    inputs = ", ".join(f"{value:.5g}" for value in (fields["inputs"] or ())[:32])
    return (
        f"{fields['node']} {fields['bundle']} r{fields['revision']}, {fields['time']}\n"
        f"decision {fields['decision']}, score {fields['score']}, quality {fields['quality']} {fields['reason']}\n"
        + (f"{fields['context']}\n" if fields["context"] else "")
        + f"inputs: {inputs or 'not kept'}"
    )

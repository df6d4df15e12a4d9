"""A view as rows, whole and not only what is on the screen, and its three forms as a file. Pure but for `write`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FORMS: Final = (".csv", ".json", ".txt")
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Sheet:
    """`columns` are titles, each row has one text a column. `note` says what was filtered away, "" for nothing."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    about: dict[str, str] = field(default_factory=dict)


def lines_sheet(name: str, lines: Sequence[str]) -> Sheet:
    """A view that has no columns."""
    return Sheet(name, ("text",), [(line,) for line in lines])


def file_name(sheet: Sheet, wall_s: float) -> str:
    """`outstation-fleet-20260312-140231.csv`, in the console's local time."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in sheet.name.casefold()).strip("-") or "view"
    return f"outstation-{name}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(wall_s))}.csv"


def encode(sheet: Sheet, form: str) -> bytes:
    """The file's bytes: CSV that no spreadsheet runs, JSON with one object a row, or columns as on the screen.

    Raises ValueError for another form.
    """
    if form == ".csv":
        return _csv(sheet)
    if form == ".json":
        import json

        rows = [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]
        told = {"view": sheet.name, "note": sheet.note, **sheet.about, "rows": rows}
        return json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n"
    if form == ".txt":
        return _text(sheet)
    raise ValueError(f"{form or 'a name without an ending'} is no form of a view: end it in {', '.join(FORMS)}")


def write(path: Path, sheet: Sheet) -> int:
    """Writes the sheet in the form that the name ends in; its bytes. Blocking. Raises ValueError, StoreError kinds."""
    from store import durable

    data = encode(sheet, path.suffix.lower())
    durable.write_file(path, data, 0o600)
    return len(data)


def _csv(sheet: Sheet) -> bytes:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(sheet.columns)
    writer.writerows([[f"'{cell}" if _runs(cell) else cell for cell in row] for row in sheet.rows])
    return out.getvalue().encode()


def _runs(cell: str) -> bool:
    """Whether a spreadsheet would take the text for a formula; a negative number is none."""
    if not cell.startswith(FORMULA):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def _text(sheet: Sheet) -> bytes:
    if len(sheet.columns) == 1:
        return "".join(f"{row[0].rstrip()}\n" for row in sheet.rows).encode()
    table = [tuple(sheet.columns), *sheet.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(sheet.columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return ("\n".join([*([sheet.note] if sheet.note else []), *lines]) + "\n").encode()

"""A table as CSV: one node a line, its columns by name in the first."""

from __future__ import annotations

import csv
import io
import re

from console.inventory.entry import PLACES, REDUNDANCY, Entry, InventoryRefused, entry_of

_DELIMITERS = (",", ";", "\t")
# What spreadsheets write before a table, where the list separator is another one.
_SEPARATOR = re.compile(r"sep=([,;\t])\r?\n", re.IGNORECASE)
COLUMNS = ("name", "host", "port", "user", "jumps", "identity", "socket", "agent", *PLACES, "labels", REDUNDANCY)


def read_sheet(text: str, *, where: str) -> list[Entry]:
    """The nodes of a table. Raises InventoryRefused with the line; an unknown column is one."""
    text = text.removeprefix("\ufeff")
    skipped = 1 if (said := _SEPARATOR.match(text)) else 0
    text = text[said.end() :] if said else text
    delimiter = said[1] if said else max(_DELIMITERS, key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        head = [column.strip().lower() for column in next(rows, [])]
        _check_head(head, f"{where}:{rows.line_num + skipped}")
        return [_entry(head, row, f"{where}:{rows.line_num + skipped}") for row in rows if any(map(str.strip, row))]
    except csv.Error as error:
        raise InventoryRefused(f"{where}:{rows.line_num + skipped}: {error}") from error


def _check_head(head: list[str], where: str) -> None:
    if "name" not in head:
        raise InventoryRefused(f"{where}: the first line names the columns, `name` among them")
    if doubled := next((column for column in head if column and head.count(column) > 1), ""):
        raise InventoryRefused(f"{where}: the column {doubled!r} is there twice")
    if unknown := [column for column in head if column not in COLUMNS and not column.startswith("label.")]:
        known = ", ".join(COLUMNS)
        raise InventoryRefused(f"{where}: no column {unknown[0]!r}; there are {known} and label.NAME")


def _entry(head: list[str], row: list[str], where: str) -> Entry:
    if len(row) != len(head):
        raise InventoryRefused(f"{where}: {len(row)} cells and {len(head)} columns")
    values = dict(zip(head, (cell.strip() for cell in row), strict=True))
    own = [f"{column.removeprefix('label.')}={values[column]}" for column in head if column.startswith("label.")]
    if values.get(REDUNDANCY):
        own.append(f"{REDUNDANCY}={values[REDUNDANCY]}")
    labels = " ".join([values.get("labels", ""), *(label for label in own if not label.endswith("="))])
    return entry_of(values["name"], {**values, "labels": labels}, where=where)

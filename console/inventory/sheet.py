"""A table as CSV: one node a line, its columns by name in the first."""

from __future__ import annotations

import csv
import io

from console.inventory.entry import PLACES, REDUNDANCY, Entry, InventoryRefused, entry_of

COLUMNS = ("name", "host", "port", "user", "jumps", "identity", "socket", "agent", *PLACES, "labels", REDUNDANCY)


def read_sheet(text: str, *, where: str) -> list[Entry]:
    """The nodes of a table. Raises InventoryRefused with the line; an unknown column is one."""
    text = text.removeprefix("\ufeff")
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        head = [column.strip().lower() for column in next(rows, [])]
        entries = [entry for row in rows if any(row) and (entry := _entry(head, row, f"{where}:{rows.line_num}"))]
    except csv.Error as error:
        raise InventoryRefused(f"{where}:{rows.line_num}: {error}") from error
    return entries


def _entry(head: list[str], row: list[str], where: str) -> Entry:
    if "name" not in head:
        raise InventoryRefused(f"{where}: the first line names the columns, `name` among them")
    if unknown := [column for column in head if column not in COLUMNS and not column.startswith("label.")]:
        known = ", ".join(COLUMNS)
        raise InventoryRefused(f"{where}: no column {unknown[0]!r}; there are {known} and label.NAME")
    if len(row) != len(head):
        raise InventoryRefused(f"{where}: {len(row)} cells and {len(head)} columns")
    values = dict(zip(head, (cell.strip() for cell in row), strict=True))
    own = [f"{column.removeprefix('label.')}={values[column]}" for column in head if column.startswith("label.")]
    if values.get(REDUNDANCY):
        own.append(f"{REDUNDANCY}={values[REDUNDANCY]}")
    labels = " ".join([values.get("labels", ""), *(label for label in own if not label.endswith("="))])
    return entry_of(values["name"], {**values, "labels": labels}, where=where)

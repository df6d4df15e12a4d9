"""A table of plant data: one column a tag, one row a sweep, from the CSV that a historian or a notebook writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nodeagent.sources.readings import Unreadable, read

ROWS_LEAST: Final = 200  # under that a baseline says nothing
Rows = npt.NDArray[np.float64]


class TableRefused(Exception):
    """The data cannot be used; the text says why."""


def table(
    path: Path, tags: Sequence[str] | None, width: int, beside: Sequence[str] = ()
) -> tuple[list[str], Rows, Rows]:
    """The names of `width` columns of a .csv, its whole rows, and those of the columns `beside`.

    `tags` says which columns, in the model's order; without it all that hold numbers are, but those `beside`.
    A row with a missing value is left out. Raises TableRefused.
    """
    try:
        found = read(
            path, id="data", tags=None if tags is None else [*tags, *(each for each in beside if each not in tags)]
        )
    except Unreadable as error:
        raise TableRefused(f"{path}: {error}") from error
    if path.suffix.lower() != ".csv":
        raise TableRefused(f"{path}: a .csv with a header is needed")
    names, rows = list(found.names), np.array([reading.values for reading in found], np.float64)
    if not len(rows):
        raise TableRefused(f"{path}: no rows")
    if missing := [each for each in beside if each not in names]:
        raise TableRefused(f"{path}: no column {missing[0]!r}; it has: {', '.join(names[:12])}")
    extra = rows[:, [names.index(each) for each in beside]]
    if tags is None:
        numeric = [at for at in np.flatnonzero(~np.isnan(rows).all(axis=0)) if names[at] not in beside]
        names, rows = [names[at] for at in numeric], rows[:, numeric]
    else:
        names, rows = list(tags), rows[:, [names.index(each) for each in tags]]
    if len(names) != width:
        raise TableRefused(
            f"{path}: {len(names)} columns of numbers ({', '.join(names[:12])}), and the model takes {width}: "
            "say which ones, in the model's order, with --tags a,b,c"
        )
    whole = np.isfinite(np.hstack([rows, extra])).all(axis=1)
    if not whole.any():
        raise TableRefused(f"{path}: every row misses a value")
    return names, rows[whole], extra[whole]


def spread(rows: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """`count` rows, evenly over all of them; all where there are fewer."""
    places = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))
    return np.take(rows, places, axis=0)

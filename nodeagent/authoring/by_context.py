"""What each row of the training data was of: product and the like, by columns of numbers, as a node will say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nodeagent.authoring.table import ROWS_LEAST, TableRefused
from nodeagent.pipeline.context import named, number_word
from nodeagent.pipeline.drift import CONTEXTS_MAX


def contexts_of(columns: Sequence[str], rows: npt.NDArray[Any]) -> list[str]:
    """`product=4 shift=2` of each row; empty without columns.

    Raises TableRefused for more contexts than a baseline tells apart, and for one with too few rows to say what is
    normal.
    """
    if not columns:
        return []
    names = [named(column) for column in columns]
    words = [[number_word(value) for value in row] for row in np.asarray(rows, np.float64)]
    found = [" ".join(f"{name}={word}" for name, word in zip(names, row, strict=True)) for row in words]
    counts = Counter(found)
    if len(counts) > CONTEXTS_MAX:
        raise TableRefused(
            f"{', '.join(columns)}: {len(counts)} different values, and a baseline tells {CONTEXTS_MAX} apart: "
            "name a column of products, not of measurements, with --context"
        )
    rare, count = min(counts.items(), key=lambda item: item[1])
    if count < ROWS_LEAST:
        raise TableRefused(
            f"{rare} has {count} rows, fewer than the {ROWS_LEAST} that tell what is normal: add data of it, or leave "
            "its rows out; the node then says that it has no baseline for it"
        )
    return found

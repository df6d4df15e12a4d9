"""A data set that `outstation export` wrote, for a training script: verified against its dataset.json, as arrays."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NORMAL = frozenset({"", "normal", "ok", "good", "accept", "healthy", "false-alarm", "false alarm", "no fault"})
_COLUMNS = ("inputs", "label", "decision", "quality")


class DatasetRefused(ValueError):
    """The file is not the one that its dataset.json describes."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Rows whose inputs were kept. `name` and `sha256` are those of the file, `facts` the content of dataset.json."""

    name: str
    sha256: str
    facts: dict[str, Any]
    inputs: npt.NDArray[np.float32]
    labels: npt.NDArray[np.str_]
    decisions: npt.NDArray[np.str_]
    good: npt.NDArray[np.bool_]

    @property
    def normal(self) -> npt.NDArray[np.float32]:
        """Inputs of good quality of which neither a person nor the model said that something was wrong.

        What a person said counts before what the model did: a false alarm is normal, a missed fault is not.
        """
        said = np.isin(self.labels, list(NORMAL))
        by_person = self.labels != ""
        quiet = np.isin(self.decisions, ["normal", "accept"])
        return self.inputs[self.good & said & (by_person | quiet)]

    def lineage(self) -> dict[str, str]:
        """What a bundle that was trained on it says of it."""
        query, rows = self.facts["query"], self.facts["rows"]
        return {
            "dataset": self.name,
            "dataset_sha256": self.sha256,
            "dataset_nodes": ", ".join(query["nodes"])[:256],
            "dataset_rows": str(sum(rows.values())),
            "dataset_made": f"{self.facts['made']} by {self.facts['by']}"[:256],
        }


def read(path: Path) -> Dataset:
    """Reads a .parquet, .jsonl or .csv file. Raises DatasetRefused where it is not what its dataset.json says."""
    facts = json.loads(path.with_name(f"{path.stem}.dataset.json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (told,) = (file["sha256"] for file in facts["files"] if file["name"] == path.name)
    if digest != told:
        raise DatasetRefused(f"{path}: its digest is {digest}, and its dataset.json says {told}")
    rows = {".parquet": _parquet, ".jsonl": _lines, ".csv": _csv}[path.suffix](path)
    kept = [row for row in rows if row[0] is not None]
    columns = list(zip(*kept, strict=True)) if kept else [(), (), (), ()]
    return Dataset(
        path.name,
        digest,
        facts,
        np.array(columns[0], np.float32),
        np.array(columns[1], np.str_),
        np.array(columns[2], np.str_),
        np.array([quality == "Good" for quality in columns[3]], np.bool_),
    )


def _parquet(path: Path) -> list[Any]:
    import duckdb

    config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    with duckdb.connect(":memory:", config=config) as connection:
        query = f"SELECT {', '.join(_COLUMNS)} FROM read_parquet(?) ORDER BY node, key"
        return list(connection.execute(query, [str(path)]).fetchall())


def _lines(path: Path) -> list[Any]:
    with path.open() as file:
        return [tuple(json.loads(line)[name] for name in _COLUMNS) for line in file]


def _csv(path: Path) -> list[Any]:
    with path.open(newline="") as file:
        rows = [tuple(row[name] for name in _COLUMNS) for row in csv.DictReader(file)]
    return [(json.loads(inputs) if inputs else None, *rest) for inputs, *rest in rows]

"""What a node recorded becomes a data set, the data set a model, and the bundle says which data set it was."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from console.delivery.inspect import facts_from_model
from console.records.export import Query, export
from examples import artifacts, dataset
from examples.pump import retrain
from examples.pump.generate import normal, windows
from examples.pump.train import Recipe
from nodeagent.protocol import Record, RecordsPage
from store.archive import read_archive
from store.builder import build

BOOT = 1 << 48


class Recorded:
    """The records of a node: windows of a healthy pump, every tenth of doubtful quality, two that people labelled."""

    def __init__(self, rows: np.ndarray) -> None:
        labels = {3: "fault", 7: "false-alarm"}
        self.records_ = [
            Record(
                key=BOOT + at, bundle="pump", revision=2, wall_us=1_700_000_000_000_000 + at * 1_000_000,
                source_us=None, latency_us=50, score=0.2, label=labels.get(at, ""),
                decision="alarm" if at == 7 else "normal", quality=int(at % 10 == 0), reason="",
                inputs=[float(value) for value in row], digest="sha256:aa", config="sha256:cc",
            )
            for at, row in enumerate(rows)
        ]  # fmt: skip

    async def records(
        self,
        bundle: str,
        *,
        after: int | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        context: str | None = None,
    ) -> RecordsPage:
        assert context is None
        if newest_first:
            return RecordsPage(records=self.records_[-1:])
        first = (after or BOOT - 1) + 1 - BOOT
        found = self.records_[first : first + (limit or 100)]
        return RecordsPage(records=found, next=found[-1].key if first + len(found) < len(self.records_) else None)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return windows(normal(3_200, seed=5))


def exported(path: Path, rows: np.ndarray) -> dict[str, Any]:
    query = Query(bundle="pump", nodes=["pump-03"])
    return asyncio.run(export({"pump-03": Recorded(rows)}, query, path, by="alice", clock_us=lambda: 10**15))


@pytest.mark.parametrize("name", ["set.parquet", "set.csv", "set.jsonl"])
def test_a_data_set_says_the_same_in_every_form(tmp_path: Path, rows: np.ndarray, name: str) -> None:
    exported(tmp_path / name, rows[:200])
    found = dataset.read(tmp_path / name)
    np.testing.assert_allclose(found.inputs, rows[:200], rtol=1e-6)
    assert (found.labels[3], found.decisions[7]) == ("fault", "alarm")
    np.testing.assert_allclose(found.normal, np.array([r for at, r in enumerate(rows[:200]) if at % 10 and at != 3]))


def test_a_data_set_that_was_changed_is_refused(tmp_path: Path, rows: np.ndarray) -> None:
    exported(tmp_path / "set.csv", rows[:20])
    with (tmp_path / "set.csv").open("a") as file:
        file.write("x\n")
    with pytest.raises(dataset.DatasetRefused, match="its digest is"):
        dataset.read(tmp_path / "set.csv")


def test_a_bundle_that_was_trained_on_records_names_the_data_set(tmp_path: Path, rows: np.ndarray) -> None:
    facts = exported(tmp_path / "set.parquet", rows)
    trained = retrain.retrain(dataset.read(tmp_path / "set.parquet"), Recipe("3.0", 30, epochs=3))
    folder = tmp_path / "pump"
    artifacts.write(trained, folder)
    (folder / "pipeline.toml").write_text(Path("examples/pump/pipeline.toml").read_text())
    build(folder, tmp_path, facts_from_model)
    with read_archive(tmp_path / "pump-3.0.ostn") as opened:
        lineage = opened.facts().lineage
    digest = hashlib.sha256((tmp_path / "set.parquet").read_bytes()).hexdigest()
    assert (lineage["dataset"], lineage["dataset_sha256"]) == ("set.parquet", digest)
    assert (lineage["dataset_nodes"], lineage["dataset_rows"]) == ("pump-03", str(len(rows)))
    assert facts["files"][0]["sha256"] == digest
    event = json.loads((tmp_path / "set.lineage.ndjson").read_text())
    assert event["outputs"][0]["facets"]["outstation_dataset"]["sha256"] == digest
    assert trained.figures["wear_0_6_found"] > 0.9

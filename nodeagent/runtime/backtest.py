"""A bundle over records that were fetched from a node: `outstation backtest` runs this on the console's own machine.

Like a replay on the node, without a node: the bundle's blobs are checked and unpacked into a folder that vanishes. It
takes a BacktestJob on standard input and prints a Replayed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from nodeagent.processes.limits import PROBATION_BASE_BYTES, Limits
from nodeagent.protocol import Record
from nodeagent.runtime.replay import Past, attempt
from nodeagent.runtime.replay_job import RECORDS_BYTES_MAX, Replayed, ReplayJob
from nodeagent.spec import Activation
from store import durable
from store.archive import Archive, read_archive
from store.bundle import BundleMalformed, Facts

CPU_S_MAX: Final = 600
JSON_COST: Final = 8


class BacktestJob(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle's file, the node's bindings (secrets as `***`), and its records, oldest first."""

    archive: str
    bindings: dict[str, Any]
    records: list[Record]


def backtest(job: BacktestJob) -> Replayed:
    """What the bundle makes of the records. What cannot be used is the answer's `problem`."""
    try:
        with tempfile.TemporaryDirectory(prefix="outstation-") as folder, read_archive(Path(job.archive)) as archive:
            if archive.damaged():
                return Replayed(problem=f"{job.archive}: a blob is damaged")
            activation = _activation(archive, archive.facts(), Path(folder), job.bindings)
            return attempt(ReplayJob(activation=activation, rows=len(job.records)), lambda: past_of(job.records))
    except (BundleMalformed, OSError) as error:
        return Replayed(problem=str(error))


def past_of(rows: list[Record]) -> list[Past]:
    """The valid ones that kept their inputs."""
    return [
        Past(
            row.key,
            row.wall_us,
            row.score,
            row.label,
            row.decision,
            row.config,
            np.array(row.inputs, "<f4"),
            row.context,
        )
        for row in rows
        if row.inputs is not None and row.score is not None and row.quality <= 1
    ]


def _activation(archive: Archive, facts: Facts, folder: Path, bindings: Mapping[str, Any]) -> Activation:
    def unpacked(digest: str | None) -> str | None:
        if digest is None:
            return None
        path = folder / digest.removeprefix("sha256:")
        with archive.open_blob(digest) as blob:
            durable.write_file(path, blob.read())
        return str(path)

    return Activation(
        bundle=facts.name,
        model=facts.model,
        version=facts.version,
        revision=0,
        digest=archive.manifest_digest,
        model_path=unpacked(facts.model_digest) or "",
        pipeline_path=unpacked(facts.pipeline_digest) or "",
        baseline_path=unpacked(facts.baseline_digest),
        golden_path=unpacked(facts.golden_digest),
        model_digest=facts.model_digest,
        more_models={name: unpacked(digest) or "" for name, digest in (facts.more or {}).items()},
        pipeline_digest=facts.pipeline_digest or "",
        bindings={name: bindings[name] for name in facts.bindings if name in bindings},
        binding_revision=0,
        peak_memory_bytes=facts.peak_memory_bytes,
        boot_number=0,
        trial=True,
        write_back="dry_run",
        records_dir=str(folder),
        work_dir=str(folder),
        node_id="",
        node_name="",
        site="",
    )


def main() -> int:
    """Bounds itself, reads the job, prints the answer."""
    data = sys.stdin.buffer.read()
    Limits(memory_bytes=0, cpu_s=CPU_S_MAX, oom_score=0).apply()
    job = msgspec.json.decode(data, type=BacktestJob)
    with read_archive(Path(job.archive)) as archive:
        peak = archive.facts().peak_memory_bytes
    Limits(memory_bytes=PROBATION_BASE_BYTES + JSON_COST * (RECORDS_BYTES_MAX + len(data)) + peak, oom_score=0).apply()
    os.write(1, msgspec.json.encode(backtest(job)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

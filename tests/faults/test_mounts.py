"""A power cut on real file systems, at a few points of a life; `make faults` takes more of them (`disks`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import mounts, power

POINTS = 3


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.build(tmp_path_factory.mktemp("disklog"))


@pytest.fixture(scope="module", params=mounts.KINDS)
def bench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, library: Path
) -> Iterator[mounts.Bench]:
    try:
        with mounts.bench(tmp_path_factory.mktemp("mounts"), request.param, library) as made:
            yield made
    except mounts.NotRun as error:
        pytest.fail(f"NOT RUN: a power cut on {request.param}: {error}")


def test_i1_i4_i5_i6_i7_hold_after_a_power_cut_on_a_real_file_system(bench: mounts.Bench) -> None:
    calls = bench.calls()
    assert calls > 300
    assert [text for at in mounts.points(calls, POINTS) for text in bench.cut(at)] == []


def test_blobs_that_are_not_synced_are_lost_on_a_real_file_system_and_that_is_found(bench: mounts.Bench) -> None:
    assert any("I7" in text for text in bench.cut(300, "BlobsNotSynced"))

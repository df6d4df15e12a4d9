"""What `tap`, `replay`, `review-queue` and `labels` print."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from console.cli import labels as labels_verbs
from console.cli import tap as tap_verbs
from console.failure import Failure
from nodeagent.protocol import (
    LabelRow,
    PipelineReplay,
    PipelineSide,
    Record,
    ReviewItem,
    ReviewQueue,
    StageTelemetry,
    SweepChange,
    Tap,
)

RECORD = Record(
    key=7, bundle="pump", revision=2, wall_us=1_700_000_000_000_000, source_us=None, latency_us=5, score=4.5, label="",
    decision="alarm", quality=0, reason="",
)  # fmt: skip
SWEEP = Tap(
    stage="clean.clip", wall_us=1_700_000_000_000_000, names=["speed", "power"], values=[1480.25, None], quality=[0, 2],
    reasons=["power: out of range"],
)  # fmt: skip
FOUND = PipelineReplay(
    sweeps=50,
    first_us=1_700_000_000_000_000,
    last_us=1_700_000_050_000_000,
    before=PipelineSide(
        stages=[StageTelemetry(name="validate.range", frames_total=50)], decisions={"normal": 49, "alarm": 1}
    ),
    after=PipelineSide(
        stages=[
            StageTelemetry(name="validate.range", frames_total=50, marked_total=9),
            StageTelemetry(name="clean.clip", frames_total=50),
        ],
        decisions={"normal": 41, "skipped": 9},
    ),
    differing=9,
    changes=[
        SweepChange(
            at_us=1_700_000_040_000_000, decision_before="alarm", decision_after="skipped", score_before=4.0,
            reason_after="speed: out of range",
        )
    ],
)  # fmt: skip


class Node:
    """Answers as one node does."""

    def __init__(self, replayed: PipelineReplay = FOUND) -> None:
        self.replayed = replayed
        self.asked: list[Any] = []

    async def tap(self, bundle: str, *, stage: str | None = None) -> AsyncGenerator[Tap, None]:
        while True:
            yield SWEEP

    async def replay(self, bundle: str, pipeline: str, *, last: int) -> PipelineReplay:
        self.asked.append((bundle, pipeline, last))
        return self.replayed

    async def review_queue(self, bundle: str, *, limit: int | None = None) -> ReviewQueue:
        item = ReviewItem(why="second opinion", record=RECORD, labelled_by=["bob"])
        return ReviewQueue(bundle=bundle, looked_at=300, items=[item])

    async def all_labels(self, bundle: str) -> list[LabelRow]:
        return [
            LabelRow(
                id=at, key=at, label="fault" if at % 4 else "false-alarm", note="", actor="alice", wall_us=1,
                revision=2, version="2.1", decision="alarm",
            )
            for at in range(20)
        ]  # fmt: skip


class Session:
    """Keeps what is printed; `fleet`, `client` and `operate` all lead to the one node."""

    as_json = False

    def __init__(self, node: Node) -> None:
        self.node = node
        self.told: list[str] = []

    def line(self, text: str = "") -> None:
        self.told.append(text)

    def flush(self) -> None:
        self.told.append("")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
        assert all(len(row) == len(columns) for row in rows)
        self.told += [" | ".join(columns), *(" | ".join(row) for row in rows)]

    @asynccontextmanager
    async def client(self, node: str) -> AsyncIterator[Node]:
        yield self.node

    @asynccontextmanager
    async def fleet(self, nodes: Sequence[str]) -> AsyncIterator[Any]:
        yield argparse.Namespace(client=lambda node: self.node)

    operate = fleet


def run(verb: Any, node: Node | None = None, **arguments: Any) -> tuple[int, str]:
    session = Session(node or Node())
    code = asyncio.run(verb(session, argparse.Namespace(node="press-07", bundle="pump", **arguments)))
    return code, "\n".join(session.told)


def test_a_tap_shows_value_quality_and_reason_and_ends_after_its_count() -> None:
    code, told = run(tap_verbs.tap, stage="clean.clip", count=2)
    lines = [line for line in told.splitlines() if line]
    assert (code, len(lines)) == (0, 2)
    assert "speed 1480.2, power" in lines[0]
    assert lines[0].endswith(" Bad  (power: out of range)")


def test_a_replay_shows_stages_and_decisions_side_by_side_and_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "edited.toml"
    file.write_text("schema = 1\n")
    node = Node()
    code, told = run(tap_verbs.replay, node, file=file, last=50)
    assert (code, node.asked) == (0, [("pump", "schema = 1\n", 50)])
    assert "validate.range | 50 | 50 | 0 | 9" in told
    assert "skipped | 0 | 9" in told
    assert "9 predictions differ, the newest of them:" in told
    assert "speed: out of range" in told
    assert "the running pipeline was not touched" in told


def test_a_wrong_edited_file_is_told_by_its_own_name_and_line(tmp_path: Path) -> None:
    file = tmp_path / "edited.toml"
    file.write_text("schema = 1\n")
    node = Node(PipelineReplay(problem="pipeline.toml:7: step.use: there is no 'clip'", line=7))
    with pytest.raises(Failure, match=r"edited\.toml:7: step\.use: there is no 'clip'"):
        run(tap_verbs.replay, node, file=file, last=50)


@pytest.mark.parametrize("last", [0, 20_001])
def test_more_sweeps_than_a_worker_keeps_are_not_asked_for(tmp_path: Path, last: int) -> None:
    with pytest.raises(Failure, match="--last is 1 to 20000"):
        run(tap_verbs.replay, file=tmp_path / "x.toml", last=last)


def test_the_queue_says_why_a_record_waits_and_how_to_label_it() -> None:
    code, told = run(labels_verbs.review_queue, limit=20)
    assert code == 0
    assert "second opinion after bob" in told
    assert "outstation label press-07 pump KEY fault|normal|unsure" in told


def test_the_precision_stands_by_version_with_its_counts() -> None:
    code, told = run(labels_verbs.show, nodes=["press-07"], each=True, by_product=False)
    assert code == 0
    assert "2.1 | 20 | 75 % | 15 | 5 | 0 | 0 | 0 | 0" in told
    assert told.count("| alice |") == 20

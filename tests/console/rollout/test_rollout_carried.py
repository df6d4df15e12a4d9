"""A rollout carried to another console as a file: whatever its console did after that, the nodes are believed."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from console.home import Home
from console.rollout import orders
from console.rollout.carried import RolloutMalformed, packed, taken_in
from console.rollout.executor import Executor
from console.rollout.planner import plan
from console.rollout.policy import parse_policy
from nodeagent.protocol import DeploymentState
from store.rollouts import Rollouts

POLICY = '[waves]\ncanary = 1\nsteps = [2, "100%"]\nsoak = "5s"\n[trial]\nwindow = "60s"\nsoak = "5s"\n'
NAMES = ("n1", "n2", "n3", "n4")


@pytest.fixture
def elsewhere() -> Iterator[Callable[[], Rollouts]]:
    """Databases of other consoles."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="consoles-", dir=memory if memory.is_dir() else None))
    made: list[Rollouts] = []

    def make() -> Rollouts:
        made.append(Rollouts(folder / f"{len(made)}.db"))
        return made[-1]

    yield make
    for rows in made:
        rows.close()
    shutil.rmtree(folder)


def planned(lab: Any, rows: Rollouts) -> str:
    made = plan(parse_policy(POLICY), [lab.fact(name) for name in NAMES], lab.bundle)
    return orders.keep_plan(rows, made, archive="pump.ostn", operator="ada", wall_s=1.0)


def file_of(rows: Rollouts, id_: str) -> bytes:
    row = rows.rollout(id_)
    assert row is not None
    return packed(rows, row)


async def live(lab: Any, rows: Rollouts, id_: str, nodes: dict[str, Any], *, dies_at: int = -1) -> None:
    console = lab.Console(dies_at)
    plant = lab.Plant(nodes, random.Random(dies_at), console)
    book = lab.Book(rows, console)
    try:
        await Executor(id_, book=book, nodes=plant, operator="ada", wall_s=lambda: 1e9).run()
    except* lab.Killed:
        pass
    while plant.tasks:
        await asyncio.wait(plant.tasks)


@pytest.mark.parametrize("exported_at", range(1, 110, 12))
def test_another_console_finishes_what_a_file_from_any_step_began_and_nothing_is_done_twice(
    exported_at: int, lab: Any, rows: Rollouts, elsewhere: Callable[[], Rollouts]
) -> None:
    nodes = {name: lab.SimNode(name) for name in NAMES}
    id_, other = planned(lab, rows), elsewhere()

    async def story() -> None:
        orders.start(rows, id_, wall_s=0.0)
        await live(lab, rows, id_, nodes, dies_at=exported_at)
        data = file_of(rows, id_)
        await live(lab, rows, id_, nodes, dies_at=30)  # The file is of yesterday: its console went on, then died.
        assert taken_in(other, data, wall_s=2.0) == id_
        if other.rollout(id_).state != "done":  # type: ignore[union-attr]
            orders.resume(other, id_, operator="bob", wall_s=3.0)
            await live(lab, other, id_, nodes)

    lab.run_virtual(story)
    row = other.rollout(id_)
    assert row is not None
    assert row.state == "done"
    for node in nodes.values():
        assert len(node.flips) == 1, f"{node.name} was switched more than once"
        assert [found.state for found in node.deployments.values()] == [DeploymentState.COMMITTED]
    ends = [max(deployment.ended_s for deployment in nodes[name].deployments.values()) for name in ("n1", "n2")]
    begins = [nodes[name].flips[0][0] for name in ("n2", "n3")]
    assert all(later >= earlier for earlier, later in zip(ends, begins, strict=True)), "no wave was skipped"


def edited(data: bytes, **changes: Any) -> bytes:
    return msgspec.json.encode(json.loads(data) | changes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "won"}, "state won"),
        ({"digest": "sha256:00"}, "was changed"),
        ({"id": "other-1-abc"}, "its id"),
        ({"want": "chaos"}, "its order"),
        ({"targets": []}, "its nodes are not"),
        ({"waves": []}, "its waves are not"),
        ({"more": 1}, "unknown field"),
        ({"format": 2}, "format 2"),
    ],
)
def test_a_file_that_is_not_the_rollout_of_its_plan_is_refused(
    change: dict[str, Any], said: str, lab: Any, rows: Rollouts, elsewhere: Callable[[], Rollouts]
) -> None:
    data, other = file_of(rows, planned(lab, rows)), elsewhere()
    with pytest.raises(RolloutMalformed, match=said):
        taken_in(other, edited(data, **change), wall_s=1.0)
    assert other.rollouts() == []
    taken_in(other, data, wall_s=1.0)


@pytest.mark.parametrize(
    "change", [{"state": "fine"}, {"asked": "dance"}, {"deployment": "f" * 32}, {"attempt": 0}, {"goal": "else"}]
)
def test_a_row_that_no_rollout_has_is_refused(
    change: dict[str, Any], lab: Any, rows: Rollouts, elsewhere: Callable[[], Rollouts]
) -> None:
    data = file_of(rows, planned(lab, rows))
    targets = json.loads(data)["targets"]
    targets[0] |= change
    with pytest.raises(RolloutMalformed, match=targets[0]["node"]):
        taken_in(elsewhere(), edited(data, targets=targets), wall_s=1.0)
    for text in (b"", b"{}", b"[" * 100_000, b"\xff", data[:-1]):
        with pytest.raises(RolloutMalformed):
            taken_in(elsewhere(), text, wall_s=1.0)


def test_one_that_is_here_already_is_not_put_back_to_what_a_file_says(lab: Any, rows: Rollouts) -> None:
    id_ = planned(lab, rows)
    data = file_of(rows, id_)
    orders.start(rows, id_, wall_s=2.0)
    with pytest.raises(RolloutMalformed, match="is here already"):
        taken_in(rows, data, wall_s=3.0)
    row = rows.rollout(id_)
    assert row is not None
    assert row.state == "running"


def test_the_command_line_writes_and_reads_the_file(
    lab: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Home(tmp_path / "a"), Home(tmp_path / "b")
    first.make()
    with Rollouts(first.catalog) as rows:
        id_ = planned(lab, rows)
    file = tmp_path / "carried.json"

    def run(home: Home, *words: str) -> tuple[int, str]:
        code = main(["--home", str(home.path), "--operator", "ada", "rollout", *words])
        told = capsys.readouterr()
        return code, told.out + told.err

    assert run(first, "export", id_[-6:], "-o", str(file))[0] == 0
    code, text = run(second, "import", str(file))
    assert code == 0
    assert id_ in text
    assert f"{id_}: pump 2 to 4 nodes in 3 waves" in run(second, "show", id_)[1]
    code, text = run(second, "start", id_, "--yes")
    assert code == 1
    assert "n1 of the plan is not in the catalog" in text
    assert run(second, "import", str(file))[0] == 1

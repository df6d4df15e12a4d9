"""Upgrading the agent of many nodes: a canary alone, then a few at a time, and none is begun once one failed."""

from __future__ import annotations

import asyncio

import pytest

from console.cli.upgrades import Course, upgrade_all
from console.failure import Account, Failure


class Plant:
    """Nodes of which some fail; counts how many are being changed at once."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.now = self.most = 0
        self.begun: list[str] = []
        self.told: list[tuple[str, str]] = []

    async def one(self, name: str) -> str:
        self.begun.append(name)
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await asyncio.sleep(0)
        self.now -= 1
        if name in self.failing:
            raise Failure(f"{name} went back", code=3)
        return "runs 2"

    def hear(self, name: str, answer: str | Account) -> None:
        self.told.append((name, answer if isinstance(answer, str) else answer.what))

    def run(self, count: int, *, parallel: int = 3, canary: bool = True) -> Course:
        names = [f"n{number}" for number in range(count)]
        return asyncio.run(upgrade_all(names, self.one, self.hear, parallel=parallel, canary=canary))


def test_all_are_done_the_first_alone_and_the_others_no_more_at_once_than_allowed() -> None:
    plant = Plant()
    course = plant.run(9)
    assert (sorted(course.done), course.failed, course.rest, course.code) == ([f"n{n}" for n in range(9)], {}, [], 0)
    assert plant.most == 3
    assert plant.told[0] == ("n0", "runs 2")
    assert plant.begun[0] == "n0"
    assert len(plant.told) == 9


@pytest.mark.parametrize(("failing", "begun"), [("n0", ["n0"]), ("n1", ["n0", "n1", "n2", "n3"])])
def test_once_one_failed_no_other_is_begun_and_those_under_way_come_to_their_end(
    failing: str, begun: list[str]
) -> None:
    plant = Plant(failing)
    course = plant.run(9)
    assert plant.begun == begun
    assert sorted([*course.done, *course.failed]) == begun
    assert course.rest == [f"n{n}" for n in range(len(begun), 9)]
    assert (list(course.failed), course.code) == ([failing], 3)
    assert (failing, f"{failing} went back") in plant.told


def test_without_a_canary_as_many_as_allowed_begin_at_once() -> None:
    plant = Plant()
    assert plant.run(4, parallel=4, canary=False).code == 0
    assert plant.most == 4

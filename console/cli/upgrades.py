"""`outstation agent upgrade` over many nodes: a canary first, then a few at a time, and no more once one failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from console.failure import EXPECTED, FAILED, OK, Account, Failure, account

PARALLEL: Final = 4
PARALLEL_MAX: Final = 32
T = TypeVar("T")


@dataclass
class Course:
    """How an upgrade of many goes: `done` in the order in which they ended, `failed` with the reason of each.

    `rest` were not begun. What is under way when one fails is let come to its end: a node is never left between two.
    """

    rest: list[str]
    done: list[str] = field(default_factory=list)
    failed: dict[str, Account] = field(default_factory=dict)

    @property
    def code(self) -> int:
        """The exit code: the first failure's."""
        return next((told.code or FAILED for told in self.failed.values()), OK)


async def upgrade_all(
    names: Sequence[str],
    one: Callable[[str], Awaitable[T]],
    told: Callable[[str, T | Account], None],
    *,
    parallel: int,
    canary: bool,
) -> Course:
    """Upgrades `names`: the first alone where `canary`, then `parallel` at a time until one fails.

    `one` does one node, or raises what is expected; `told` hears of each as it ends.
    """
    course = Course(list(names))

    async def next_ones() -> None:
        while course.rest and not course.failed:
            name = course.rest.pop(0)
            try:
                answer = await one(name)
            except (*EXPECTED, Failure) as error:
                course.failed[name] = account(error)
                told(name, course.failed[name])
                continue
            course.done.append(name)
            told(name, answer)

    if canary and len(names) > 1:
        await _alone(course, next_ones)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(parallel, len(course.rest))):
            group.create_task(next_ones())
    return course


async def _alone(course: Course, next_ones: Callable[[], Awaitable[None]]) -> None:
    """The first of them, with the others held back."""
    held, course.rest[1:] = course.rest[1:], []
    await next_ones()
    course.rest += held

"""Carries a rollout out: intent row, request, outcome row. It makes no choices; decide() does, from the rows.

It may be killed at any moment. What was asked and not answered stands in the rows, and the next executor asks the
node what became of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from console.client.wire import AgentError
from console.delivery.deploy import DeployFailed
from console.link.errors import LinkError
from console.rollout.book import Book
from console.rollout.decide import Step, decide
from console.rollout.gates import Sample
from console.rollout.line import Line
from console.rollout.moves import Act
from console.rollout.nodes import Nodes
from console.rollout.outcomes import WRITES, Answer, Problem, after, deployment_id, problem_of
from console.rollout.plan import Plan, read_plan
from console.rollout.standing import Standing
from store.rollouts import RolloutRow, Rollouts, TargetRow, WaveRow

TICK_S = 1.0
# Answers that come together are looked at together: with 200 nodes a decision an answer would be too many.
TOGETHER_S = 0.05
KEEP_SOAK_US = 5_000_000


class Executor:
    """One rollout. `wall_s` is the console's clock; `choose` is decide(), given so that tests can break it."""

    def __init__(
        self,
        id_: str,
        *,
        book: Book,
        nodes: Nodes,
        operator: str,
        wall_s: Callable[[], float],
        on_change: Callable[[Standing], None] = lambda _: None,
        choose: Callable[[Standing], Step] = decide,
    ) -> None:
        self._id, self._book, self._nodes, self._operator = id_, book, nodes, operator
        self._wall_s, self._on_change, self._choose = wall_s, on_change, choose
        self._plan: Plan
        self._waves: list[WaveRow] = []
        self._targets: dict[str, TargetRow] = {}
        self._kept_us: dict[str, int] = {}
        self._lines: dict[str, Line] = {}
        self._answers: list[tuple[TargetRow, str]] = []
        self._keeping = asyncio.Lock()
        self._news = asyncio.Event()

    async def run(self) -> RolloutRow:
        """Until the rollout is done, partial, paused or aborted. Raises StoreError kinds; a node's no is a row."""
        rollout = await self._load()
        async with asyncio.TaskGroup() as group:
            while rollout.state == "running":
                self._news.clear()
                standing = self._standing(rollout)
                step = self._choose(standing)
                if step.changes:
                    await self._write(step)
                for act in step.acts:
                    self._line(act.node).busy = True
                    group.create_task(self._do(act), name=f"{act.op} {act.node}")
                self._on_change(standing)
                if not step.changes:
                    await self._wait()
                rollout = await self._row()
        return rollout

    # -- rows

    async def _row(self) -> RolloutRow:
        found = await self._book(lambda rows: rows.rollout(self._id))
        if found is None:
            raise KeyError(self._id)
        return found

    async def _load(self) -> RolloutRow:
        rollout = await self._row()
        self._plan = read_plan(rollout.plan, rollout.digest)
        self._waves = await self._book(lambda rows: rows.waves(self._id))
        targets: Sequence[TargetRow] = await self._book(lambda rows: rows.targets(self._id))
        self._targets = {target.node: target for target in targets}
        return rollout

    async def _write(self, step: Step) -> None:
        changed = {target.node: target for target in step.targets}
        numbers = {wave.number for wave in step.waves}
        targets = [*changed.values()]
        # What the gate was judged by is kept with its verdict.
        targets += [row for row in self._targets.values() if row.wave in numbers and row.node not in changed]
        wall_s = self._wall_s()

        def change(rows: Rollouts) -> None:
            rows.change(self._id, wall_s=wall_s, rollout=dict(step.rollout), waves=step.waves, targets=targets)

        await self._book(change)
        self._targets |= changed
        for wave in step.waves:
            self._waves[wave.number - 1] = wave

    def _standing(self, rollout: RolloutRow) -> Standing:
        now_s = asyncio.get_running_loop().time()
        contacts = {node: line.contact(now_s) for node, line in self._lines.items()}
        return Standing(
            self._plan, rollout, tuple(self._waves), tuple(self._targets.values()), contacts, self._wall_s()
        )

    def _line(self, node: str) -> Line:
        return self._lines.setdefault(node, Line())

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._news.wait()
            await asyncio.sleep(TOGETHER_S)
        except TimeoutError:
            return

    # -- one node

    async def _do(self, act: Act) -> None:
        target, answer = await self._ask(act)
        before, row, heard = self._targets[act.node], self._after(target, act, answer), answer
        if act.op == "look" and row.state == "trial" and not isinstance(answer, Problem):
            heard = await self._answer_of(self._nodes.sample(act.node))
            row = self._after(row, act, heard)
        # The rows here are never behind those on the disk: a wave's change writes them too.
        self._targets[act.node] = row
        if act.op in WRITES or self._is_news(before, row):
            self._kept_us[row.node] = row.seen_us
            await self._keep(row, _tell(answer))
        line = self._line(act.node)
        line.heard(heard, asyncio.get_running_loop().time())
        line.busy = False
        self._news.set()

    async def _keep(self, row: TargetRow, outcome: str) -> None:
        """Writes an answer, together with those that come while another is written."""
        self._answers.append((row, outcome))
        async with self._keeping:
            if all(kept is not row for kept, _ in self._answers):
                return
            together, self._answers, wall_s = self._answers, [], self._wall_s()
            await self._book(lambda rows: rows.answers(together, wall_s=wall_s))

    async def _ask(self, act: Act) -> tuple[TargetRow, Answer]:
        """The intent, durable; then the request. Before a switch, how the revision that runs now does."""
        target = self._targets[act.node]
        if act.op in WRITES:
            target = replace(target, cause=act.cause or target.cause, detail=act.detail or target.detail)
            if act.op == "activate":
                before = await self._answer_of(self._nodes.sample(act.node))
                if isinstance(before, Problem):
                    return target, before if before.kind == "lost" else replace(before, kind="later")
                target = self._with_before(target, before)
            target = await self._intend(target, act)
        return target, await self._answer_of(self._request(act, target))

    def _with_before(self, target: TargetRow, before: Answer) -> TargetRow:
        if not isinstance(before, Sample) or before.digest in ("", self._plan.bundle.digest):
            return replace(target, after="")
        return replace(target, before=msgspec.json.encode(before).decode(), after="")

    async def _intend(self, target: TargetRow, act: Act) -> TargetRow:
        id_ = target.deployment or deployment_id(self._id, target.node, target.goal, target.attempt)
        flips = target.flips + (act.op in ("activate", "shadow", "revert"))
        row, wall_s = replace(target, asked=act.op, deployment=id_, flips=flips), self._wall_s()
        self._targets[row.node] = row
        await self._book(lambda rows: rows.ask(row, act.op, self._operator, wall_s=wall_s))
        return row

    def _request(self, act: Act, target: TargetRow) -> Awaitable[Answer]:
        node, id_, window_s = target.node, target.deployment, self._plan.policy.trial.window_s
        match act.op:
            case "stage":
                return self._nodes.stage(node, id_, window_s)
            case "activate":
                return self._nodes.activate(node, id_)
            case "shadow":
                return self._nodes.shadow(node, id_)
            case "look":
                return self._nodes.look(node, id_)
            case "confirm":
                return self._nodes.confirm(node, id_)
            case "rollback":
                return self._nodes.rollback(node, id_, act.detail or f"rollout {self._id}")
            case "revert":
                return self._nodes.revert(node, id_, window_s, f"rollout {self._id} was aborted")
            case "watch" | "call":
                return self._nodes.sample(node)

    async def _answer_of(self, request: Awaitable[Any]) -> Answer:
        try:
            answer: Answer = await request
            return answer
        except (LinkError, AgentError, DeployFailed) as error:
            return problem_of(error)

    def _after(self, target: TargetRow, act: Act, answer: Answer) -> TargetRow:
        retries = self._plan.policy.failures.retries
        return after(target, act.op, answer, digest=self._plan.bundle.digest, retries=retries)

    def _is_news(self, before: TargetRow, row: TargetRow) -> bool:
        """Whether the row is to be written: a look that shows nothing new costs the disk nothing."""
        told = [(r.state, r.asked, r.cause, r.attempt, r.debt, r.seen_boot) for r in (before, row)]
        return told[0] != told[1] or row.seen_us - self._kept_us.get(row.node, 0) >= KEEP_SOAK_US


def _tell(answer: Answer) -> str:
    """An answer as the oplog keeps it."""
    if answer is None:
        return "the node does not know it"
    if isinstance(answer, Problem):
        return f"{answer.kind}: {answer.cause}: {answer.text}"
    if isinstance(answer, Sample):
        return "answers"
    return f"{answer.state} {answer.reason or ''}".strip()

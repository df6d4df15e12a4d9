"""Where a rollout stands: the plan, its rows and what this console can reach now. Values, and questions about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from console.rollout.calendar import is_open
from console.rollout.gates import TERMINAL, Verdict, wave_verdict
from console.rollout.plan import Plan
from store.rollouts import RolloutRow, TargetRow, WaveRow

POLL_S_MIN, POLL_S_MAX = 1.0, 15.0
OPEN_WAVES = frozenset({"running", "soaking", "passed"})


@dataclass(frozen=True, slots=True)
class Contact:
    """One node as this console reaches it. `silent_s` since it last answered, 0 while it does; `idle_s` since it was
    last asked; `backoff`: not to be asked yet.
    """

    busy: bool = False
    backoff: bool = False
    idle_s: float = 1e9
    silent_s: float = 0.0


NOBODY = Contact()


@dataclass(frozen=True)
class Standing:
    """All that a decision is made of."""

    plan: Plan
    rollout: RolloutRow
    waves: Sequence[WaveRow]
    targets: Sequence[TargetRow]
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    wall_s: float = 0.0

    def contact(self, node: str) -> Contact:
        return self.contacts.get(node, NOBODY)

    def of_wave(self, number: int) -> list[TargetRow]:
        return [target for target in self.targets if target.wave == number]

    @cached_property
    def poll_s(self) -> float:
        """How often a node is looked at."""
        policy = self.plan.policy
        shortest_s = min(policy.trial.soak_s or POLL_S_MAX, policy.waves.soak_s or POLL_S_MAX)
        return min(POLL_S_MAX, max(POLL_S_MIN, shortest_s / 5))

    @cached_property
    def is_open(self) -> bool:
        """Whether nodes may be switched now."""
        return is_open(self.plan.policy.window, self.wall_s)

    @cached_property
    def current(self) -> WaveRow | None:
        """The wave that is under way."""
        return next((wave for wave in self.waves if wave.state in ("running", "soaking")), None)

    @cached_property
    def groups_moving(self) -> frozenset[str]:
        """Redundancy groups of which a member is not at rest."""
        return frozenset(self.group(target.node) for target in self.targets if is_moving(target)) - {""}

    def group(self, node: str) -> str:
        return self._groups[node]

    @cached_property
    def _groups(self) -> dict[str, str]:
        return {node.name: node.group for node in self.plan.nodes}

    def in_flight(self, number: int | None = None) -> list[TargetRow]:
        """Nodes (of one wave) that something runs on, or that were asked something that is not answered yet."""
        return [
            target
            for target in self.targets
            if number in (None, target.wave)
            and target.state != "unknown"
            and (target.asked or target.state == "trial" or self.contact(target.node).busy)
        ]

    def failures(self, number: int) -> int:
        return sum(target.state == "failed" for target in self.targets if target.wave == number)

    def is_stopped(self, number: int) -> bool:
        """Whether a wave has as many failures as stop it, and nobody took that on himself."""
        row = self.waves[number - 1]
        return not row.accepted_by and self.failures(number) >= self.plan.waves[number - 1].failures_max

    def verdict(self, number: int) -> Verdict:
        """The gate of a wave, as it is now."""
        policy = self.plan.policy
        return wave_verdict(
            self.plan.waves[number - 1],
            self.of_wave(number),
            policy.gate,
            soak_s=policy.waves.soak_s,
            silent={node: contact.silent_s for node, contact in self.contacts.items()},
            silent_s_max=policy.failures.unreachable_s,
        )


def is_moving(target: TargetRow) -> bool:
    """Whether another revision than the settled one may run on the node now."""
    return target.state in ("trial", "unknown") or target.asked in ("activate", "revert", "confirm", "rollback")


def is_terminal(target: TargetRow) -> bool:
    """Whether this is the node's outcome. unknown is none."""
    return target.state in TERMINAL

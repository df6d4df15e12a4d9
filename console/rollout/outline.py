"""What a plan will take, read before it is started: bytes, time, groups, logins. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from console import figures
from console.link.seeds import JUMP
from console.rollout.plan import Plan
from nodeagent.protocol import ASKS_NUMBER, ASKS_PERSON

# Preflight, recorder gate, the switch and a login, as a node of ordinary size does them.
SWITCH_S = 15.0
NAMES_SHOWN = 8


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """What goes over the way to one jump host, at most: the bundle `times` over, once for every node behind it or once
    to a seed.

    `seconds`: at the policy's budget; None where it has none.
    """

    jump: str
    nodes: int
    times: int
    bytes_max: int
    seconds: float | None


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """`bytes_max`: what a node holds already is not sent. `least_s`: without uploads, retries and maintenance windows.

    `upload_s`: so many bytes at the policy's budget. `groups`: node -> its redundancy group; `logins`: node -> what
    its login needs a person for. `change`: the number that every write carries; `asks_number`, `asks_person`: the
    nodes whose policy asks for one, or for a second person's signature.
    """

    policy: str
    stage: str
    success: str
    concurrency: int
    trial_window_s: float
    trial_soak_s: float
    wave_soak_s: float
    recorder_rows: int
    agreement_min: float
    shadow_s: float
    bytes_max: int
    bundle_bytes: int
    least_s: float
    groups: dict[str, str]
    logins: dict[str, str]
    stops_at: tuple[int, ...]
    budget: str = ""
    upload_s: float | None = None
    crossings: tuple[Crossing, ...] = ()
    change: str = ""
    asks_number: tuple[str, ...] = ()
    asks_person: tuple[str, ...] = ()


def outline(plan: Plan) -> Outline:
    """Of a stored plan."""
    policy = plan.policy
    return Outline(
        policy=policy.name,
        stage=policy.stage,
        success=policy.success,
        concurrency=policy.waves.concurrency,
        trial_window_s=policy.trial.window_s,
        trial_soak_s=policy.trial.soak_s,
        wave_soak_s=policy.waves.soak_s,
        recorder_rows=policy.recorder.rows,
        agreement_min=policy.recorder.agreement_min,
        shadow_s=policy.shadow.shadow_s,
        bytes_max=plan.bundle.size_bytes * len(plan.nodes),
        bundle_bytes=plan.bundle.size_bytes,
        least_s=least_s(plan),
        groups={node.name: node.group for node in plan.nodes if node.group},
        logins={node.name: node.person for node in plan.logins},
        stops_at=tuple(wave.failures_max for wave in plan.waves),
        budget=policy.transfer.budget,
        upload_s=_seconds(plan, len(plan.nodes)),
        crossings=crossings(plan),
        change=plan.number,
        asks_number=plan.asking(ASKS_NUMBER),
        asks_person=plan.asking(ASKS_PERSON),
    )


def change_lines(told: Outline) -> list[str]:
    """Under which number the nodes are changed, and what they ask for that is not there yet."""
    lines = [f"{told.change}, in every node's ledger"] if told.change else []
    if told.asks_number and not told.change:
        names = names_in_short(told.asks_number)
        lines.append(f"NO NUMBER, and {names} will refuse without one: plan again with --change NUMBER")
    if told.asks_person:
        lines.append(f"a second person signs for {names_in_short(told.asks_person)}: outstation approve")
    return lines


def names_in_short(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def crossings(plan: Plan) -> tuple[Crossing, ...]:
    """The jump hosts with several nodes of the plan behind them, the busiest first."""
    behind = Counter(node.jumps[0] for node in plan.nodes if node.jumps)
    found = []
    for jump, nodes in behind.most_common():
        times = _times(plan, jump, nodes)
        if nodes > 1:
            size = times * plan.bundle.size_bytes
            found.append(Crossing(jump=jump, nodes=nodes, times=times, bytes_max=size, seconds=_seconds(plan, times)))
    return tuple(found)


def _times(plan: Plan, jump: str, nodes: int) -> int:
    """How often the bundle crosses the way to a jump host: once a seed, and once a node that has none."""
    seed = plan.policy.transfer.seed
    ways = [node.jumps for node in plan.nodes if node.jumps[:1] == (jump,)]
    if seed == JUMP:
        return len(set(ways))
    served = next((node.jumps for node in plan.nodes if node.name == seed), None)
    return nodes - ways.count(served) + 1 if served in ways else nodes


def _seconds(plan: Plan, nodes: int) -> float | None:
    rate = plan.policy.transfer.bytes_per_s
    return None if rate is None else nodes * plan.bundle.size_bytes / rate


def transfer_lines(told: Outline) -> list[str]:
    """What goes over thin links, and how long that takes."""
    lines = []
    if told.upload_s is not None:
        lines.append(f"uploads take at most {told.budget} together: {figures.countdown(told.upload_s)} for all of it")
    for way in told.crossings:
        took = "" if way.seconds is None else f", {figures.countdown(way.seconds)} at {told.budget}"
        each = f"{way.times} x {figures.size(told.bundle_bytes)} = {figures.size(way.bytes_max)}"
        how = "once a node" if way.times == way.nodes else f"{way.times} times for {way.nodes} nodes, by a seed"
        lines.append(f"the bundle crosses the way to {way.jump} {how}: {each} at most{took}")
    return lines


def least_s(plan: Plan) -> float:
    """Seconds that the waves need at least, one after the other."""
    policy = plan.policy
    once_s = SWITCH_S + policy.trial.soak_s + (policy.shadow.shadow_s + SWITCH_S if policy.shadow.shadow_s else 0.0)
    turns = (-(-len(wave.nodes) // policy.waves.concurrency) for wave in plan.waves)
    return sum(count * once_s + policy.waves.soak_s for count in turns)

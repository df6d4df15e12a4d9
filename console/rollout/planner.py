"""plan(policy, facts, bundle) -> Plan. Pure and deterministic: the same arguments give the same bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from console.rollout.plan import BundleFacts, LeftOut, NodeFacts, Plan, PlannedNode, PlannedWave, failures_max
from console.rollout.policy import Policy, percent_or_count
from nodeagent.protocol import CHANGE_NUMBER_PATTERN, CHANGE_NUMBER_WORDS

Wave = tuple[str, list[NodeFacts]]


class PlanRefused(Exception):
    """There is nothing to roll out, or the policy names what does not exist."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def plan(policy: Policy, facts: Sequence[NodeFacts], bundle: BundleFacts, *, change: str = "") -> Plan:
    """Raises PlanRefused where no node is left, or a named canary is not among those selected.

    `change`: the number of it all in the plant's own books.
    """
    if wrong := wrong_number(change):
        raise PlanRefused(wrong, "--change NUMBER")
    groups = _groups(policy, facts)
    chosen: list[NodeFacts] = []
    left_out: list[LeftOut] = []
    for fact in sorted((fact for fact in facts if selected(policy, fact)), key=_order):
        if why := _why_out(policy, bundle, fact):
            left_out.append(LeftOut(name=fact.name, reason=why[0], fix=why[1]))
        else:
            chosen.append(fact)
    if not chosen:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in left_out[:5])
        raise PlanRefused(
            f"no node is left for {bundle.name} {bundle.version}", reasons or "look at [select] of the policy"
        )
    waves, beyond = _waves(policy, chosen, groups)
    left_out += [LeftOut(name=fact.name, reason="beyond the policy's last step") for fact in beyond]
    return Plan(
        policy=policy,
        bundle=bundle,
        waves=tuple(
            PlannedWave(
                number=number,
                name=name,
                nodes=tuple(fact.name for fact in members),
                failures_max=failures_max(policy.failures.threshold, len(members)),
            )
            for number, (name, members) in enumerate(waves, 1)
        ),
        nodes=tuple(
            _planned(fact, number, groups.get(fact.name, ""), bundle)
            for number, (_, members) in enumerate(waves, 1)
            for fact in members
        ),
        left_out=tuple(sorted(left_out, key=lambda item: item.name)),
        change=change.strip() or msgspec.UNSET,
    )


def _order(fact: NodeFacts) -> tuple[str, str, str]:
    return fact.site, fact.line, fact.name


def _planned(fact: NodeFacts, wave: int, group: str, bundle: BundleFacts) -> PlannedNode:
    before = next((run for run in fact.runs if run.bundle == bundle.name), None)
    return PlannedNode(
        name=fact.name,
        node_id=fact.node_id,
        wave=wave,
        site=fact.site,
        line=fact.line,
        group=group,
        before_version=before.version if before else "",
        before_digest=before.digest if before else "",
        person=fact.person,
        jumps=fact.jumps,
        asks=fact.asks or msgspec.UNSET,
    )


def wrong_number(change: str) -> str:
    """What is wrong with a change number; "" for one that can be kept, and for none."""
    if change.strip() and not re.fullmatch(CHANGE_NUMBER_PATTERN, change.strip()):
        return f"a change number is {CHANGE_NUMBER_WORDS}"
    return ""


# ---------------------------------------------------------------- who


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def selected(policy: Policy, fact: NodeFacts) -> bool:
    """Whether the policy names the node, by what the console knows of it without asking."""
    select, labels = policy.select, dict(fact.labels)
    pairs = (
        (fact.name, select.nodes),
        (fact.site, select.sites),
        (fact.line, select.lines),
        (fact.machine, select.machines),
    )
    return all(not patterns or _matches(value, patterns) for value, patterns in pairs) and all(
        labels.get(key) == value for key, value in select.labels.items()
    )


def _why_out(policy: Policy, bundle: BundleFacts, fact: NodeFacts) -> tuple[str, str] | None:
    """Why a selected node gets nothing, and what to do about it; None: it takes part."""
    if _matches(fact.name, policy.select.exclude):
        return "the policy excludes it", ""
    if not fact.reached:
        if fact.name in policy.select.nodes or not policy.select.running:
            return None  # It is owed: the rollout comes back to it when it answers.
        unknown = f"not reached ({fact.why_not}), so it is not known whether it runs {bundle.name}"
        return unknown, "plan again when it answers, or name it in select.nodes"
    before = next((run for run in fact.runs if run.bundle == bundle.name), None)
    if policy.select.running and before is None:
        return f"does not run {bundle.name}", "set select.running = false to install it there"
    if before is not None and before.digest == bundle.digest:
        return f"runs {bundle.name} {bundle.version} already", ""
    if dict(fact.labels).get("access") == "monitor":
        return "its label access=monitor: it is only watched from here", "take the label away, then plan again"
    if fact.out_of_service:
        return f"out of service: {fact.out_of_service}", "lift it, then plan again"
    if fact.hold:
        return f"outputs are held: {fact.hold}", "release the hold, then plan again"
    if fact.fits is False:
        return f"the bundle does not fit: {fact.unfit}", fact.fix
    if policy.trial.window_s < policy.trial.soak_s + 2 * fact.rtt_s:
        return f"answers in {fact.rtt_s:.1f} s: too slow to be confirmed in the trial", "a longer trial.window"
    return None


# ---------------------------------------------------------------- waves


def _groups(policy: Policy, facts: Sequence[NodeFacts]) -> dict[str, str]:
    """Node -> its redundancy group. Raises PlanRefused for a node in two listed groups."""
    found: dict[str, str] = {}
    if policy.redundancy.label:
        for fact in facts:
            if value := dict(fact.labels).get(policy.redundancy.label):
                found[fact.name] = f"{policy.redundancy.label}={value}"
    for members in policy.redundancy.groups:
        for name in members:
            if name in found:
                raise PlanRefused(f"{name} is in two redundancy groups", "look at [redundancy] of the policy")
            found[name] = "+".join(sorted(members))
    return found


def _waves(policy: Policy, chosen: list[NodeFacts], groups: dict[str, str]) -> tuple[list[Wave], list[NodeFacts]]:
    """Waves without empty ones, and the nodes that no step reaches."""
    canary = _canary(policy, chosen, groups)
    rest = [fact for fact in chosen if fact not in canary]
    first: list[Wave] = [("canary", canary)] if canary else []
    if policy.waves.by:
        return first + _by_place(policy.waves.by, rest, groups), []
    later, beyond = _by_steps(policy, len(chosen), len(canary), rest, groups)
    return first + later, beyond


def _canary(policy: Policy, chosen: list[NodeFacts], groups: dict[str, str]) -> list[NodeFacts]:
    wanted = policy.waves.canary
    if isinstance(wanted, int):
        return _apart(chosen, groups, wanted)[0]
    by_name = {fact.name: fact for fact in chosen}
    for name in wanted:
        if name not in by_name:
            raise PlanRefused(f"the canary {name} is not among the nodes that take part", "name another one")
    found, clash = _apart([by_name[name] for name in wanted], groups, len(wanted))
    if clash:
        raise PlanRefused(f"the canary {clash[0].name} stands in for another canary", "name only one of the two")
    return found


def _apart(facts: list[NodeFacts], groups: dict[str, str], most: int) -> tuple[list[NodeFacts], list[NodeFacts]]:
    """At most `most` of `facts`, in order, no two of one group; and those that were not taken."""
    taken: list[NodeFacts] = []
    passed: list[NodeFacts] = []
    seen: set[str] = set()
    for fact in facts:
        group = groups.get(fact.name, "")
        if len(taken) < most and (not group or group not in seen):
            taken.append(fact)
            seen.add(group)
        else:
            passed.append(fact)
    return taken, passed


def _by_place(by: str, rest: list[NodeFacts], groups: dict[str, str]) -> list[Wave]:
    """A wave a line or site, in order of their names; second members of a group in a wave of their own behind it."""
    places: dict[str, list[NodeFacts]] = {}
    for fact in rest:
        place = fact.site if by == "site" else f"{fact.site} {fact.line}".strip()
        places.setdefault(place or f"no {by}", []).append(fact)
    waves: list[Wave] = []
    for place, members in places.items():
        name = place
        while members:
            taken, members = _apart(members, groups, len(members))
            waves.append((name, taken))
            name = f"{place}, the rest"
    return waves


def _by_steps(
    policy: Policy, total: int, done: int, rest: list[NodeFacts], groups: dict[str, str]
) -> tuple[list[Wave], list[NodeFacts]]:
    """Cumulative waves; a second member of a group goes to the next wave, behind the last to one of its own."""
    steps = policy.waves.steps or ("100%",)
    reach = max(percent_or_count(step, total) for step in steps)
    beyond = rest[max(0, reach - done) :]
    rest = rest[: max(0, reach - done)]
    waves: list[Wave] = []
    for step in steps:
        taken, rest = _apart(rest, groups, max(0, percent_or_count(step, total) - done))
        done += len(taken)
        if taken:
            waves.append((str(step) if isinstance(step, str) else f"to {step}", taken))
    while rest:
        taken, rest = _apart(rest, groups, len(rest))
        waves.append(("the rest", taken))
    return waves, beyond

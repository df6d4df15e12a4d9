"""Plans: pure, deterministic, nobody twice, nobody forgotten, never two of a redundancy group in one wave."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.rollout.outline import change_lines, outline
from console.rollout.plan import NodeFacts, Plan, Running, read_plan
from console.rollout.planner import PlanRefused, plan
from console.rollout.policy import Failures, Policy, Redundancy, Select, TrialRules, Waves, percent_or_count

RUNS = (Running(bundle="pump", version="1", digest="sha256:old", revision=1),)


def facts(count: int, **named: Any) -> list[NodeFacts]:
    return [NodeFacts(name=f"n{number:02}", runs=RUNS, **named) for number in range(count)]


def waves(found: Plan) -> list[list[str]]:
    return [list(wave.nodes) for wave in found.waves]


def test_a_canary_and_then_cumulative_shares(lab: Any) -> None:
    found = plan(Policy(waves=Waves(canary=1, steps=("25%", "50%", "100%"))), facts(8), lab.bundle)
    assert waves(found) == [["n00"], ["n01"], ["n02", "n03"], ["n04", "n05", "n06", "n07"]]
    assert [wave.name for wave in found.waves] == ["canary", "25%", "50%", "100%"]


def test_nodes_beyond_the_last_step_are_left_out_and_told(lab: Any) -> None:
    found = plan(Policy(waves=Waves(canary=1, steps=(2,))), facts(3), lab.bundle)
    assert waves(found) == [["n00"], ["n01"]]
    assert [(out.name, out.reason) for out in found.left_out] == [("n02", "beyond the policy's last step")]


def test_by_line_each_line_of_each_site_is_a_wave(lab: Any) -> None:
    nodes = [NodeFacts(name=f"n{n}", runs=RUNS, site="graz" if n < 3 else "linz", line="ab"[n % 2]) for n in range(5)]
    found = plan(Policy(waves=Waves(canary=0, by="line")), nodes, lab.bundle)
    assert [(wave.name, wave.nodes) for wave in found.waves] == [
        ("graz a", ("n0", "n2")),
        ("graz b", ("n1",)),
        ("linz a", ("n4",)),
        ("linz b", ("n3",)),
    ]


def test_a_pair_on_one_line_takes_two_waves(lab: Any) -> None:
    policy = Policy(waves=Waves(canary=0, by="site"), redundancy=Redundancy(groups=(("n00", "n01"),)))
    found = plan(policy, facts(3, site="graz"), lab.bundle)
    assert [(wave.name, wave.nodes) for wave in found.waves] == [
        ("graz", ("n00", "n02")),
        ("graz, the rest", ("n01",)),
    ]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"runs": ()}, "does not run pump"),
        ({"runs": (Running(bundle="pump", version="2", digest="sha256:new", revision=2),)}, "runs pump 2 already"),
        ({"out_of_service": "maria: belt"}, "out of service: maria: belt"),
        ({"labels": (("access", "monitor"),)}, "its label access=monitor: it is only watched from here"),
        ({"hold": "maria: belt"}, "outputs are held: maria: belt"),
        ({"fits": False, "unfit": "memory"}, "the bundle does not fit: memory"),
        ({"reached": False, "why_not": "no route"}, "not reached (no route), so it is not known whether it runs pump"),
        ({"rtt_s": 300.0}, "answers in 300.0 s: too slow to be confirmed in the trial"),
    ],
)
def test_a_node_is_left_out_with_its_reason(named: dict[str, Any], reason: str, lab: Any) -> None:
    odd = NodeFacts(**({"name": "odd", "runs": RUNS} | named))
    found = plan(Policy(), [*facts(1), odd], lab.bundle)
    assert [(out.name, out.reason) for out in found.left_out] == [("odd", reason)]


def test_an_excluded_node_is_told_and_one_that_was_not_selected_is_not(lab: Any) -> None:
    policy = Policy(select=Select(nodes=("n*",), exclude=("n01",)))
    found = plan(policy, [*facts(2), NodeFacts(name="other", runs=RUNS)], lab.bundle)
    assert [(out.name, out.reason) for out in found.left_out] == [("n01", "the policy excludes it")]


def test_a_node_that_is_named_takes_part_though_it_does_not_answer(lab: Any) -> None:
    lost = NodeFacts(name="lost", reached=False, why_not="no route")
    assert waves(plan(Policy(select=Select(nodes=("n00", "lost"))), [*facts(1), lost], lab.bundle)) == [
        ["lost"],
        ["n00"],
    ]


def test_logins_that_need_a_person_are_announced(lab: Any) -> None:
    found = plan(Policy(), [*facts(1), *[NodeFacts(name="x", runs=RUNS, person="a secret is typed")]], lab.bundle)
    assert [node.name for node in found.logins] == ["x"]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(select=Select(sites=("nowhere",))), "no node is left"),
        (Policy(waves=Waves(canary=("nobody",))), "the canary nobody"),
        (
            Policy(waves=Waves(canary=("n00", "n01")), redundancy=Redundancy(groups=(("n00", "n01"),))),
            "stands in for another canary",
        ),
        (Policy(redundancy=Redundancy(groups=(("n00", "n01"), ("n01", "n02")))), "two redundancy groups"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(policy: Policy, words: str, lab: Any) -> None:
    with pytest.raises(PlanRefused, match=words):
        plan(policy, facts(3), lab.bundle)


def test_a_stored_plan_that_was_changed_is_not_read(lab: Any) -> None:
    found = plan(Policy(), facts(2), lab.bundle)
    assert read_plan(found.encoded(), found.digest) == found
    with pytest.raises(ValueError, match="was changed"):
        read_plan(found.encoded().replace(b"n01", b"n02"), found.digest)


steps = st.lists(st.one_of(st.integers(1, 60), st.integers(1, 100).map(lambda n: f"{n}%")), max_size=4)
node = st.builds(
    NodeFacts,
    name=st.integers(0, 60).map(lambda n: f"n{n:02}"),
    site=st.sampled_from(("", "graz", "linz")),
    line=st.sampled_from(("", "a", "b")),
    labels=st.sampled_from(((), (("pair", "1"),), (("pair", "2"),), (("pair", "3"),))),
    runs=st.sampled_from(((), RUNS)),
    reached=st.booleans(),
    fits=st.sampled_from((None, True, False)),
)


@settings(max_examples=150, deadline=None)
@given(
    nodes=st.lists(node, min_size=1, max_size=40, unique_by=lambda fact: fact.name),
    canary=st.integers(0, 5),
    steps=steps,
    by=st.sampled_from(("", "line", "site")),
    running=st.booleans(),
    threshold=st.one_of(st.integers(1, 5), st.integers(1, 100).map(lambda n: f"{n}%")),
    random=st.randoms(use_true_random=False),
)
def test_every_selected_node_is_in_one_wave_or_left_out_and_groups_stay_apart(
    nodes: list[NodeFacts],
    canary: int,
    steps: list[int | str],
    by: Any,
    running: bool,
    threshold: Any,
    random: Any,
    lab: Any,
) -> None:
    policy = Policy(
        select=Select(running=running),
        waves=Waves(canary=canary, steps=() if by else tuple(steps), by=by),
        redundancy=Redundancy(label="pair"),
        failures=Failures(threshold=threshold),
        trial=TrialRules(),
    )
    try:
        found = plan(policy, nodes, lab.bundle)
    except PlanRefused:
        return
    placed = [name for wave in found.waves for name in wave.nodes]
    assert sorted([*placed, *(out.name for out in found.left_out)]) == sorted(fact.name for fact in nodes)
    assert all(wave.nodes for wave in found.waves)
    assert [wave.number for wave in found.waves] == list(range(1, len(found.waves) + 1))
    assert all(wave.failures_max >= 1 for wave in found.waves)
    for wave in found.waves:
        groups = Counter(found.node(name).group for name in wave.nodes)
        assert all(count == 1 for group, count in groups.items() if group)
    if not by and steps:
        total = len(placed) + sum(out.reason.startswith("beyond") for out in found.left_out)
        reach = max(percent_or_count(step, total) for step in steps)
        assert len(placed) <= max(reach, canary)
    shuffled = list(nodes)
    random.shuffle(shuffled)
    assert plan(policy, shuffled, lab.bundle).encoded() == found.encoded()
    assert msgspec.json.decode(found.encoded(), type=Plan) == found


def test_a_change_number_is_part_of_the_plan_and_a_plan_without_one_is_what_it_was_before(lab: Any) -> None:
    without, under = plan(Policy(), facts(2), lab.bundle), plan(Policy(), facts(2), lab.bundle, change=" CHG-1 ")
    assert (without.number, under.number) == ("", "CHG-1")
    assert read_plan(under.encoded(), under.digest) == under
    assert under.digest not in (without.digest, plan(Policy(), facts(2), lab.bundle, change="CHG-2").digest)
    assert b"change" not in without.encoded()
    assert b"asks" not in without.encoded()


@pytest.mark.parametrize("number", ["x" * 65, "a\nb", "-1", "\x1b[2J"])
def test_a_change_number_that_no_node_would_take_is_refused_before_any_is_asked(number: str, lab: Any) -> None:
    with pytest.raises(PlanRefused, match="a change number is 1 to 64 letters"):
        plan(Policy(), facts(2), lab.bundle, change=number)


def test_nodes_that_ask_for_a_number_or_a_second_person_are_named_in_the_plan(lab: Any) -> None:
    nodes = [lab.fact("n00"), lab.fact("n01", asks=("change number", "second person"))]
    without, under = plan(Policy(), nodes, lab.bundle), plan(Policy(), nodes, lab.bundle, change="CHG-1")
    assert change_lines(outline(without)) == [
        "NO NUMBER, and n01 will refuse without one: plan again with --change NUMBER",
        "a second person signs for n01: outstation approve",
    ]
    assert change_lines(outline(under))[0] == "CHG-1, in every node's ledger"
    assert change_lines(outline(plan(Policy(), nodes[:1], lab.bundle))) == []

"""Planning a rollout in the app: marks, bundle, policy, the stored plan as it is read; and policies kept as files."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.rollout.outline import SWITCH_S, least_s, outline
from console.rollout.plan import BundleFacts, NodeFacts, Running
from console.rollout.planner import plan
from console.rollout.planning import narrowed
from console.rollout.policy import Select, parse_policy
from console.rollout.presets import PRESETS, policies
from console.sample.fleet import sample_seat
from console.sample.operations import SampleOperations
from console.screens.planlines import plan_lines
from console.screens.policies import waves_words
from console.seat.seat import Seat
from widgets.cells import spans_width

SIZES = ((80, 24), (140, 40))


def play(*keys: str, size: tuple[int, int] = (140, 40)) -> tuple[str, SampleOperations]:
    """The screen's text after these keys, and the plant that was asked."""

    async def run() -> tuple[str, SampleOperations]:
        seat = sample_seat()
        async with seat.run_test(size=size) as pilot:
            for key in keys:
                await pilot.press(key)
                await settled(seat, pilot)
            assert isinstance(seat.operations, SampleOperations)
            return seat.screen_text(), seat.operations

    return asyncio.run(run())


async def settled(seat: Seat, pilot: Pilot[Any]) -> None:
    await pilot.pause()
    for worker in [w for w in seat.workers if w.group.startswith("work-")]:
        await worker.wait()
    await pilot.pause()


def facts(*names: str, **named: Any) -> list[NodeFacts]:
    runs = (Running(bundle="pump", version="1", digest="old", revision=1),)
    return [NodeFacts(name=name, runs=runs, **named) for name in names]


BUNDLE = BundleFacts(name="pump", version="2", digest="new", size_bytes=1_000)


@pytest.mark.parametrize("size", SIZES)
def test_in_monitor_the_marked_nodes_get_a_stored_plan_that_is_read_before_anything_starts(
    size: tuple[int, int],
) -> None:
    text, operations = play("asterisk", "D", "enter", "enter", size=size)
    for part in ("planned", "canary, a quarter, all", "at most 92.0 kB", "tried on 1,000 records", "press-01"):
        assert part in text
    assert operations.ordered == []
    assert operations.reports[0].state == "planned"
    assert all(len(line) <= size[0] for line in text.splitlines())


def test_a_plan_of_nodes_that_get_nothing_is_refused_with_the_reason() -> None:
    text, operations = play("space", "D", "down", "down", "down", "enter", "enter")
    assert "no node is left for pump 3.0" in text
    assert len(operations.reports) == 3


@pytest.mark.parametrize("size", SIZES)
def test_change_number_seed_and_budget_are_typed_below_the_policies_and_stand_in_the_plan(
    size: tuple[int, int],
) -> None:
    fields = ("tab", *"CHG-7", "tab", *"jump", "tab", *"2MB/s", "enter")
    text, operations = play("asterisk", "D", "enter", *fields, size=size)
    assert "CHG-7, in every node's ledger" in text
    assert "2MB/s together" in text
    told = operations.reports[0].outline
    assert (told.change, told.budget, operations.terms.seed) == ("CHG-7", "2MB/s", "jump")


@pytest.mark.parametrize(("typed", "words"), [(("tab", "minus"), "a change number is"), (("tab",) * 3, "budget")])
def test_what_cannot_be_is_said_in_the_form_and_nothing_is_planned(typed: tuple[str, ...], words: str) -> None:
    text, operations = play("asterisk", "D", "enter", *typed, "x", "enter")
    assert words in text
    assert len(operations.reports) == 3


def test_past_the_gate_is_ordered_by_the_end_of_the_id_and_only_in_operate() -> None:
    _, operations = play("3", "down", "down", "P")
    assert operations.ordered == []
    id_ = operations.reports[2].id
    _, operations = play("3", "o", "down", "down", "P", *id_[-6:], "enter")
    assert operations.ordered == [(id_, "past")]


def test_every_policy_that_comes_along_is_one() -> None:
    words = [waves_words(parse_policy(entry.text)) for entry in PRESETS]
    assert words[0] == "1, 25%, 100%"
    assert "1, by line" in words


def test_policies_of_the_folder_come_first_and_one_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "a.toml").write_text('name = "ours"\n')
    (folder / "b.toml").write_text("[waves]\ncanari = 1\n")
    first, second, *rest = policies(tmp_path)
    assert (first.name, first.wrong) == ("ours", "")
    assert (second.name, second.wrong) == ("b", "line 2: waves.canari: unknown key")
    assert tuple(rest) == PRESETS


def test_marks_are_stronger_than_what_the_policy_selects() -> None:
    policy = parse_policy('[select]\nsites = ["graz"]\nexclude = ["n3"]\nrunning = false\n')
    assert narrowed(policy, ()) == policy
    assert narrowed(policy, ("n2", "n1")).select == Select(nodes=("n1", "n2"), exclude=("n3",), running=False)


def test_a_plan_says_what_it_sends_at_most_and_takes_at_least() -> None:
    policy = parse_policy(
        '[waves]\ncanary = 1\nconcurrency = 2\nsoak = "1m"\n[trial]\nwindow = "5m"\nsoak = "30s"\n'
        '[redundancy]\ngroups = [["n1", "n2"]]\n'
    )
    made = plan(policy, facts("n1", "n2", "n3", "n4", person="a secret is typed at its login"), BUNDLE)
    told = outline(made)
    assert [len(wave.nodes) for wave in made.waves] == [1, 3]
    assert told.bytes_max == 4_000
    assert least_s(made) == (SWITCH_S + 30) + 60 + 2 * (SWITCH_S + 30) + 60
    assert told.groups == {"n1": "n1+n2", "n2": "n1+n2"}
    assert set(told.logins) == {"n1", "n2", "n3", "n4"}


def test_no_line_of_a_plan_is_wider_than_the_terminal() -> None:
    _, operations = play("asterisk", "D", "enter", "enter")
    for width in (80, 100, 140):
        for line in plan_lines(operations.reports[0], width):
            assert spans_width(line) <= width, line

"""`outstation rollout` as a person runs it, as far as no node is needed: exit codes, lines, what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from console.__main__ import main
from console.cli.rollout_text import plan_lines, report_lines
from console.home import Home
from console.rollout import orders
from console.rollout.planner import plan
from console.rollout.policy import parse_policy
from console.rollout.report import report
from console.rollout.running import CarriedOut, carrying_out, is_carried_out
from store.rollouts import Rollouts

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    found.make()
    return found


@pytest.fixture
def cli(home: Home, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["--home", str(home.path), "--operator", "ada", "rollout", *words])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def kept(home: Home, lab: Any) -> str:
    """A stored plan of three nodes."""
    made = plan(parse_policy('[select]\nexclude = ["n2"]'), [lab.fact(f"n{n}") for n in range(3)], lab.bundle)
    with Rollouts(home.catalog) as rows:
        return orders.keep_plan(rows, made, archive="pump.ostn", operator="ada", wall_s=1.0)


def test_a_wrong_policy_is_a_wrong_call_and_told_with_its_line(cli: Run, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("[waves]\ncanari = 1\n")
    code, out, err = cli("plan", str(policy), "pump")
    assert (code, out) == (2, "")
    assert "line 2: waves.canari: unknown key" in err


def test_a_rollout_that_is_not_there_is_told(cli: Run) -> None:
    for verb in ("show", "start", "resume", "retry", "pause"):
        code, _, err = cli(verb, "nothing")
        assert code == 1
        assert "no rollout is called nothing" in err


def test_a_plan_is_read_before_it_is_started_by_the_end_of_its_id(cli: Run, kept: str) -> None:
    code, out, _ = cli("show", kept[-6:])
    assert code == 0
    assert f"{kept}: pump 2 to 2 nodes in 2 waves" in out
    assert "n2        the policy excludes it" in out
    assert f"carry it out: outstation rollout start {kept}" in out


def test_without_a_person_nothing_is_started(cli: Run, kept: str) -> None:
    code, _, err = cli("start", kept)
    assert code == 1
    assert "nothing was done" in err
    assert json.loads(cli("list", "--json")[1])[0]["state"] == "planned"


def test_a_planned_rollout_is_aborted_without_asking_a_node(cli: Run, kept: str) -> None:
    assert cli("abort", kept, "--keep", "--yes")[0] == 0
    code, out, _ = cli("list")
    assert code == 0
    assert "ABORTED" in out
    assert cli("resume", kept, "--yes")[0] == 1


def test_only_one_process_carries_a_rollout_out(home: Home) -> None:
    with carrying_out(home, "r"):
        assert is_carried_out(home, "r")
        with pytest.raises(CarriedOut), carrying_out(home, "r"):
            raise AssertionError("two have it")
    assert not is_carried_out(home, "r")


def test_a_running_rollout_that_nobody_carries_out_is_told_as_that(cli: Run, home: Home, kept: str) -> None:
    with Rollouts(home.catalog) as rows:
        orders.start(rows, kept, wall_s=2.0)
    told = "running, BUT NO CONSOLE CARRIES IT OUT"
    assert told in cli("show", kept)[1]
    with carrying_out(home, kept):
        assert told not in cli("show", kept)[1]
    assert cli("pause", kept)[0] == 0
    assert "PAUSED: a person paused it; no console carried it out then" in cli("show", kept)[1]


def test_partial_is_never_written_as_success(home: Home, kept: str) -> None:
    with Rollouts(home.catalog) as rows:
        rows.set_rollout(kept, wall_s=2.0, state="partial", why="1 of 2 nodes run it, 1 owed")
        row = orders.find(rows, kept)
        found = report(row, rows.waves(kept), rows.targets(kept))
    text = "\n".join(report_lines(found))
    assert "PARTIAL: 1 of 2 nodes run it, 1 owed" in text
    assert not found.success
    assert "done" not in text


def test_a_plan_tells_how_often_the_bundle_crosses_a_thin_link_and_how_long_that_takes(lab: Any) -> None:
    behind = [lab.fact(f"n{n:02}", jumps=("gate", "inner")) for n in range(14)]
    made = plan(parse_policy('[transfer]\nbudget = "100kB/s"'), [*behind, lab.fact("alone", jumps=("other",))],
                replace(lab.bundle, size_bytes=1_000_000))  # fmt: skip
    text = "\n".join(plan_lines("r", made))
    assert "the bundle crosses the way to gate once a node: 14 x 1.0 MB = 14.0 MB at most, 2:20 at 100kB/s" in text
    assert "uploads take at most 100kB/s together: 2:30 for all of it" in text
    assert "other" not in text


@pytest.mark.parametrize(
    ("seed", "times"),
    [("jump", "2 times for 14 nodes"), ("n03", "8 times for 14 nodes"), ("alone", "once a node: 14 x")],
)
def test_a_plan_with_a_seed_tells_that_the_bundle_crosses_once_to_it(lab: Any, seed: str, times: str) -> None:
    behind = [lab.fact(f"n{n:02}", jumps=("gate", "inner") if n % 2 else ("gate", "other")) for n in range(14)]
    made = plan(parse_policy(f'[transfer]\nseed = "{seed}"'), [*behind, lab.fact("alone")], lab.bundle)
    assert any(f"crosses the way to gate {times}" in line for line in plan_lines("r", made))


def test_a_long_wave_is_told_by_its_first_names(lab: Any) -> None:
    made = plan(parse_policy("[waves]\ncanary = 0"), [lab.fact(f"n{n:02}") for n in range(20)], lab.bundle)
    assert any("n07 and 12 more" in line for line in plan_lines("r", made))


def keep(home: Home, lab: Any, change: str) -> str:
    """A stored plan of one node that asks for a change number."""
    made = plan(parse_policy(""), [lab.fact("n0", asks=("change number",))], lab.bundle, change=change)
    with Rollouts(home.catalog) as rows:
        return orders.keep_plan(rows, made, archive="pump.ostn", operator="ada", wall_s=1.0)


def test_a_plan_is_read_with_its_change_number_and_carried_out_under_no_other(cli: Run, home: Home, lab: Any) -> None:
    id_ = keep(home, lab, "CHG-1")
    assert "  change CHG-1, in every node's ledger" in cli("show", id_)[1]
    for words in (("start",), ("resume",), ("retry",), ("abort", "--keep")):
        code, _, err = cli(*words, id_, "--yes", "--change", "CHG-2")
        assert code == 2
        assert "was planned under the change number CHG-1" in err
    assert json.loads(cli("list", "--json")[1])[0]["state"] == "planned"


def test_a_plan_without_the_number_that_its_nodes_ask_for_is_not_started(cli: Run, home: Home, lab: Any) -> None:
    id_ = keep(home, lab, "")
    assert "  change NO NUMBER, and n0 will refuse without one" in cli("show", id_)[1]
    code, _, err = cli("start", id_, "--yes")
    assert code == 1
    assert "n0 ask for a change number, and the plan has none" in err
    assert "outstation rollout plan --change NUMBER" in err
    with Rollouts(home.catalog) as rows:
        orders.start(rows, id_, wall_s=2.0, brings="CHG-1")
        assert orders.find(rows, id_).state == "running"

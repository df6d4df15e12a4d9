"""The transition table of a deployment."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.deployment import deployment
from nodeagent.deployment.deployment import FINAL, TABLE, Action, Event, GuardFacts, GuardLimits, TrialFacts
from nodeagent.protocol import ERRORS, DeploymentState, RollbackReason

LIMITS = GuardLimits(
    error_share_max=0.05, reject_share_max=0.05, latency_ms_p99_max=20.0, samples_min=50, disk_bytes_free_min=1_000
)


@pytest.mark.parametrize(("state", "event"), sorted(set(itertools.product(DeploymentState, Event)) - set(TABLE)))
def test_an_event_that_a_state_does_not_know_is_a_bug_and_raises(state: DeploymentState, event: Event) -> None:
    with pytest.raises(deployment.UnknownEvent):
        deployment.step(state, event)


def test_no_event_leaves_a_final_state() -> None:
    assert {state for state, _ in TABLE}.isdisjoint(FINAL)


def test_i2_only_a_flip_leads_into_a_trial_and_only_a_confirm_commits() -> None:
    into = {(event, row.state) for (state, event), row in TABLE.items() if row.state is not state}
    assert {event for event, state in into if state is DeploymentState.TRIAL} == {Event.FLIPPED}
    assert {event for event, state in into if state is DeploymentState.COMMITTED} == {Event.CONFIRMED}


def test_i16_the_floor_moves_at_commit_only() -> None:
    """I16."""
    raising = {row.state for row in TABLE.values() if Action.RAISE_FLOOR in row.actions}
    assert raising == {DeploymentState.COMMITTED}


def test_every_way_back_has_a_reason_switches_back_and_disarms() -> None:
    back = [row for row in TABLE.values() if row.state is DeploymentState.ROLLED_BACK]
    assert {row.reason for row in back} == set(RollbackReason)
    assert all({Action.SWITCH_BACK, Action.DISARM} <= set(row.actions) for row in back)


def test_every_state_can_reach_a_final_one() -> None:
    for state in set(DeploymentState) - FINAL:
        reached, left = {state}, [state]
        while left:
            new = {row.state for (source, _), row in TABLE.items() if source is left[-1]} - reached
            left = [*left[:-1], *new]
            reached |= new
        assert reached & FINAL, state


def test_another_boot_is_an_interruption_even_past_the_deadline() -> None:
    trial = TrialFacts(boot_id="a", deadline_us=100, resumes=0)
    assert deployment.judge(trial, boot_id="b", now_us=1_000) is Event.REBOOTED
    assert deployment.judge(trial, boot_id="a", now_us=100) is Event.DEADLINE_PASSED
    assert deployment.judge(trial, boot_id="a", now_us=99) is None


@given(resumes=st.integers(0, 5), now_us=st.integers(0, 200), same_boot=st.booleans(), intact=st.booleans())
def test_a_trial_is_resumed_only_in_its_boot_before_its_deadline_whole_and_at_most_twice(
    resumes: int, now_us: int, same_boot: bool, intact: bool
) -> None:
    trial = TrialFacts(boot_id="a", deadline_us=100, resumes=resumes)
    event = deployment.recover(
        DeploymentState.TRIAL, trial, intact=intact, boot_id="a" if same_boot else "b", now_us=now_us
    )
    assert event is not None
    resumed = event is Event.RESUMED
    assert resumed == (same_boot and now_us < 100 and intact and resumes < deployment.TRIAL_RESUMES_MAX)
    assert deployment.step(DeploymentState.TRIAL, event).state is (
        DeploymentState.TRIAL if resumed else DeploymentState.ROLLED_BACK
    )


def test_i6_recovery_of_a_recovered_deployment_changes_nothing_more() -> None:
    """I6: what recovery leads to asks for no further recovery, except a trial that goes on."""
    for state, intact in itertools.product(set(DeploymentState) - {DeploymentState.TRIAL}, (True, False)):
        for _ in range(3):
            event = deployment.recover(state, None, intact=intact, boot_id="a", now_us=1)
            if event is None:
                break
            state = deployment.step(state, event).state
        assert deployment.recover(state, None, intact=intact, boot_id="a", now_us=1) is None


@pytest.mark.parametrize(
    ("floor", "offered", "code"),
    [
        ((0, 0), (9, 123_456), None),
        ((1, 5), (1, 5), None),
        ((1, 5), (1, 6), None),
        ((1, 5), (1, 4), "TRUST.ROLLBACK"),
        ((2, 5), (1, 900), "TRUST.ROLLBACK"),
        ((1, 5), (2, 0), None),
        ((1, 5), (3, 0), "TRUST.FAST_FORWARD"),
        ((1, 5), (1, 10_005), None),
        ((1, 5), (1, 10_006), "TRUST.FAST_FORWARD"),
        ((1, 5), (1, 2**63 - 1), "TRUST.FAST_FORWARD"),
    ],
)
def test_the_floor_refuses_older_and_absurdly_newer_bundles(
    floor: tuple[int, int], offered: tuple[int, int], code: str | None
) -> None:
    assert deployment.floor_error(floor, offered) == code
    assert code is None or code in ERRORS


@pytest.mark.parametrize(
    ("facts", "trips"),
    [
        (GuardFacts(predictions=1_000, errors=0, rejects=0, latency_ms_p99=5.0, disk_bytes_free=10_000), ""),
        (GuardFacts(predictions=30, errors=19, rejects=0, latency_ms_p99=5.0, disk_bytes_free=10_000), ""),
        (GuardFacts(predictions=90, errors=10, rejects=0, latency_ms_p99=5.0, disk_bytes_free=10_000), "errors"),
        (GuardFacts(predictions=90, errors=0, rejects=10, latency_ms_p99=5.0, disk_bytes_free=10_000), "rejects"),
        (GuardFacts(predictions=90, errors=0, rejects=0, latency_ms_p99=21.0, disk_bytes_free=10_000), "latency"),
        (GuardFacts(predictions=90, errors=0, rejects=0, latency_ms_p99=None, disk_bytes_free=None), ""),
        (GuardFacts(predictions=0, errors=0, rejects=0, latency_ms_p99=None, disk_bytes_free=999), "disk"),
    ],
)
def test_a_guard_trips_on_what_is_known_and_never_on_what_is_not(facts: GuardFacts, trips: str) -> None:
    why = deployment.guard(facts, LIMITS)
    assert (why is None) == (trips == "")
    assert trips in (why or "")

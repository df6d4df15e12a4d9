from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from store import ledger
from store.ledger import Stamp
from store.node import deployments, revisions
from store.node.deployments import Failure, TrialRunning, WrongState
from store.node.revisions import Active, Floor

At = Callable[..., Stamp]
MINUTE_US = 60_000_000


def stage(
    node: sqlite3.Connection, stamp: Stamp, id_: str, *, bundle: str = "bearing", sequence: int = 1, epoch: int = 1
) -> None:
    digest = "sha256:" + f"{sequence:064x}"
    deployments.stage(
        node, stamp, id_=id_, bundle=bundle, version=str(sequence), digest=digest, epoch=epoch, sequence=sequence,
        window_us=MINUTE_US, signature="sha256:" + "f" * 64,
    )  # fmt: skip
    deployments.set_staged(node, stamp, id_, signer="bob")
    deployments.set_preflight_ok(node, stamp, id_, {"rss": 1}, binding_revision=2)


def commit(
    node: sqlite3.Connection, at: At, id_: str, sequence: int, *, bundle: str = "bearing", epoch: int = 1
) -> None:
    stage(node, at(0), id_, sequence=sequence, bundle=bundle, epoch=epoch)
    deployments.begin_trial(node, at(1), id_, window_us=MINUTE_US)
    deployments.commit(node, at(2), id_, reachability="proved")


def test_the_flip_makes_revision_active_row_deadline_and_entry_at_once(node: sqlite3.Connection, at: At) -> None:
    commit(node, at, "d1", 1)
    stage(node, at(5), "d2", sequence=2)
    row = deployments.begin_trial(node, at(10), "d2", window_us=MINUTE_US)
    assert (row.state, row.revision, row.previous_revision) == ("TRIAL", 2, 1)
    assert (row.boot_id, row.deadline_us, row.window_us, row.tries) == ("boot-1", 70_000_000, MINUTE_US, 0)
    assert revisions.active(node, "bearing") == Active("bearing", 2, 1, 1)
    new = revisions.revision(node, "bearing", 2)
    assert new is not None
    assert (new.deployment, new.binding_revision, new.digest) == ("d2", 2, row.digest)
    assert ledger.page(node)[-1].action == "deployment.trial"
    assert ledger.verify(node) is None


def test_a_flip_that_fails_leaves_no_trace_of_itself(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    before = list(node.iterdump())
    node.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON active BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(sqlite3.IntegrityError):
        deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    assert list(node.iterdump()) == before


def test_a_node_has_one_trial_at_a_time(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    stage(node, at(0), "d2", bundle="pump")
    deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    with pytest.raises(TrialRunning) as caught:
        deployments.begin_trial(node, at(1), "d2", window_us=MINUTE_US)
    assert caught.value.row.id == "d1"
    with pytest.raises(sqlite3.IntegrityError):
        node.execute("UPDATE deployments SET state='TRIAL', revision=1, deadline_us=1, boot_id='b' WHERE id='d2'")


def test_i5_an_acknowledged_confirm_is_never_undone(node: sqlite3.Connection, at: At) -> None:
    commit(node, at, "d1", 1)
    with pytest.raises(WrongState):
        deployments.roll_back(node, at(900), "d1", "UNCONFIRMED")
    assert deployments.commit(node, at(900, boot="boot-2"), "d1", reachability="claimed").reachability == "proved"
    for state in ("TRIAL", "ROLLED_BACK", "STAGED"):
        with pytest.raises(sqlite3.IntegrityError, match="final state stays"):
            node.execute("UPDATE deployments SET state = ? WHERE id = 'd1'", (state,))


def test_a_confirm_after_the_rollback_answers_with_the_rollback(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    deployments.roll_back(node, at(2), "d1", "FAILED", Failure("GUARD", "too many errors", "see the log"))
    with pytest.raises(WrongState) as caught:
        deployments.commit(node, at(3), "d1", reachability="proved")
    row = caught.value.row
    assert (row.state, row.reason, row.error_code, row.error_hint) == ("ROLLED_BACK", "FAILED", "GUARD", "see the log")


@pytest.mark.parametrize(("seconds", "boot"), [(61, "boot-1"), (999, "boot-1"), (2, "boot-2")])
def test_i3_a_confirm_past_the_deadline_or_after_a_reboot_is_refused(
    node: sqlite3.Connection, at: At, seconds: float, boot: str
) -> None:
    stage(node, at(0), "d1")
    deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    late = at(seconds, boot=boot)
    with pytest.raises(WrongState, match="deadline passed"):
        deployments.commit(node, late, "d1", reachability="proved")
    with pytest.raises(WrongState, match="deadline passed"):
        deployments.extend_trial(node, late, "d1", window_us=MINUTE_US)
    assert deployments.roll_back(node, late, "d1", "UNCONFIRMED").state == "ROLLED_BACK"


def test_i3_a_restart_counts_and_never_moves_the_deadline(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    begun = deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    again = deployments.resume_trial(node, at(30), "d1")
    assert (again.tries, again.deadline_us) == (1, begun.deadline_us)
    assert deployments.extend_trial(node, at(40), "d1", window_us=MINUTE_US).deadline_us == 100_000_000


def test_the_row_names_who_deployed_and_who_ended_it(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    begun = deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    assert begun.ended_by == ""
    confirmed = deployments.commit(node, at(2)._replace(actor="carol"), "d1", reachability="proved")
    assert (confirmed.actor, confirmed.ended_by) == (begun.actor, "carol")
    assert deployments.commit(node, at(3)._replace(actor="dave"), "d1", reachability="proved").ended_by == "carol"
    stage(node, at(4), "d2", sequence=2)
    deployments.begin_trial(node, at(5), "d2", window_us=MINUTE_US)
    back = deployments.roll_back(node, at(6)._replace(actor="node"), "d2", "UNCONFIRMED")
    assert [row.ended_by for row in deployments.newest(node)] == [back.ended_by, "carol"] == ["node", "carol"]


def test_a_first_deployment_rolls_back_to_nothing(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    deployments.roll_back(node, at(2), "d1", "UNCONFIRMED")
    assert revisions.active(node, "bearing") == Active("bearing", None, None, None)
    stage(node, at(3), "d2", sequence=2)
    assert deployments.begin_trial(node, at(4), "d2", window_us=MINUTE_US).revision == 2


def test_a_rollback_restores_the_row_before_the_trial(node: sqlite3.Connection, at: At) -> None:
    commit(node, at, "d1", 1)
    commit(node, at, "d2", 2)
    before = revisions.active(node, "bearing")
    stage(node, at(3), "d3", sequence=3)
    deployments.begin_trial(node, at(4), "d3", window_us=MINUTE_US)
    deployments.roll_back(node, at(5), "d3", "INTERRUPTED")
    assert revisions.active(node, "bearing") == before == Active("bearing", 2, 1, 2)


def test_i16_the_floor_moves_at_the_commit_only_and_never_sinks(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1", sequence=5)
    deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    assert revisions.floor(node, "bearing") is None
    deployments.commit(node, at(2), "d1", reachability="proved")
    assert revisions.floor(node, "bearing") == Floor(1, 5)
    commit(node, at, "d2", 3)
    assert revisions.floor(node, "bearing") == Floor(1, 5)
    commit(node, at, "d3", 1, epoch=2)
    assert revisions.floor(node, "bearing") == Floor(2, 1)
    with pytest.raises(sqlite3.IntegrityError, match="never sinks"):
        node.execute("UPDATE floors SET epoch = 1, sequence = 99")


def test_i16_a_rolled_back_trial_leaves_the_floor(node: sqlite3.Connection, at: At) -> None:
    commit(node, at, "d1", 1)
    stage(node, at(3), "d2", sequence=2**50)
    deployments.begin_trial(node, at(4), "d2", window_us=MINUTE_US)
    deployments.roll_back(node, at(5), "d2", "FAILED")
    assert revisions.floor(node, "bearing") == Floor(1, 1)


def test_i10_staging_the_same_id_again_answers_with_the_row(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    entries = ledger.head(node).seq
    stage_again = deployments.stage(
        node, at(9), id_="d1", bundle="other", version="9", digest="x", epoch=9, sequence=9, window_us=1
    )
    assert (stage_again.bundle, stage_again.state) == ("bearing", "PREFLIGHT_OK")
    assert ledger.head(node).seq == entries


def test_a_refused_deployment_is_final_and_nothing_was_active(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    row = deployments.refuse(node, at(1), "d1", Failure("DEPLOYMENT.PREFLIGHT", "golden outputs differ"))
    assert (row.state, row.error_code) == ("REFUSED", "DEPLOYMENT.PREFLIGHT")
    assert revisions.active(node, "bearing") is None
    with pytest.raises(WrongState):
        deployments.begin_trial(node, at(2), "d1", window_us=MINUTE_US)


def test_a_lost_candidate_and_a_lost_blob_bring_the_deployment_back(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    dropped = deployments.drop_preflight(node, at(1), "d1")
    assert (dropped.state, dropped.preflight) == ("STAGED", {})
    assert deployments.set_receiving(node, at(2), "d1").state == "RECEIVING"
    assert [row.id for row in deployments.open_ones(node)] == ["d1"]


def test_kept_are_active_previous_good_open_and_what_a_rollback_brings_back(node: sqlite3.Connection, at: At) -> None:
    for number in (1, 2, 3):
        commit(node, at, f"d{number}", number)
    kept = {digest[-2:] for digest in revisions.digests_kept(node)}
    assert kept == {"01", "02", "03", "ff"}
    commit(node, at, "d4", 4)
    stage(node, at(5), "d5", sequence=5)
    kept = {digest[-2:] for digest in revisions.digests_kept(node)}
    assert kept == {"02", "03", "04", "05", "ff"}


def test_the_measured_gap_of_the_switch_is_kept_with_the_deployment(node: sqlite3.Connection, at: At) -> None:
    stage(node, at(0), "d1")
    deployments.begin_trial(node, at(1), "d1", window_us=MINUTE_US)
    row = deployments.set_switch_gap(node, at(2), "d1", 41_000)
    assert (row.state, row.switch_gap_us) == ("TRIAL", 41_000)


def test_every_transition_is_one_entry_of_the_ledger(node: sqlite3.Connection, at: At) -> None:
    commit(node, at, "d1", 1)
    stage(node, at(3), "d2", sequence=2)
    deployments.begin_trial(node, at(4), "d2", window_us=MINUTE_US)
    deployments.roll_back(node, at(5, actor="timer"), "d2", "UNCONFIRMED")
    told = [(entry.actor, entry.action.removeprefix("deployment."), entry.subject) for entry in ledger.page(node)]
    names = ["receive", "staged", "preflight_ok", "trial"]
    assert told == [
        *[("alice", name, "d1") for name in (*names, "committed")],
        *[("alice", name, "d2") for name in names],
        ("timer", "rolled_back", "d2"),
    ]

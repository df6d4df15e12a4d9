"""Any walk of requests, restarts and reboots against a model of a few lines, checked after each step."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from store import db, ledger, migrations
from store.ledger import Stamp
from store.node import deployments, revisions
from store.node.deployments import TrialRunning, WrongState

BUNDLES = st.sampled_from(["bearing", "pump"])
REACHABLE = {
    "RECEIVING": {"STAGED", "REFUSED"},
    "STAGED": {"PREFLIGHT_OK", "RECEIVING", "REFUSED"},
    "PREFLIGHT_OK": {"TRIAL", "STAGED", "RECEIVING", "REFUSED"},
    "TRIAL": {"COMMITTED", "ROLLED_BACK"},
    "COMMITTED": set(),
    "ROLLED_BACK": set(),
    "REFUSED": set(),
}


class Walk(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="walk-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.path = Path(self.folder.name) / "node.db"
        migrations.migrate_node(self.path)
        self.connection = db.open_writer(self.path)
        self.now_us, self.boot, self.number = 0, 1, 0
        self.states: dict[str, str] = {}
        self.committed: set[str] = set()
        self.good: dict[str, int | None] = {}
        self.floors: dict[str, tuple[int, int]] = {}
        self.anchor = ledger.Head(0, ledger.GENESIS)

    def stamp(self) -> Stamp:
        return Stamp(f"boot-{self.boot}", self.now_us, 0, "walker")

    @rule(bundle=BUNDLES, sequence=st.integers(0, 20))
    def stage(self, bundle: str, sequence: int) -> None:
        self.number += 1
        deployments.stage(
            self.connection, self.stamp(), id_=f"d{self.number}", bundle=bundle, version="1",
            digest=f"sha256:{self.number:064x}", epoch=1, sequence=sequence, window_us=10,
        )  # fmt: skip

    @rule(pick=st.integers(0, 30), act=st.sampled_from(["staged", "preflight", "lost", "drop", "refuse", "trial"]))
    def advance(self, pick: int, act: str) -> None:
        id_ = f"d{pick % (self.number + 1)}"
        calls = {
            "staged": lambda: deployments.set_staged(self.connection, self.stamp(), id_, signer="s"),
            "preflight": lambda: deployments.set_preflight_ok(
                self.connection, self.stamp(), id_, {}, binding_revision=0
            ),
            "lost": lambda: deployments.set_receiving(self.connection, self.stamp(), id_),
            "drop": lambda: deployments.drop_preflight(self.connection, self.stamp(), id_),
            "refuse": lambda: deployments.refuse(self.connection, self.stamp(), id_, deployments.Failure("C", "m")),
            "trial": lambda: deployments.begin_trial(self.connection, self.stamp(), id_, window_us=10),
        }
        try:
            calls[act]()
        except (WrongState, TrialRunning, KeyError):
            return

    @precondition(lambda self: deployments.trial(self.connection) is not None)
    @rule(act=st.sampled_from(["confirm", "resume", "extend", "UNCONFIRMED", "FAILED"]))
    def judge(self, act: str) -> None:
        row = deployments.trial(self.connection)
        assert row is not None
        due = deployments.is_due(row, self.stamp())
        try:
            if act == "confirm":
                deployments.commit(self.connection, self.stamp(), row.id, reachability="proved")
                assert not due
                self.committed.add(row.id)
                self.good[row.bundle] = row.revision
            elif act == "resume":
                assert deployments.resume_trial(self.connection, self.stamp(), row.id).deadline_us == row.deadline_us
            elif act == "extend":
                deployments.extend_trial(self.connection, self.stamp(), row.id, window_us=10)
            else:
                deployments.roll_back(self.connection, self.stamp(), row.id, act)  # type: ignore[arg-type]
                assert self._active(row.bundle).revision == row.previous_revision
        except WrongState:
            assert due

    @rule(us=st.integers(0, 8))
    def time_passes(self, us: int) -> None:
        self.now_us += us

    @rule()
    def the_node_reboots(self) -> None:
        self.boot, self.now_us = self.boot + 1, 0

    @rule()
    def the_agent_starts_again(self) -> None:
        self.connection.close()
        self.connection = db.open_writer(self.path)

    @invariant()
    def i1_i2_what_is_active_is_a_trial_or_the_last_committed(self) -> None:
        trial = deployments.trial(self.connection)
        for row in revisions.all_active(self.connection):
            expected = trial.revision if trial and trial.bundle == row.bundle else self.good.get(row.bundle)
            assert row.revision == expected
            assert row.good == self.good.get(row.bundle)
            assert row.revision is None or revisions.revision(self.connection, row.bundle, row.revision)

    @invariant()
    def i5_states_move_only_where_they_may_and_final_ones_stay(self) -> None:
        for row in deployments.newest(self.connection):
            before = self.states.get(row.id, "RECEIVING")
            assert row.state == before or row.state in REACHABLE[before]
            assert (row.state == "COMMITTED") == (row.id in self.committed)
            self.states[row.id] = row.state

    @invariant()
    def i16_the_floor_is_the_highest_committed(self) -> None:
        for bundle in ("bearing", "pump"):
            rows = [row for row in deployments.newest(self.connection, bundle) if row.state == "COMMITTED"]
            highest = max(((row.epoch, row.sequence) for row in rows), default=None)
            assert revisions.floor(self.connection, bundle) == highest

    @invariant()
    def i15_the_ledger_extends_what_it_was(self) -> None:
        head = ledger.head(self.connection)
        assert ledger.extends(self.anchor, ledger.page(self.connection, self.anchor.seq), head)
        self.anchor = head

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()
            self.folder.cleanup()


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)

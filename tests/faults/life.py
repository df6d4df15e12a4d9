"""What a node stores in its life: deployed, confirmed, held, bound, resumed, rolled back, collected, leased.

After each thing that the outside world is told, a line goes to STATE/told, which no power cut takes back.
`python -m tests.faults.life STATE [rebooted]` is a start of the node after a fault.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path

from store import db, durable, ledger
from store.blobs import Blobs
from store.ledger import Stamp
from store.node import bindings, deployments, lease, revisions, standing
from store.node.deployments import Deployment

STAMP = Stamp("boot-1", 0, 0, "alice")
MINUTE_US = 60_000_000
GOOD = ["d1", "bind-1-b", "d3"]


def contents(number: int) -> list[bytes]:
    """The blobs of bundle `number`; one of them is in every bundle."""
    return [b"model %d" % number * 3_000, b"pipeline %d" % number, b"shared" * 2_000]


class Life:
    """One node. `connection` may be opened anew in between."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.blobs = Blobs(state)
        self.connection = db.open_writer(state / "node.db")
        # Small enough that checkpoints happen between the transitions too.
        self.connection.execute("PRAGMA wal_autocheckpoint=8")
        self._told = os.open(state / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(self, **what: object) -> None:
        os.write(self._told, (json.dumps(what) + "\n").encode())

    def live(self) -> None:
        """All of it, once."""
        self.deploy(1)
        self.confirm("d1")
        self.hold()
        self.bind(1)
        self.confirm("bind-1-b")
        self.deploy(2)
        self.resume("d2")
        deployments.extend_trial(self.connection, STAMP, "d2", window_us=2 * MINUTE_US)
        self.tell(id="d2", state=self.roll_back("d2").state)
        self.collect()
        self.deploy(3)
        self.confirm("d3")
        lease.take(self.connection, STAMP, "alice", seconds=60)
        for _ in range(3):
            self.tell(seq=ledger.note(self.connection, STAMP, "test", "x", {"text": "y" * 500}).seq)

    def deploy(self, number: int) -> None:
        """Up to TRIAL."""
        connection, id_ = self.connection, f"d{number}"
        named = [self.send(data) for data in contents(number)]
        digest = self.blobs.put(json.dumps(named).encode())
        deployments.stage(
            connection, STAMP, id_=id_, bundle="b", version="1", digest=digest, epoch=1, sequence=number,
            window_us=MINUTE_US,
        )  # fmt: skip
        self.tell(id=id_, state=deployments.set_staged(connection, STAMP, id_, signer="s").state)
        self.flip(id_)

    def flip(self, id_: str) -> None:
        row = deployments.get(self.connection, id_)
        assert row is not None
        deployments.set_preflight_ok(self.connection, STAMP, id_, {}, binding_revision=row.binding_revision)
        self.tell(id=id_, state=self.begin(id_).state)

    def begin(self, id_: str) -> Deployment:
        return deployments.begin_trial(self.connection, STAMP, id_, window_us=MINUTE_US)

    def confirm(self, id_: str) -> None:
        self.tell(id=id_, state=deployments.commit(self.connection, STAMP, id_, reachability="proved").state)
        durable.write_file(self.state / "good.json", json.dumps({"id": id_}).encode())
        self.tell(good=id_)

    def resume(self, id_: str) -> None:
        deployments.resume_trial(self.connection, STAMP, id_)

    def roll_back(self, id_: str) -> Deployment:
        return deployments.roll_back(self.connection, STAMP, id_, "FAILED")

    def hold(self) -> None:
        standing.give(self.connection, STAMP, "hold", "test")
        standing.lift(self.connection, STAMP, "hold", "test")

    def bind(self, number: int) -> None:
        """A revision of the bindings and its trial in one transaction, then the trial."""
        with db.transaction(self.connection):
            self.add_bindings(number)
            self.stage_binding(number)
        self.try_binding(number)

    def add_bindings(self, number: int) -> None:
        bindings.add(self.connection, STAMP, base_revision=number - 1, content="{}", detail={})

    def stage_binding(self, number: int) -> None:
        row = revisions.revision(self.connection, "b", 1)
        assert row is not None
        deployments.stage(
            self.connection, STAMP, id_=f"bind-{number}-b", bundle="b", version=row.version, digest=row.digest,
            epoch=row.epoch, sequence=row.sequence, window_us=MINUTE_US, kind="binding", binding_revision=number,
        )  # fmt: skip

    def try_binding(self, number: int) -> None:
        deployments.set_staged(self.connection, STAMP, f"bind-{number}-b", signer="")
        self.flip(f"bind-{number}-b")

    def collect(self) -> None:
        """Removes what no revision needs."""
        keep: set[str] = set()
        for digest in self.kept():
            keep |= {digest, *json.loads(self.blobs.read(digest, bytes_max=1 << 20))}
        self.blobs.collect(keep)

    def kept(self) -> set[str]:
        return revisions.digests_kept(self.connection)

    def send(self, data: bytes) -> str:
        """One blob in two pieces, then whole."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        half = len(data) // 2
        for start, piece in ((0, data[:half]), (half, data[half:])):
            self.blobs.put_at(digest, start, piece, len(data))
        self.blobs.finish(digest)
        return digest

    def close(self) -> None:
        self.connection.close()
        os.close(self._told)

    @staticmethod
    def recover(state: Path, rebooted: bool) -> None:
        """What a start does: a trial of an earlier boot goes back, one of this boot goes on."""
        Blobs(state).recover(rebooted=rebooted)
        durable.remove_temporaries(state)
        stamp = STAMP._replace(boot_id="boot-2", actor="start") if rebooted else STAMP
        with contextlib.closing(db.open_writer(state / "node.db")) as connection:
            row = deployments.trial(connection)
            if row is not None and deployments.is_due(row, stamp):
                deployments.roll_back(connection, stamp, row.id, "INTERRUPTED" if rebooted else "UNCONFIRMED")


def half_made(state: Path, told: list[dict[str, object]], rebooted: bool) -> list[str]:
    """What `invariants.check` cannot know: this node's own file, its one boot, a revision of bindings and its trial."""
    wrong = []
    good = [promise["good"] for promise in told if "good" in promise]
    if good and GOOD.index(json.loads((state / "good.json").read_bytes())["id"]) < GOOD.index(good[-1]):
        wrong.append(f"I5: {good[-1]} was told to be last known good and is lost")
    with contextlib.closing(db.open_reader(state / "node.db")) as connection:
        current = bindings.current(connection)
        if current is not None and not deployments.of_bindings(connection, current.revision):
            wrong.append(f"bindings revision {current.revision} is current and has no trial")
        unconfirmed = [row.id for row in deployments.newest(connection) if row.reason == "UNCONFIRMED"]
        if unconfirmed and not rebooted:
            wrong.append(f"I3: {unconfirmed} ended before its deadline")
    return wrong


if __name__ == "__main__":
    Life.recover(Path(sys.argv[1]), "rebooted" in sys.argv[2:])

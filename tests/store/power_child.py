"""What a node stores over two deployments, as a process of its own: `power_child.py STATE [SYNCHRONOUS]`.

After each thing that the outside world is told, a line goes to STATE/told, which no power cut takes back.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from store import db, durable, ledger
from store.blobs import Blobs
from store.ledger import Stamp
from store.node import deployments

STAMP = Stamp("boot-1", 0, 0, "alice")
MINUTE_US = 60_000_000


def contents(number: int) -> list[bytes]:
    """The blobs of bundle `number`; one of them is in every bundle."""
    return [b"model %d" % number * 3_000, b"pipeline %d" % number, b"shared" * 2_000]


def main(state: Path, synchronous: str) -> None:
    told = os.open(state / "told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(**what: object) -> None:
        os.write(told, (json.dumps(what) + "\n").encode())

    connection = db.open_writer(state / "node.db")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    # Small enough that checkpoints happen between the transitions too.
    connection.execute("PRAGMA wal_autocheckpoint=8")
    blobs = Blobs(state)
    for number in (1, 2):
        id_ = f"d{number}"
        named = [send(blobs, data) for data in contents(number)]
        digest = blobs.put(json.dumps(named).encode())
        deployments.stage(
            connection, STAMP, id_=id_, bundle="b", version="1", digest=digest, epoch=1, sequence=number,
            window_us=MINUTE_US,
        )  # fmt: skip
        tell(id=id_, state=deployments.set_staged(connection, STAMP, id_, signer="s").state)
        deployments.set_preflight_ok(connection, STAMP, id_, {}, binding_revision=0)
        tell(id=id_, state=deployments.begin_trial(connection, STAMP, id_, window_us=MINUTE_US).state)
        if number == 1:
            tell(id=id_, state=deployments.commit(connection, STAMP, id_, reachability="proved").state)
        else:
            tell(id=id_, state=deployments.roll_back(connection, STAMP, id_, "FAILED").state)
        durable.write_file(state / "good.json", json.dumps({"number": number}).encode())
        tell(good=number)
        for _ in range(3):
            tell(seq=ledger.note(connection, STAMP, "test", "x", {"text": "y" * 500}).seq)
    connection.close()


def send(blobs: Blobs, data: bytes) -> str:
    """One blob in two pieces, then whole."""
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    half = len(data) // 2
    for start, piece in ((0, data[:half]), (half, data[half:])):
        blobs.put_at(digest, start, piece, len(data))
    blobs.finish(digest)
    return digest


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "FULL")

"""I10: any prefix of a deployment's requests may be sent again, however often: every step is made once."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from store.archive import read_archive

TABLES = ("deployments", "revisions", "active", "floors", "bindings")


def requests_of(agent: Any, workshop: Any, digest_of: Any, id_: str) -> list[tuple[str, str, Any]]:
    """All that a console sends for one deployment, in order: (method, path, body)."""
    with read_archive(workshop.bundle(2)) as opened:
        blobs = {digest: opened.open_blob(digest).read() for digest in opened.blobs}
        blobs[opened.manifest_digest] = opened.manifest_bytes
        signature = opened.signature_bytes or b""
        blobs[digest_of(signature)] = signature
        stage = {"id": id_, "manifest": opened.manifest_digest, "signature": digest_of(signature), "window_s": 60.0}
        first = [opened.manifest_digest, digest_of(signature)]
    later = [digest for digest in blobs if digest not in first]
    facts = [digest for digest in later if len(blobs[digest]) < 4096]
    return [
        ("POST", "/deployments", stage),
        *(("PUT", digest, blobs[digest]) for digest in first),
        ("POST", "/deployments", stage),
        *(("PUT", digest, blobs[digest]) for digest in [*facts, *(d for d in later if d not in facts)]),
        ("POST", "/deployments", stage),
        ("POST", f"/deployments/{id_}/preflight", {}),
        ("POST", f"/deployments/{id_}/activate", {}),
        ("POST", f"/deployments/{id_}/confirm", {}),
    ]


def send(agent: Any, method: str, path: str, body: Any) -> None:
    """A refusal is an answer too: what a repeated request may not do again, it must not do."""
    with contextlib.suppress(agent.refusal):
        if method == "PUT":
            agent.put(path, body)
        else:
            agent.change(path, body)


def standing(agent: Any) -> dict[str, Any]:
    """What the node's disk says of deployments, their history included; of the lease, whose token rises, nothing."""
    with contextlib.closing(agent.database()) as database:
        rows = {table: sorted(map(repr, database.execute(f"select * from {table}"))) for table in TABLES}
        history = [
            (action, subject)
            for action, subject in database.execute("select action, subject from ledger order by seq")
            if not action.startswith("lease")
        ]
    blobs = sorted(path.name for path in (agent.state / "blobs").rglob("*") if path.is_file())
    return {"rows": rows, "history": history, "blobs": blobs}


def test_i10_replaying_any_prefix_of_the_requests_of_a_deployment_gives_the_same_state(
    agent: Any, workshop: Any, digest_of: Any
) -> None:
    assert agent.commit(workshop.bundle(1), "d1")["state"] == "COMMITTED"
    requests = requests_of(agent, workshop, digest_of, "d2")
    for count in range(1, len(requests) + 1):
        # Twice, since the answer to "stage" is a step further once what it missed has come.
        for request in requests[:count] * 2:
            send(agent, *request)
        before = standing(agent)
        for request in requests[:count]:
            send(agent, *request)
        assert standing(agent) == before, requests[count - 1][:2]
    assert agent.show("d2")["state"] == "COMMITTED"
    assert agent.answer() == 2.0
    steps = Counter(action for action, subject in before["history"] if subject == "d2")
    assert set(steps.values()) == {1}, steps

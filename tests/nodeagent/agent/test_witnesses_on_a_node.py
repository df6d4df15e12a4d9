"""Two consoles at one node: who may write, and what each of them remembers of the node's history."""

from __future__ import annotations

import asyncio
import http.client
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from console.client.client import AgentClient
from console.client.wire import AgentError
from console.delivery.lease import held_lease
from console.ledgers.visits import HereBook, Visit, visit
from console.link.transport import Answer
from store import ledger
from store.histories import Histories


class Socket:
    """An Exchange straight to an agent's socket, as one operator."""

    def __init__(self, path: Path, operator: str) -> None:
        self._path, self._operator = path, operator

    async def request(self, method: str, target: str, *, body: Any = None, timeout_s: float) -> Answer:
        return await asyncio.to_thread(self._ask, method, target, body, timeout_s)

    def _ask(self, method: str, target: str, body: Any, timeout_s: float) -> Answer:
        connection = http.client.HTTPConnection("node", timeout=timeout_s)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self._path))
        try:
            connection.request(method, target, body, {"X-Outstation-Operator": self._operator})
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        finally:
            connection.close()

    def stream(self, method: str, target: str, *, body: Any = None, timeout_s: float | None) -> Any:
        raise AssertionError("nothing is streamed here")


@pytest.fixture(scope="module")
def node(make_agents: Any) -> Any:
    return make_agents().start()


def client(node: Any, operator: str) -> AgentClient:
    return AgentClient(Socket(node.socket, operator), "press-07", node_id=node.node_id)


def test_i11_the_other_console_sees_who_holds_the_lease_and_since_when(node: Any) -> None:
    async def body() -> str:
        async with held_lease(client(node, "alice"), "alice"):
            with pytest.raises(AgentError) as caught:
                await client(node, "bob").take_lease("bob")
            assert "--break-lease" in caught.value.error.hint
            return f"{caught.value.error.code} {caught.value.error.message}"

    told = asyncio.run(body())
    assert told.startswith("LEASE.HELD alice holds the lease since 20")
    assert "it ends in" in told


def test_i11_a_console_whose_lease_was_broken_writes_nothing_and_the_ledger_names_both(node: Any) -> None:
    async def body() -> Any:
        alice, bob = client(node, "alice"), client(node, "bob")
        async with held_lease(alice, "alice") as hers, held_lease(bob, "bob", break_held=True) as his:
            base = (await bob.bindings()).revision
            with pytest.raises(AgentError) as caught:
                await alice.bind({"plc": "tcp://alice"}, base_revision=base, lease=hers.token)
            assert caught.value.error.code == "LEASE.FENCED"
            assert "bob" in caught.value.error.message
            await bob.bind({"plc": "tcp://bob"}, base_revision=base, lease=his.token)
            return (await alice.bindings()).values, await alice.ledger()

    values, page = asyncio.run(body())
    assert values == {"plc": "tcp://bob"}
    broken = next(entry for entry in page.entries if entry.action == "lease.break")
    assert (broken.subject, broken.detail["broken"]) == ("bob", "alice")
    assert broken.actor.startswith("bob")


@pytest.fixture
def doctor(make_agent: Any, tmp_path: Path) -> Iterator[Callable[[Callable[[sqlite3.Connection], Any]], list[Visit]]]:
    """A node with a history that a console verified; then its node.db is changed while it is down."""
    agent = make_agent().start()
    book = Histories(tmp_path / "catalog.db")

    def visited() -> Visit:
        return asyncio.run(visit(client(agent, "alice"), HereBook(book)))

    def run(change: Callable[[sqlite3.Connection], Any]) -> list[Visit]:
        for reason in ("one", "two", "three"):
            agent.post("/hold", {"reason": reason})
            agent.post("/hold/release")
        before = visited()
        agent.stop()
        with sqlite3.connect(agent.state / "node.db") as database:
            for trigger in ("ledger_is_not_edited", "ledger_is_not_cut"):
                database.execute(f"DROP TRIGGER {trigger}")
            change(database)
        agent.start()
        return [before, visited(), visited()]

    yield run
    book.close()


def rewrite(database: sqlite3.Connection) -> None:
    """What root on the node can do: another history, every hash of it in order."""
    entries = [entry._replace(actor="nobody") for entry in ledger.page(database)]
    database.execute("DELETE FROM ledger")
    previous = ledger.GENESIS
    for entry in entries:
        bare = entry._replace(previous=previous)
        previous = ledger.entry_hash(bare)
        with_hash = bare._replace(hash=previous, detail=ledger._canonical(bare.detail))
        database.execute("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", with_hash)
    assert ledger.verify(database) is None, "the chain alone does not show it"


def cut(database: sqlite3.Connection) -> None:
    """The last hours never happened."""
    database.execute("DELETE FROM ledger WHERE seq > 3")


@pytest.mark.parametrize(("change", "kinds"), [(rewrite, {"forked"}), (cut, {"shortened", "forked"})])
def test_i15_a_doctored_node_db_is_found_at_the_next_visit_and_stays_found(
    doctor: Any, change: Callable[[sqlite3.Connection], Any], kinds: set[str]
) -> None:
    before, after, again = doctor(change)
    assert before.broken is None
    assert before.head.seq > 3
    assert after.broken is not None
    assert after.broken.kind in kinds
    assert again.broken == after.broken
    assert again.head == before.head, "the anchor stays where it was"


def test_i15_a_node_that_was_only_restarted_extends_the_anchor(doctor: Any) -> None:
    before, after, _ = doctor(lambda database: None)
    assert (before.broken, after.broken) == (None, None)
    assert after.head.seq >= before.head.seq

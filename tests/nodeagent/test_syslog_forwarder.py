"""Ledger entries on their way to real syslog sockets: in order, none left out, and nobody waits for a receiver."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from nodeagent.state.database import NodeDatabase
from nodeagent.state.forwarder import BEHIND_S, Forwarder
from nodeagent.state.syslog import BYTES_MAX, CRITICAL, NOTICE, WARNING, message, severity_of
from nodeagent.state.syslog_target import TargetError, parse_target
from store import durable, ledger
from store.ledger import Entry, Stamp

STAMP = Stamp("boot-1", 5, 1_780_000_000_123_456, "alice")
RFC5424 = re.compile(
    rb"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) "
    rb"([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) "
    rb'\[outstation@32473((?: [a-z_]+="(?:[^"\\\]]|\\["\\\]])*")+)\] ([ -~]*)'
)


def entry(**changes: Any) -> Entry:
    made = Entry(7, "boot-1", 5, STAMP.wall_us, "alice", "hold.set", "node", {"reason": "smoke"}, "", "ab" * 32)
    return made._replace(**changes)


def parsed(data: bytes) -> dict[str, str]:
    """What a strict reader of RFC 5424 makes of a message."""
    found = RFC5424.fullmatch(data)
    assert found is not None, data
    pairs = re.findall(rb'([a-z_]+)="((?:[^"\\\]]|\\["\\\]])*)"', found[7])
    values = {name.decode(): re.sub(r'\\(["\\\]])', r"\1", value.decode()) for name, value in pairs}
    return {**values, "pri": found[1].decode(), "time": found[2].decode(), "msgid": found[6].decode(),
            "text": found[8].decode()}  # fmt: skip


def test_a_message_is_rfc_5424_whatever_the_entry_holds() -> None:
    found = parsed(message(entry(), node_id="node-1", host="press-07", pid=42))
    assert (found["pri"], found["msgid"], found["seq"], found["hash"]) == ("85", "hold.set", "7", "ab" * 32)
    assert found["time"] == "2026-05-28T20:26:40.123456Z"
    assert found["text"] == 'alice hold.set node {"reason":"smoke"}'
    hostile = 'x"]\\ <0>1 \n\x1b[2J\x00é\u202e]'
    found = parsed(
        message(entry(actor=hostile, subject=hostile, action="a b" * 40), node_id=hostile, host=hostile, pid=1)
    )
    assert found["actor"].startswith('x"]\\ <0>1 ')
    assert not {"\n", "\x1b", "\x00"} & set("".join(found.values()))
    long = message(entry(detail={"text": "y" * 200_000}), node_id="n", host="h", pid=1)
    assert (len(long), parsed(long)["cut"]) == (BYTES_MAX, "1")
    assert parsed(message(entry(wall_us=0), node_id="n", host="h", pid=1))["time"] == "-", "no time is better than 1970"
    assert parsed(message(entry(wall_us=1 << 62), node_id="n", host="h", pid=1))["time"] == "-"


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, NOTICE),
        ({"action": "alert.raise", "detail": {"priority": 1}}, CRITICAL),
        ({"action": "alert.raise", "detail": {"priority": 4}}, WARNING),
        ({"action": "deployment.refuse"}, WARNING),
        ({"action": "deployment.rolled_back"}, WARNING),
        ({"action": "emergency.use"}, WARNING),
        ({"action": "lease.break"}, WARNING),
    ],
)
def test_what_needs_a_person_is_louder(changes: dict[str, Any], severity: int) -> None:
    assert severity_of(entry(**changes)) == severity


@pytest.mark.parametrize(
    "text", ["log", "unix:log", "udp:log.plant:514", "udp:10.0.0.1", "tcp:10.0.0.1:0", "http:1.1.1.1:5"]
)
def test_a_target_is_a_path_or_an_address_and_needs_no_name_server(text: str) -> None:
    with pytest.raises(TargetError):
        parse_target(text)
    assert parse_target("") is None
    for good in ("unix:/dev/log", "udp:10.0.0.5:514", "tcp:[::1]:601"):
        assert str(parse_target(good)) == good


class Rig:
    """A node's ledger, and the forwarder of it to one target."""

    def __init__(self, database: NodeDatabase, target: str) -> None:
        self.database, self.now_s = database, 0.0
        found = parse_target(target)
        assert found is not None
        self.make: Callable[[], Forwarder] = lambda: Forwarder(
            database, found, node_id="node-1", host="press-07", monotonic_s=lambda: self.now_s
        )
        self.forwarder = self.make()

    async def note(self, count: int, text: str = "") -> None:
        def write(connection: Any) -> None:
            for _ in range(count):
                ledger.note(connection, STAMP, "hold.set", "node", {"text": text})

        await self.database.write(write)


@contextlib.asynccontextmanager
async def rig(folder: Path, target: str) -> AsyncIterator[Rig]:
    database = NodeDatabase(folder / "node.db", ballast=durable.Ballast(folder / "ballast", 0))
    await database.open()
    made = Rig(database, target)
    try:
        yield made
    finally:
        made.forwarder.close()
        await database.close()


def seqs(*data: bytes) -> list[int]:
    return [int(parsed(one)["seq"]) for one in data]


def drained(receiver: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(receiver.recv(65_536))
    return found


def datagrams(path: Path) -> socket.socket:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.setblocking(False)
    receiver.bind(str(path))
    return receiver


def test_entries_wait_for_a_socket_that_is_not_there_and_come_in_order_once_it_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path, f"unix:{tmp_path}/log") as one:
            await one.note(3)
            await one.forwarder.round()
            assert (one.forwarder.sent, one.forwarder.waiting) == (0, 3)
            assert "No such file" in one.forwarder.error
            one.now_s = 2 * BEHIND_S
            await one.forwarder.round()
            assert one.forwarder.condition() is None, "a machine without a syslog cries no wolf"
            with datagrams(tmp_path / "log") as receiver:
                await one.forwarder.round()
                await one.note(2)
                await one.forwarder.round()
                assert seqs(*drained(receiver)) == [1, 2, 3, 4, 5]
                assert (one.forwarder.error, one.forwarder.waiting) == ("", 0)
                again = one.make()
                await again.round()
                assert (again.sent, drained(receiver)) == (5, []), "after a restart it goes on where it was"

    asyncio.run(run())


def test_a_receiver_that_reads_nothing_holds_nobody_up_and_gets_the_rest_when_it_reads(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig(tmp_path, f"unix:{tmp_path}/log") as one:
            with datagrams(tmp_path / "log") as receiver:
                await one.note(1_000, "x" * 1_000)
                began_s, found = time.monotonic(), []
                await one.forwarder.round()
                assert 0 < one.forwarder.sent < 1_000
                one.now_s = 2 * BEHIND_S
                await one.forwarder.round()
                behind = one.forwarder.condition()
                assert behind is not None
                assert f"{one.forwarder.waiting} ledger entries wait" in behind.message
                while len(found) < 1_000:
                    found += drained(receiver)
                    await one.forwarder.round()
                assert seqs(*found) == list(range(1, 1_001))
                assert one.forwarder.condition() is None
                assert time.monotonic() - began_s < BEHIND_S

    asyncio.run(run())


def test_a_refused_datagram_is_sent_again_when_somebody_listens(tmp_path: Path) -> None:
    async def run() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            port = receiver.getsockname()[1]
            async with rig(tmp_path, f"udp:127.0.0.1:{port}") as one:
                await one.note(2)
                await one.forwarder.round()
                receiver.setblocking(False)
                assert seqs(*drained(receiver)) == [1, 2]
                receiver.close()
                await one.note(3)
                await one.forwarder.round()
                await one.forwarder.round()
                assert "refused" in one.forwarder.error
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
                    back.bind(("127.0.0.1", port))
                    back.setblocking(False)
                    await one.forwarder.round()
                    assert set(seqs(*drained(back))) >= {3, 4, 5}

    asyncio.run(run())


def test_over_tcp_what_a_receiver_did_not_acknowledge_is_sent_again_to_the_next(tmp_path: Path) -> None:
    async def run() -> None:
        server = socket.create_server(("127.0.0.1", 0))
        port = server.getsockname()[1]
        async with rig(tmp_path, f"tcp:127.0.0.1:{port}") as one:
            await one.note(3)
            await one.forwarder.round()
            first, _ = server.accept()
            assert seqs(*frames(first)) == [1, 2, 3]
            first.close()
            server.close()
            await one.note(2)
            await one.forwarder.round()
            assert (one.forwarder.sent, one.forwarder.waiting, bool(one.forwarder.error)) == (3, 2, True)
            with socket.create_server(("127.0.0.1", port)) as again:
                await one.forwarder.round()
                second, _ = again.accept()
                assert seqs(*frames(second)) == [4, 5]
                second.close()

    asyncio.run(run())


def frames(connection: socket.socket) -> list[bytes]:
    """Octet-counted messages that are there (RFC 6587, 3.4.1)."""
    connection.settimeout(5)
    data, found = connection.recv(1 << 20), []
    while data:
        length, _, rest = data.partition(b" ")
        found.append(rest[: int(length)])
        data = rest[int(length) :]
    return found

"""Simulated nodes for bench/fleet.py: `FOLDER FIRST COUNT`; prints one line `NAME PORT SOCKET` a node, then `ready`.

Each has an SSH server of its own (console/demo/sshd.py) and the product's HTTP server on a Unix socket, and tells the
telemetry of a node with one bundle once a second; no model runs. The console cannot tell them from real ones.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from console.demo.sshd import SshServer
from nodeagent.http.message import HttpError, Request, Response, json_response
from nodeagent.http.server import HttpServer
from nodeagent.protocol import (
    PROTOCOL_MAJOR,
    BundleTelemetry,
    Check,
    ClockReading,
    HostHealth,
    LedgerEntry,
    LedgerPage,
    SinkTelemetry,
    SourceTelemetry,
    Status,
    Telemetry,
    WorkerState,
)
from store import db, ledger
from store.ledger import Stamp
from store.node import schema

PERIOD_S = 1.0
LEDGER_ENTRIES = 1_000
JSON = {"content-type": "application/json"}
CHECKS = [Check(name=f"check-{number}", verdict="ok", text="as it should be") for number in range(30)]


class SimulatedNode:
    """Answers what a console that only watches asks."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._cursor = 0
        self._phase_s = PERIOD_S * (hash(name) % 997) / 997
        self._bundle = BundleTelemetry(
            bundle="bearing",
            model="bearing",
            version="2.1",
            revision=14,
            digest="sha256:" + "0" * 64,
            state=WorkerState.SERVING,
            sources=[SourceTelemetry(id="plc", type="modbus", state="up")],
            sinks=[SinkTelemetry(type="record", state="up")],
        )

    def handle(self, request: Request) -> Response:
        """The routes under /agent/v1. Raises HttpError for any other."""
        match request.path.removeprefix("/agent/v1"):
            case "/status":
                return json_response(self._status())
            case "/telemetry":
                return Response(stream=self._lines(), lines=b"content-type: application/x-ndjson\r\n")
            case "/lease":
                return json_response(None)
            case "/ledger":
                return Response(body=_page(int(request.query["after"]), int(request.query["limit"])), headers=JSON)
            case "/checks":
                return json_response(CHECKS)
            case "/clock":
                return json_response(ClockReading(boot_id="boot-1", boottime_us=1, wall_us=time.time_ns() // 1_000))
        raise HttpError("REQUEST.UNKNOWN_PATH", "a simulated node answers what a console reads of every node")

    async def _lines(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(self._phase_s)
        while True:
            self._cursor += 1
            yield msgspec.json.encode(self._telemetry()) + b"\n"
            await asyncio.sleep(PERIOD_S)

    def _telemetry(self) -> Telemetry:
        wave = 1 + 0.01 * (self._cursor % 11)
        return Telemetry(
            cursor=self._cursor,
            node_id=f"id-{self._name}",
            boot_id="boot-1",
            started_us=1,
            boottime_us=time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000,
            wall_us=time.time_ns() // 1_000,
            period_s=PERIOD_S,
            host=HostHealth(cpu_percent=20.0 * wave),
            bundles=[msgspec.structs.replace(self._bundle, inferences_per_s=400 * wave, latency_ms_p95=1.8 * wave)],
        )

    def _status(self) -> Status:
        return Status(
            node_id=f"id-{self._name}",
            name=self._name,
            agent_version="0.1.0",
            protocol_major=PROTOCOL_MAJOR,
            protocol_minor=0,
            access="operate",
            actor="plant",
            signers=1,
            telemetry=self._telemetry(),
        )


@functools.cache
def _history() -> list[LedgerEntry]:
    """What a node that was changed now and then for years has."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for sql in schema.STEPS.values():
        connection.executescript(sql)
    with db.transaction(connection):
        for number in range(LEDGER_ENTRIES):
            detail = {"bundle": "bearing", "version": f"2.{number}", "digest": "sha256:" + "0" * 64}
            ledger.note(connection, Stamp("boot-1", number, number, "alice"), "deployment.receive", "d", detail)
    return [LedgerEntry(**entry._asdict()) for entry in ledger.page(connection, limit=LEDGER_ENTRIES)]


@functools.cache
def _page(after: int, limit: int) -> bytes:
    every = _history()
    entries = every[after : after + limit]
    return msgspec.json.encode(LedgerPage(entries=entries, head_seq=len(every), head_hash=every[-1].hash))


async def main(folder: Path, first: int, count: int) -> None:
    """Serves until killed."""
    for name in (f"node-{number:04}" for number in range(first, first + count)):
        sockets = [folder / f"{name}.d" / each for each in ("agent.sock", "monitor.sock")]
        sockets[0].parent.mkdir()
        server = HttpServer(SimulatedNode(name).handle, report=_report)
        for path in sockets:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(path))
            listening.listen(8)
            await server.serve(listening)
        ssh = SshServer(host_key=folder / "host", client_key=folder / "id", sockets=[str(path) for path in sockets])
        await ssh.start()
        print(name, ssh.port, sockets[0], flush=True)
    print("ready", flush=True)
    await asyncio.Event().wait()


def _report(error: BaseException) -> None:
    print(f"bench: {error!r}", file=sys.stderr, flush=True)


def raise_file_limit() -> None:
    """As many descriptors as the system lets this process have."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    raise_file_limit()
    _folder, *_numbers = itertools.islice(sys.argv, 1, None)
    asyncio.run(main(Path(_folder), *(int(number) for number in _numbers)))

"""A small real HTTP server on a Unix socket, and an agent's answers on it, for tests of what speaks to an agent."""

from __future__ import annotations

import asyncio
import inspect
import platform
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from nodeagent.protocol import (
    PROTOCOL_MAJOR,
    BundleTelemetry,
    Error,
    ErrorBody,
    HostHealth,
    LogLine,
    Status,
    Telemetry,
    WorkerState,
)

Served = tuple[int, bytes] | AsyncIterator[bytes]


class UnixHttp:
    """`async with UnixHttp(path, serve)`: `serve(method, target, body)` gives (status, body) or chunks of a 200.

    Counts connections and requests; `connections` are the ones open now.
    """

    def __init__(self, path: Path, serve: Callable[[str, str, bytes], Served | Awaitable[Served]]) -> None:
        self.path, self._serve = path, serve
        self.requests: list[tuple[str, str, bytes]] = []
        self.accepted = 0
        self.open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> UnixHttp:
        self._server = await asyncio.start_unix_server(self._connected, str(self.path))
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        self.path.unlink(missing_ok=True)

    def cut(self) -> None:
        """Ends every open connection without goodbye."""
        for writer in list(self.open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.append((method, target, body))
        served: Any = self._serve(method, target, body)
        if inspect.isawaitable(served):
            served = await served
        if isinstance(served, tuple):
            status, data = served
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        async for chunk in served:
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@pytest.fixture
def unix_http() -> type[UnixHttp]:
    return UnixHttp


def json_bytes(value: object) -> bytes:
    return msgspec.json.encode(value)


class TinyAgent:
    """Answers the protocol's reading routes with structs of its own making; `handle` adds routes."""

    def __init__(self, *, node_id: str = "node-1", name: str = "press-07", period_s: float = 0.05) -> None:
        self.node_id, self.name, self.period_s = node_id, name, period_s
        self.major, self.boot_id, self.started_us, self.cursor = PROTOCOL_MAJOR, "boot-1", 1, 0
        self.wall_ahead_s = 0.0
        self.rate = 10.0
        self.log_lines: list[LogLine] = []
        self.hung = asyncio.Event()
        self.resumed_at: list[str] = []
        self.told: dict[int, bytes] = {}
        self.handle: dict[tuple[str, str], Callable[[str, bytes], Any]] = {}

    def telemetry(self) -> Telemetry:
        bundle = BundleTelemetry(
            bundle="bearing",
            model="bearing",
            version="2.1",
            revision=14,
            digest="sha256:" + "0" * 64,
            state=WorkerState.SERVING,
            inferences_per_s=self.rate,
        )
        return Telemetry(
            cursor=self.cursor,
            node_id=self.node_id,
            boot_id=self.boot_id,
            started_us=self.started_us,
            boottime_us=int(time.monotonic() * 1e6),
            wall_us=int((time.time() + self.wall_ahead_s) * 1e6),
            period_s=self.period_s,
            host=HostHealth(cpu_percent=12.5),
            bundles=[bundle],
        )

    def status(self) -> Status:
        return Status(
            node_id=self.node_id,
            name=self.name,
            agent_version="0.1.0",
            protocol_major=self.major,
            protocol_minor=0,
            access="operate",
            actor="plant",
            signers=1,
            telemetry=self.telemetry(),
        )

    async def serve(self, method: str, target: str, body: bytes) -> Any:
        if self.hung.is_set():
            await asyncio.Event().wait()
        path, _, query = target.partition("?")
        path = path.removeprefix("/agent/v1")
        found = self.handle.get((method, path))
        if found is not None:
            answer = found(query, body)
            return answer if isinstance(answer, tuple) or hasattr(answer, "__aiter__") else (200, json_bytes(answer))
        if path == "/status":
            return 200, json_bytes(self.status())
        if path == "/lease":
            return 200, b"null"
        if path == "/telemetry":
            self.resumed_at.append(query)
            return self._telemetry_lines(int(dict(parse_qsl(query)).get("after", self.cursor)))
        if path == "/logs/stream":
            return self._log_lines(int(query.removeprefix("after=") or 0))
        error = Error(code="REQUEST.UNKNOWN_PATH", message=f"{path} is not part of the API")
        return 404, json_bytes(ErrorBody(error))

    async def _telemetry_lines(self, after: int) -> AsyncIterator[bytes]:
        for missed in [line for cursor, line in self.told.items() if cursor > after]:
            yield missed
        while True:
            await asyncio.sleep(self.period_s)
            if self.hung.is_set():
                await asyncio.Event().wait()
            self.cursor += 1
            self.told[self.cursor] = json_bytes(self.telemetry()) + b"\n"
            yield self.told[self.cursor]

    async def _log_lines(self, after: int) -> AsyncIterator[bytes]:
        yield b"\n"
        while True:
            for line in [line for line in self.log_lines if line.cursor > after]:
                after = line.cursor
                yield json_bytes(line) + b"\n"
            await asyncio.sleep(0.01)

    def log(self, text: str) -> None:
        self.log_lines.append(
            LogLine(cursor=len(self.log_lines) + 1, boottime_us=0, wall_us=0, level="info", source="agent", text=text)
        )


@pytest.fixture
def tiny_agent() -> type[TinyAgent]:
    return TinyAgent


class MadeKit:
    """One kit for this machine from the environment's own packages.

    `path` is signed by `key`, `unsigned` is the same kit before that; `signers` allows the key.
    """

    def __init__(self, folder: Path) -> None:
        from console.kit.build import Order, build
        from console.kit.file import KIT_NAMESPACE, sign_kit
        from store.signing import sign_with_key_file

        self.folder = folder
        self.path, self.unsigned, self.key = folder / "kit.ostk", folder / "unsigned.ostk", folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        public = " ".join(Path(f"{self.key}.pub").read_text().split()[:2])
        self.signers = f'kits namespaces="{KIT_NAMESPACE}" {public}\n'
        self.signers_file = folder / "kit_signers"
        self.signers_file.write_text(self.signers)
        self.said: list[str] = []
        self.manifest = build(
            Order((f"linux-{platform.machine()}",), (f"3.{sys.version_info.minor}",)), self.unsigned, self.said.append
        )
        sign_kit(self.unsigned, self.path, lambda data: sign_with_key_file(self.key, data, namespace=KIT_NAMESPACE))


@pytest.fixture(scope="session")
def made_kit(tmp_path_factory: pytest.TempPathFactory) -> MadeKit:
    """The session's kit; tests copy it before they change it."""
    return MadeKit(tmp_path_factory.mktemp("kit"))

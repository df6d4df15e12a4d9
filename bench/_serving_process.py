"""What bench/serving.py starts: `worker SOCKET MODEL...` or `node SOCKET WORKER-SOCKET`; prints `ready` to go."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path


def _listen(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen(128)
    return sock


async def _worker(path: str, models: list[str]) -> None:
    from nodeagent.http.server import HttpServer
    from nodeagent.model.batch_probe import probe
    from nodeagent.model.inference import Model
    from nodeagent.serving.v2 import V2, Served

    v2 = V2()
    for name in models:
        model = Model.load(name)
        v2.add(Served(model, "1", probe(model)))
    server = HttpServer(v2.handle, fast=v2.fast, report=_report, path_of_unreadable="/v2")
    await _forever(server.serve(_listen(path)))


async def _node(path: str, worker: str) -> None:
    from nodeagent.http.server import HttpServer
    from nodeagent.serving.forward import Forwarder

    forwarder = Forwarder(lambda model: worker, lambda: [("tiny", "1", "serving", ""), ("wide", "1", "serving", "")])
    server = HttpServer(forwarder.handle, fast=forwarder.fast, report=_report)
    await _forever(server.serve(_listen(path)))


async def _forever(serving: object) -> None:
    await serving  # type: ignore[misc]
    print("ready", flush=True)
    await asyncio.Event().wait()


def _report(error: BaseException) -> None:
    print(f"bench: {error!r}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    what, path, *rest = sys.argv[1:]
    assert not Path(path).exists()
    asyncio.run(_worker(path, rest) if what == "worker" else _node(path, rest[0]))

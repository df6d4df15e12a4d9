"""A supervisor that is the real Runtimes and does what a test says: JSON lines over STATE/orders.sock."""

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

import msgspec

from nodeagent.clock import SystemClock
from nodeagent.http.server import HttpServer
from nodeagent.processes.launcher_client import LauncherClient
from nodeagent.runtime.runtime import Refused, Runtimes
from nodeagent.serving.forward import Forwarder
from nodeagent.settings import load
from nodeagent.spec import Activation


async def serve(state: Path, fd: int) -> None:
    client = LauncherClient.from_fd(fd)
    await client.start()
    logs: list[str] = []
    runtimes = Runtimes(
        launcher=client,
        settings=load(state),
        clock=SystemClock(),
        log=lambda level, source, text: logs.append(f"{level} {source}: {text}"),
        state=state,
    )
    await runtimes.start()
    forwarder = Forwarder(runtimes.upstream, runtimes.models)
    api = HttpServer(forwarder.handle, fast=forwarder.fast, report=lambda error: logs.append(repr(error)))
    await api.serve(client.listeners["agent"])
    taps: list[dict[str, object]] = []

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            try:
                answer = await do(order)
            except Refused as error:
                answer = {"code": error.code, "message": error.message}
            writer.write(json.dumps(answer).encode() + b"\n")

    def activation(order: dict[str, object]) -> Activation | None:
        return None if order["activation"] is None else msgspec.convert(order["activation"], Activation)

    async def do(order: dict[str, object]) -> dict[str, object]:
        bundle = str(order.get("bundle", "press"))
        match order["op"]:
            case "ensure":
                await runtimes.ensure(activation(order))
            case "prepare":
                await runtimes.prepare(activation(order), timeout_s=60.0, allow_gap=order.get("allow_gap", False))
            case "switch":
                return msgspec.to_builtins(await runtimes.switch(bundle))
            case "switch_back":
                report = await runtimes.switch_back(bundle)
                return {"report": msgspec.to_builtins(report)}
            case "discard":
                await runtimes.discard(bundle)
            case "commit":
                await runtimes.commit(activation(order))
            case "retire":
                await runtimes.retire(bundle)
            case "stop":
                await runtimes.stop(bundle, safe=order["safe"])
            case "hold":
                await runtimes.hold(order["on"])
            case "arm":
                await runtimes.arm(bundle, "d1", order["deadline_us"], activation(order))
            case "tap":
                async for tap in runtimes.tap(bundle):
                    taps.append(msgspec.to_builtins(tap))
                    if len(taps) >= order["count"]:
                        return {"taps": taps}
            case "tell":
                workers = [
                    {
                        "pid": link.pid,
                        "state": link.state,
                        "revision": link.activation.revision,
                        "worker": link.worker,
                        "bundle": link.activation.bundle,
                    }
                    for runtime in runtimes._bundles.values()
                    for link in runtime.links
                ]
                return {
                    "pid": os.getpid(),
                    "telemetry": msgspec.to_builtins(runtimes.telemetry()),
                    "models": runtimes.models(),
                    "workers": workers,
                    "are_workers": [runtimes.is_worker(worker["pid"]) for worker in workers],
                    "events": [
                        msgspec.to_builtins(runtimes.events.get_nowait()) for _ in range(runtimes.events.qsize())
                    ],
                    "went_back": client.went_back,
                    "logs": logs,
                }
        return {}

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    path = state / "orders.sock"
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(obey, path, limit=1 << 20):
        await stop.wait()
    await runtimes.close()
    await client.close()


parser = argparse.ArgumentParser()
parser.add_argument("--state", type=Path)
parser.add_argument("--fd", type=int)
args = parser.parse_args()
asyncio.run(serve(args.state, args.fd))

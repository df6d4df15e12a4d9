"""A supervisor that does what a test says: JSON lines over STATE/orders.sock, one answer a line."""

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

from nodeagent.processes.children import SpawnSpec
from nodeagent.processes.launcher_client import LauncherClient, LauncherError


async def serve(state: Path, fd: int) -> None:
    client = LauncherClient.from_fd(fd)
    exits: list[dict[str, object]] = []
    client.on_exit = lambda ended: exits.append(vars(ended))
    await client.start()

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            try:
                answer = await do(order)
            except LauncherError as error:
                answer = {"error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")

    async def do(order: dict[str, object]) -> dict[str, object]:
        match order["op"]:
            case "spawn":
                return {"pid": await client.spawn(SpawnSpec.from_json(order["spec"]))}
            case "arm":
                spec = None if order["spec"] is None else SpawnSpec.from_json(order["spec"])
                await client.arm("press", "d1", order["deadline_us"], spec)
            case "disarm":
                client.disarm("press")
            case "ready":
                client.ready()
            case "listen":
                with await client.listen(order["name"]) as sock:
                    return {"path": sock.getsockname()}
            case "signal":
                client.signal(order["worker"], order["signal"])
            case "tell":
                running = [{"worker": r.spec.worker, "pid": r.pid, "document": r.spec.document} for r in client.running]
                return {
                    "pid": os.getpid(),
                    "launcher": client.launcher_pid,
                    "listeners": {name: str(sock.getsockname()) for name, sock in client.listeners.items()},
                    "running": running,
                    "exits": exits,
                    "went_back": client.went_back,
                    "stopping": client.stopping,
                }
        return {}

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    path = state / "orders.sock"
    path.unlink(missing_ok=True)
    async with await asyncio.start_unix_server(obey, path):
        await stop.wait()
    (state / "supervisor-stopped").write_text(str(client.stopping))


parser = argparse.ArgumentParser()
parser.add_argument("--state", type=Path)
parser.add_argument("--fd", type=int)
args = parser.parse_args()
asyncio.run(serve(args.state, args.fd))

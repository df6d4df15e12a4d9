"""The demo's plant: agents, devices and SSH servers, in one process that ends with the console, however that ends.

`python -m console.demo.host FOLDER`: one JSON line a node on standard output, the machine without an agent last, then a
line `{"ready": true}`.
Commands are JSON lines on standard input (`unplug`, `plug`, `stop-device`, `start-device`, ...; all of them in
`command`); when the input ends, all stops.
The folder belongs to the demo alone, and is removed with it unless `--keep` is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.demo import processes
from console.demo.bare import BareMachine
from console.demo.devices import Devices
from console.demo.plan import BARE, NODES, USER, NodePlan
from console.demo.sshd import HOST, SshServer, make_key

READY_S = 60.0
POLL_S = 0.05
COMMANDS_MAX = 64
UNIX_PATH_BYTES_MAX = 107


@dataclass(slots=True)
class Node:
    """One node of the demo as it runs."""

    plan: NodePlan
    state: Path
    server: SshServer
    agent: asyncio.subprocess.Process | None = None

    @property
    def socket(self) -> Path:
        return self.state / "run" / "agent.sock"


@dataclass(slots=True)
class Plant:
    """Everything that the demo runs, in one folder."""

    folder: Path
    nodes: dict[str, Node] = field(default_factory=dict)
    jump: SshServer | None = None
    bare: BareMachine | None = None
    devices: Devices = field(init=False)

    def __post_init__(self) -> None:
        self.devices = Devices(self.folder)

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    async def start(self) -> None:
        for name in ("logs", "keys", "n"):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        keys = self.folder / "keys"
        make_key(keys / "operator", "demo operator")
        release = make_key(keys / "release", "demo release")
        signers = keys / "allowed_signers"
        signers.write_text(f'release namespaces="outstation-bundle" {" ".join(release.split()[:2])}\n')
        await self.devices.start_all()
        await asyncio.gather(*(self._start_node(number, plan, signers) for number, plan in enumerate(NODES, 1)))
        make_key(keys / "jump", "demo jump host")
        self.jump = SshServer(
            host_key=keys / "jump",
            client_key=keys / "operator",
            ports=lambda: {node.server.port for node in self.nodes.values() if node.plan.jump},
        )
        await self.jump.start()
        make_key(keys / BARE.name, BARE.name)
        self.bare = BareMachine(
            self.folder / "n" / str(len(NODES) + 1),
            host_key=keys / BARE.name,
            client_key=keys / "operator",
            log=self.log(BARE.name),
        )
        await self.bare.start()

    async def _start_node(self, number: int, plan: NodePlan, signers: Path) -> None:
        state = self.folder / "n" / str(number)
        log = self.log(plan.name)
        await processes.run(
            ["nodeagent", "init", "--state", str(state), "--allow-signer", str(signers), "--name", plan.name], log=log
        )
        bindings = state / "bindings.toml"
        bindings.touch(mode=0o600)
        bindings.write_text(self.devices.bindings(plan))
        host_key = self.folder / "keys" / plan.name
        make_key(host_key, plan.name)
        server = SshServer(
            host_key=host_key,
            client_key=self.folder / "keys" / "operator",
            sockets=[str(state / "run" / "agent.sock"), str(state / "run" / "monitor.sock")],
            state=state,
        )
        node = Node(plan, state, server)
        if len(os.fsencode(node.socket)) > UNIX_PATH_BYTES_MAX:
            raise RuntimeError(f"the path {node.socket} is too long for a socket; move the project to a shorter path")
        self.nodes[plan.name] = node
        await self._start_agent(node)
        await server.start()

    async def _start_agent(self, node: Node) -> None:
        """Starts the node's agent as a service manager does: also one that was killed, once all of it is gone."""
        log = self.log(node.plan.name)
        if node.agent is not None:
            await processes.stop([node.agent])
        node.agent = await processes.start(["nodeagent", "run", "--state", str(node.state)], log=log)
        async with asyncio.timeout(READY_S):
            while not node.socket.exists():
                if node.agent.returncode is not None:
                    text = log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the agent of {node.plan.name} ended: {text}")
                await asyncio.sleep(POLL_S)

    def describe(self) -> list[dict[str, Any]]:
        """A line a node: all that another tool needs to reach it. The machine without an agent is the last."""
        assert self.jump is not None
        assert self.bare is not None
        found = [self._line(node.plan, node.server, node.state) for node in self.nodes.values()]
        return [*found, self._line(BARE, self.bare.server, self.bare.state) | {"agent": str(self.bare.agent)}]

    def _line(self, plan: NodePlan, server: SshServer, state: Path) -> dict[str, Any]:
        jump = f"{USER}@{HOST}:{self.jump.port}" if plan.jump and self.jump is not None else ""
        return {
            "name": plan.name,
            "address": HOST,
            "port": server.port,
            "user": USER,
            "socket": str(state / "run" / "agent.sock"),
            "state": str(state),
            "identity": str(self.folder / "keys" / "operator"),
            "host_key": (self.folder / "keys" / f"{plan.name}.pub").read_text().strip(),
            "jump": jump,
            "jump_host_key": (self.folder / "keys" / "jump.pub").read_text().strip() if jump else "",
            "site": plan.site,
            "line": plan.line,
            "machine": plan.machine,
            "example": plan.example,
            "protocol": self.devices.protocol(plan),
            "note": self.devices.note(plan),
            "bindings": self.devices.bindings(plan),
        }

    async def command(self, words: dict[str, Any]) -> None:
        match words.get("do"):
            case "unplug":
                await self.nodes[words["node"]].server.unplug()
            case "plug":
                await self.nodes[words["node"]].server.start()
            case "unplug-jump" if self.jump is not None:
                await self.jump.unplug()
            case "plug-jump" if self.jump is not None:
                await self.jump.start()
            case "stop-agent" if (agent := self.nodes[words["node"]].agent) is not None:
                await processes.stop([agent])
            case "start-agent":
                await self._start_agent(self.nodes[words["node"]])
            case "stop-device":
                await self.devices.stop(words["device"])
            case "start-device":
                await self.devices.start(words["device"])
            case other:
                raise ValueError(f"the demo's host does not know {other!r}")

    async def stop(self) -> None:
        for server in [*(node.server for node in self.nodes.values()), *([self.jump] if self.jump else [])]:
            await server.unplug()
        if self.bare is not None:
            await self.bare.stop()
        agents = [node.agent for node in self.nodes.values() if node.agent is not None]
        await processes.stop([*agents, *self.devices.processes()])


def _say(words: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(words), flush=True)


async def _serve(plant: Plant, commands: asyncio.Queue[dict[str, Any]]) -> None:
    await plant.start()
    for line in plant.describe():
        _say(line)
    _say({"ready": True})
    while True:
        words = await commands.get()
        await plant.command(words)
        _say({"done": words})


async def _listen(commands: asyncio.Queue[dict[str, Any]]) -> None:
    """Returns when the input ends: whoever started the host is gone."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        commands.put_nowait(json.loads(line))


async def _run(folder: Path, *, keep: bool) -> None:
    plant = Plant(folder)
    commands: asyncio.Queue[dict[str, Any]] = asyncio.Queue(COMMANDS_MAX)
    tasks = [asyncio.ensure_future(_serve(plant, commands)), asyncio.ensure_future(_listen(commands))]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, tasks[1].cancel)
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0] in done:
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await plant.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), keep="--keep" in sys.argv[2:]))

"""What the plant has beside its nodes, each a process of its own: PLCs, an OPC UA server, a broker with its camera.

mosquitto is the one that is not ours. Where it is not on the machine the camera drops its pictures into a folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path

from console.demo import processes
from console.demo.plan import DEVICES, DevicePlan, NodePlan

HOST = "127.0.0.1"
READY_S = 60.0
POLL_S = 0.05
PORTS_TRIED = 3
SIMULATORS = "nodeagent.sources.simulators"
EXTRAS = {"pymodbus": "modbus", "asyncua": "opcua", "aiomqtt": "mqtt", "PIL": "image"}
NO_BROKER = "mosquitto is not on this machine"
_PATH: str = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
REMEDY = "apt-get install mosquitto, as root, gives it a broker"


@dataclass(slots=True)
class Device:
    """One of them as it runs; it keeps its port over a restart."""

    plan: DevicePlan
    port: int = 0
    process: asyncio.subprocess.Process | None = None


@dataclass(slots=True)
class Devices:
    """All of them. `folder` is the demo's own."""

    folder: Path
    mosquitto: str | None = field(default_factory=lambda: shutil.which("mosquitto", path=_PATH))
    running: dict[str, Device] = field(default_factory=dict)

    async def start_all(self) -> None:
        """PLCs and servers at once, then instruments that speak to a server. RuntimeError without their libraries."""
        if missing := [extra for library, extra in EXTRAS.items() if importlib.util.find_spec(library) is None]:
            raise RuntimeError(f"the demo's devices need more libraries: pip install 'outstation[{','.join(missing)}]'")
        servers = [plan for plan in DEVICES if not plan.server]
        await asyncio.gather(*(self.start(plan.name) for plan in servers))
        await asyncio.gather(*(self.start(plan.name) for plan in DEVICES if plan.server))

    async def start(self, name: str) -> None:
        """Starts one, also one that was stopped. RuntimeError with the end of its log where it does not come up."""
        device = self.running.setdefault(name, Device(next(plan for plan in DEVICES if plan.name == name)))
        if device.process is not None and device.process.returncode is None:
            return
        match device.plan.kind:
            case "plc":
                words = ("--wear", str(device.plan.wear), "--wear-per-s", str(device.plan.wear_per_s))
                await self._start_server(device, f"{SIMULATORS}.plc", *words)
            case "motor":
                await self._start_server(device, f"{SIMULATORS}.motor")
            case "broker":
                await self._start_broker(device)
            case "camera":
                await self._start_camera(device)

    async def stop(self, name: str) -> None:
        """Kills one, as a fuse does."""
        process = self.running[name].process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    def processes(self) -> list[asyncio.subprocess.Process]:
        """Those that have been started."""
        return [device.process for device in self.running.values() if device.process is not None]

    def protocol(self, node: NodePlan) -> str:
        """The type of the source that the node's pipeline has here."""
        kind = {"plc": "modbus", "motor": "opcua", "broker": "mqtt"}[self._of(node).plan.kind]
        return kind if kind != "mqtt" or self.mosquitto is not None else "folder"

    def bindings(self, node: NodePlan) -> str:
        """The node's bindings.toml: where its device is."""
        port = self._of(node).port
        return {
            "modbus": f'plc = "tcp://{HOST}:{port}"\n',
            "opcua": f'motor = "opc.tcp://{HOST}:{port}"\n',
            "mqtt": f'broker = "mqtt://{HOST}:{port}"\n',
            "folder": f'camera = "{self._pictures}"\n',
        }[self.protocol(node)]

    def note(self, node: NodePlan) -> str:
        """What is not as it should be, in one line; "" where all is."""
        if self.protocol(node) != "folder":
            return ""
        return f"{NO_BROKER}: {node.name} takes its pictures from a folder. {REMEDY}"

    @property
    def _pictures(self) -> Path:
        return self.folder / "pictures"

    def _of(self, node: NodePlan) -> Device:
        return self.running[node.device]

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    async def _start_server(self, device: Device, module: str, *words: str) -> None:
        plan = device.plan
        device.process = await processes.start(
            [module, "--port", str(device.port), "--seed", str(plan.seed), *words],
            log=self._log(plan.name),
            stdout=asyncio.subprocess.PIPE,
        )
        assert device.process.stdout is not None
        async with asyncio.timeout(READY_S):
            line = await device.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{plan.name} did not start: {self._end_of_log(plan.name)}")
        device.port = int(json.loads(line)["port"])

    async def _start_broker(self, device: Device) -> None:
        """A port of its own, which somebody else may take in the moment between: then another one."""
        if self.mosquitto is None:
            return
        config = self.folder / f"{device.plan.name}.conf"
        for _ in range(1 if device.port else PORTS_TRIED):
            port = device.port or _free_port()
            user = "user root\n" if os.geteuid() == 0 else ""  # else it would change to one that cannot read its folder
            config.write_text(f"listener {port} {HOST}\nallow_anonymous true\npersistence false\n{user}")
            device.process = await processes.spawn([self.mosquitto, "-c", str(config)], log=self._log(device.plan.name))
            if await _answers(device.process, port):
                device.port = port
                return
        raise RuntimeError(f"{device.plan.name} did not start: {self._end_of_log(device.plan.name)}")

    async def _start_camera(self, device: Device) -> None:
        if self.mosquitto is None:
            self._pictures.mkdir(mode=0o700, exist_ok=True)
            where = ("--folder", str(self._pictures))
        else:
            where = ("--broker", f"mqtt://{HOST}:{self.running[device.plan.server].port}")
        device.process = await processes.start(
            [f"{SIMULATORS}.camera", "--seed", str(device.plan.seed), *where], log=self._log(device.plan.name)
        )

    def _end_of_log(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")[-1000:].strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


async def _answers(process: asyncio.subprocess.Process, port: int) -> bool:
    """Whether something listens there before the process ends."""
    async with asyncio.timeout(READY_S):
        while process.returncode is None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(HOST, port)
                writer.close()
                return True
            await asyncio.sleep(POLL_S)
    return False

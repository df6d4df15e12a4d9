"""What the first contact with one more node costs the console, in calls of Python functions and not in seconds."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

from bench.fleet import _announced
from console.demo.sshd import make_key
from console.fleet.fleet import LiveFleet
from console.fleet.view import LinkState, NodeAddress
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import Nobody

NODES = 4
CALLS_MAX = 7_400  # 6,720 when this was written; 8,908 and 16 imports where httpcore looked for sniffio in vain


def test_one_more_node_costs_a_known_number_of_calls_and_imports_nothing() -> None:
    with tempfile.TemporaryDirectory(prefix="c") as name:
        folder = Path(name)
        make_key(folder / "id", "test")
        host = " ".join(make_key(folder / "host", "test").split()[:2])
        command = [sys.executable, "-m", "bench._fleet_nodes", str(folder), "0", str(NODES)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as nodes:
            try:
                lines = [line.split() for line in _announced(nodes)]
                (folder / "known_hosts").write_text("".join(f"[127.0.0.1]:{port} {host}\n" for _, port, _ in lines))
                calls, imports = asyncio.run(connect(folder, lines))
            finally:
                nodes.kill()
    assert calls / (NODES - 1) <= CALLS_MAX
    assert imports == 0


async def connect(folder: Path, lines: list[list[str]]) -> tuple[int, int]:
    """Calls, and imports tried, from the second node's add to its telemetry and its first round trip."""
    first, *others = (
        NodeAddress(name, "127.0.0.1", int(port), "plant", socket=path, identity_files=(str(folder / "id"),))
        for name, port, path in lines
    )
    fleet = LiveFleet([first], Pool(Ssh(HostKeys(folder / "known_hosts"), Secrets(Nobody()), agent_path="")))
    task = asyncio.create_task(fleet.run())
    try:
        await reached(fleet)
        calls = imports = 0

        def count(frame: FrameType, event: str, _: Any) -> None:
            nonlocal calls, imports
            if event == "call":
                calls += 1
                imports += frame.f_code.co_name == "_find_and_load"

        sys.setprofile(count)
        try:
            for address in others:
                fleet.add(address)
            await reached(fleet)
        finally:
            sys.setprofile(None)
        return calls, imports
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reached(fleet: LiveFleet) -> None:
    async with asyncio.timeout(30):
        while any(view.link is not LinkState.UP or view.rtt_ms is None for view in fleet.views().values()):
            await fleet.wait_changed(fleet.version)

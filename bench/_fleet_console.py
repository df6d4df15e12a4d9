"""The console's half of bench/fleet.py: `FOLDER SECONDS`; `FOLDER/nodes` has a line a node. Prints one line of JSON.

What the app stands on, without the screen: links, watches and views of every node, and a probe of the event loop.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import quantiles

import psutil

from bench._fleet_nodes import raise_file_limit
from console.fleet.fleet import LiveFleet
from console.fleet.view import LinkState, NodeAddress
from console.link.hostkeys import HostKeys
from console.link.pool import Pool
from console.link.secrets import Secrets
from console.link.ssh import Ssh
from console.seat.prompts import Nobody

PROBE_S = 0.01
PICTURE_S_MAX = 240.0


async def _lags(into: list[float]) -> None:
    while True:
        began_s = time.perf_counter()
        await asyncio.sleep(PROBE_S)
        into.append((time.perf_counter() - began_s - PROBE_S) * 1e3)


async def main(folder: Path, seconds: float) -> None:
    """Watches until every node was seen, then for `seconds` more."""
    addresses = [
        NodeAddress(
            name=name, host="127.0.0.1", port=int(port), user="plant", socket=path, identity_files=(str(folder / "id"),)
        )
        for name, port, path in (line.split() for line in (folder / "nodes").read_text().splitlines())
    ]
    empty_bytes = psutil.Process().memory_info().rss
    fleet = LiveFleet(addresses, Pool(Ssh(HostKeys(folder / "known_hosts"), Secrets(Nobody()), agent_path="")))
    began_s, cold_s = time.monotonic(), time.process_time()
    task = asyncio.create_task(fleet.run())
    try:
        while _known(fleet) < len(addresses) and time.monotonic() - began_s < PICTURE_S_MAX:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        picture_s, connect_s = time.monotonic() - began_s, time.process_time() - cold_s
        lags: list[float] = []
        probe = asyncio.create_task(_lags(lags))
        before_s, at_s = time.process_time(), time.monotonic()
        await asyncio.sleep(seconds)
        used = (time.process_time() - before_s) / (time.monotonic() - at_s)
        probe.cancel()
        grown = (psutil.Process().memory_info().rss - empty_bytes) / len(addresses)
        found = {
            "up": _known(fleet),
            "picture_s": picture_s,
            "connect_cpu_ms": connect_s * 1e3 / len(addresses),
            "core_percent": used * 100,
            "lag_p50_ms": quantiles(lags, n=100)[49],
            "lag_p99_ms": quantiles(lags, n=100)[98],
            "node_kb": grown / 1e3,
        }
        print(json.dumps(found), flush=True)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _known(fleet: LiveFleet) -> int:
    return sum(view.link is LinkState.UP and view.telemetry is not None for view in fleet.views().values())


if __name__ == "__main__":
    raise_file_limit()
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))

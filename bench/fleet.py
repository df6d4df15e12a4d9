"""10, 100 and 1,000 simulated nodes watched by one console: the real protocol over real SSH, a server a node.

The nodes run in several processes on this machine and share its cores with the console, so the time to the first full
picture is theirs as much as the console's; its CPU is its own. Each node tells its telemetry once a second.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.row import Row
from console.demo.sshd import make_key

SIZES = (10, 100, 1_000)
WATCH_S = 10.0
NODES_A_PROCESS = 250
CORE_PERCENT_MAX, LAG_MS_MAX, NODE_KB_MAX, CONNECT_MS_MAX = 20.0, 30.0, 100.0, 5.0


def run() -> list[Row]:
    """About two minutes."""
    rows: list[Row] = []
    for size in SIZES:
        seen = _measured(size)
        if seen["up"] != size:
            title, note = f"{size:,} nodes, up after {seen['picture_s']:.0f} s", "the machine is too busy for the rest"
            rows.append(Row(title, seen["up"], "nodes", "simulated", size, 1.0, note, headline=True))
            continue
        largest, nodes = size == SIZES[-1], f"{size:,} nodes"
        core, lag = seen["core_percent"], seen["lag_p99_ms"]
        budget = ("budget", CORE_PERCENT_MAX, 1.0) if largest else ("", None, None)
        title = "console's share of a core, percent"
        rows.append(
            Row(f"{nodes} at 1 Hz, console CPU", core, "% of a core", *budget, less=True, headline=True)._replace(
                series=title, at=size
            )
        )
        limit = ("budget", LAG_MS_MAX, 1.0) if largest else ("", None, None)
        note = f"p50 {seen['lag_p50_ms']:.1f} ms"
        rows.append(Row(f"{nodes}, event loop lag p99", lag, "ms", *limit, note, less=True, headline=largest))
        picture = Row(f"{nodes}, cold to the first full picture", seen["picture_s"], "s", headline=largest)
        rows.append(picture._replace(series="seconds to the first full picture", at=size))
        each = ("budget", CONNECT_MS_MAX, 1.0)
        rows.append(Row(f"{nodes}, console CPU to connect", seen["connect_cpu_ms"], "ms a node", *each, less=True))
        if largest:
            each = ("budget", NODE_KB_MAX, 1.0)
            rows.append(Row(f"{nodes}, console memory", seen["node_kb"], "kB a node", *each, less=True, headline=True))
    return rows


def _measured(size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="ob") as name:
        folder = Path(name)
        make_key(folder / "id", "bench")
        host = " ".join(make_key(folder / "host", "bench").split()[:2])
        processes: list[subprocess.Popen[str]] = []
        try:
            for first in range(0, size, NODES_A_PROCESS):
                words = [str(folder), str(first), str(min(NODES_A_PROCESS, size - first))]
                command = [sys.executable, "-m", "bench._fleet_nodes", *words]
                processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            lines = [line for process in processes for line in _announced(process)]
            (folder / "nodes").write_text("".join(lines))
            pins = [f"[127.0.0.1]:{line.split()[1]} {host}\n" for line in lines]
            (folder / "known_hosts").write_text("".join(pins))
            command = [sys.executable, "-m", "bench._fleet_console", str(folder), str(WATCH_S)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found: dict[str, float] = json.loads(done.stdout)
            return found
        finally:
            for process in processes:
                process.kill()
                process.wait()


def _announced(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        if line == "ready\n":
            return lines
        lines.append(line)
    raise RuntimeError("the simulated nodes did not start")

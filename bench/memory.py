"""Resident memory: an idle agent's launcher and supervisor, and the workers of the demo at work on their PLCs."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.row import Row

SETTLE_S = 5.0
START_S = 60.0
WORK_S = 20.0
DEMO_NODES = 6
MB = 1e6
SUPERVISOR_MB = 30.0
WORKER_MB = 110.0  # the pump's pipeline, without OPC UA


def run() -> list[Row]:
    """An agent with nothing installed, and bare Python beside it."""
    with tempfile.TemporaryDirectory(prefix="ob") as folder:
        state = Path(folder) / "s"
        command = [sys.executable, "-m", "nodeagent"]
        subprocess.run([*command, "init", "--state", str(state), "--name", "bench"], check=True, stdout=subprocess.PIPE)
        began_s = time.monotonic()
        agent = subprocess.Popen([*command, "run", "--state", str(state)], stderr=subprocess.DEVNULL)
        try:
            up_s = _answering(state, began_s)
            time.sleep(SETTLE_S)
            sizes = _sizes(agent.pid)
        finally:
            agent.terminate()
            agent.wait()
    bare = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    time.sleep(1.0)
    bare_mb = psutil.Process(bare.pid).memory_info().rss / MB
    bare.kill()
    bare.wait()
    return [
        Row("launcher resident, idle", sizes["launcher"], "MB", "bare python", bare_mb),
        Row(
            "supervisor resident, idle",
            sizes["supervisor"],
            "MB",
            "budget",
            SUPERVISOR_MB,
            1.0,
            less=True,
            headline=True,
        ),
        Row(
            "worker resident, pump from Modbus", _worker_mb(), "MB", "budget", WORKER_MB, 1.0, less=True, headline=True
        ),
        Row("agent start to API", up_s * 1e3, "ms", note="from cold, the asking process included"),
    ]


def _worker_mb() -> float:
    """Median of the demo's pump workers after `WORK_S` of work: Modbus in, model, records, MQTT out."""
    demo = subprocess.Popen([sys.executable, "-m", "console", "demo", "--serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        nodes = [json.loads(line) for line in itertools.islice(demo.stdout, DEMO_NODES)]
        time.sleep(WORK_S)
        states = {node["state"] for node in nodes if node["example"] == "pump"}
        return statistics.median(_workers_of(demo.pid, states))
    finally:
        demo.terminate()
        demo.wait()


def _workers_of(pid: int, states: set[str]) -> list[float]:
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        launched = process.parent()
        if "nodeagent.worker" in process.cmdline() and launched is not None and states & set(launched.cmdline()):
            found.append(process.memory_info().rss / MB)
    return found


def _answering(state: Path, began_s: float) -> float:
    """Seconds from the start until the API answers."""
    command = [sys.executable, "-m", "nodeagent", "status", "--state", str(state)]
    while time.monotonic() - began_s < START_S:
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return time.monotonic() - began_s
    raise RuntimeError(f"the agent did not answer within {START_S:g} s")


def _sizes(pid: int) -> dict[str, float]:
    launcher = psutil.Process(pid)
    found = {"launcher": launcher.memory_info().rss / MB}
    for child in launcher.children():
        if "nodeagent.supervisor" in child.cmdline():
            found["supervisor"] = child.memory_info().rss / MB
    return found

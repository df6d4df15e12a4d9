"""The plant belongs to one worker at a time: its connections, its sweeps, its outputs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pymodbus.client import ModbusTcpClient

from nodeagent.worker.plant_right import PlantRight, RightHeld
from store import records

UNSAFE, SAFE, REGISTER = 7, 0, 100
BINDINGS = {"allow": [f"holding:{REGISTER}"]}


@pytest.fixture
def plc():
    """A PLC with the pump skid on a real port; its output register stands at SAFE."""
    command = [sys.executable, "-m", "nodeagent.sources.simulators.plc", "--speed", "50"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    port = json.loads(process.stdout.readline())["port"]
    plc = Plc(port)
    plc.write(SAFE)
    yield plc
    plc.client.close()
    process.kill()
    process.wait()
    process.stdout.close()


class Plc:
    def __init__(self, port: int) -> None:
        self.port = port
        self.client = ModbusTcpClient("127.0.0.1", port=port)
        assert self.client.connect()

    def write(self, value: int) -> None:
        assert not self.client.write_register(REGISTER, value, device_id=1).isError()

    def output(self) -> int:
        return int(self.client.read_holding_registers(REGISTER, count=1, device_id=1).registers[0])

    def clients(self, pids: list[int]) -> list[int]:
        """Which processes hold a connection to this PLC."""
        return [pid for pid in pids if any(c.raddr and c.raddr.port == self.port for c in connections(pid))]


def connections(pid: int):
    return psutil.Process(pid).net_connections("tcp")


def pipeline(plc: Plc, size: int = 10) -> str:
    return f"""
schema = 1
name = "skid"

[[source]]
id = "plc"
type = "modbus"
url = "tcp://127.0.0.1:{plc.port}"
poll = "20ms"
tags = [
  {{ name = "q_in", register = "holding:2", type = "float32" }},
  {{ name = "p_suc", register = "holding:4", type = "float32" }},
  {{ name = "p_dis", register = "holding:6", type = "float32" }},
  {{ name = "vib", register = "holding:12", type = "float32" }},
]

[[step]]
use = "window"
size = {size}
every = 1

[model]
inputs = ["q_in.Average", "p_suc.Average", "p_dis.Average", "vib.Average"]

[decide]
use = "alarm"
score = "y"
high = 10.0

[[sink]]
type = "record"

[[sink]]
type = "modbus.write"
url = "tcp://127.0.0.1:{plc.port}"
register = "holding:{REGISTER}"
when = "alarm"
value = {UNSAFE}.0
safe = {SAFE}.0
[sink.guard]
allow = "${{allow}}"
low = 0.0
high = 10.0
dry_run = false
"""


@pytest.fixture
def running(workers, bundles, plc, until):
    """Revision 1 runs its pipeline against the PLC."""
    workers.start()
    workers.ask("ensure", activation=bundles.pipeline(1, pipeline(plc), bindings=BINDINGS, write_back="armed"))
    until(lambda: figures(workers)["predictions_total"] > 5, "the pipeline predicts")
    until(lambda: plc.output() == UNSAFE, "the alarm drives the output")
    return workers


def figures(node) -> dict:
    return node.ask("tell")["telemetry"][0]


def pid_of(node, state: str) -> int:
    return next(worker["pid"] for worker in node.ask("tell")["workers"] if worker["state"] == state)


def recorded(state: Path) -> list[records.Record]:
    return records.query(state / "records" / "press", limit=10_000).records


def test_a_pipeline_predicts_records_and_shows_each_of_its_parts(running, state, until):
    now = until(
        lambda: (f := figures(running))["inferences_per_s"] > 1 and f["last"] and f, "a period with predictions"
    )
    assert [(source["id"], source["state"]) for source in now["sources"]] == [("plc", "up")]
    assert [sink["type"] for sink in now["sinks"]] == ["record", "modbus.write"]
    assert now["stages"][0]["name"] == "source plc"
    assert now["quality_good_share"] > 0
    assert until(lambda: figures(running)["records_total"] > 5, "records are committed")


def test_a_candidate_is_fed_warm_without_a_connection_of_its_own(running, bundles, plc, until):
    running.ask("prepare", activation=bundles.pipeline(2, pipeline(plc, size=40), bindings=BINDINGS))
    active, candidate = pid_of(running, "active"), pid_of(running, "candidate")
    until(lambda: plc.clients([active, candidate]) == [active], "the active worker alone is connected")
    running.ask("switch")
    until(lambda: plc.clients([active, candidate]) == [candidate], "the new one alone is connected")


def test_every_record_belongs_to_the_revision_that_made_it_and_none_overlap(running, bundles, plc, state, until):
    running.ask("prepare", activation=bundles.pipeline(2, pipeline(plc), bindings=BINDINGS))
    report = running.ask("switch")
    until(lambda: any(record.revision == 2 for record in recorded(state)), "revision 2 records")
    running.ask("switch_back")
    last = recorded(state)[-1].key
    until(lambda: recorded(state)[-1].key > last + 200_000, "revision 1 records again")
    rows = recorded(state)
    runs = [rows[0].revision]
    for row in rows:
        if row.revision != runs[-1]:
            runs.append(row.revision)
        assert row.score // 1000 == row.revision
        assert row.quality == 0
    assert runs == [1, 2, 1]
    assert 0 <= report["gap_ms"] < 5_000


def test_hold_brings_the_output_to_its_safe_value_and_records_go_on(running, plc, state, until):
    assert plc.output() == UNSAFE
    running.ask("hold", on=True)
    assert plc.output() == SAFE
    before = len(recorded(state))
    until(lambda: len(recorded(state)) > before, "records go on")
    plc.write(UNSAFE)
    os.kill(pid_of(running, "active"), signal.SIGKILL)
    until(lambda: plc.output() == SAFE, "a worker that starts under hold writes the safe value")


def test_hold_reaches_the_output_of_a_worker_that_does_not_answer(running, plc, frozen, until):
    frozen(pid_of(running, "active"))
    running.ask("hold", on=True)
    until(lambda: plc.output() == SAFE, "the safe value is written without the worker")


def test_a_bundle_that_is_stopped_leaves_its_output_at_the_safe_value(running, plc):
    running.ask("stop", safe=True)
    assert plc.output() == SAFE
    assert plc.clients([child.pid for child in running.launcher.children(recursive=True)]) == []


def test_a_node_that_is_stopped_leaves_its_outputs_at_the_safe_value(running, plc, state):
    running.launcher.terminate()
    assert running.process.wait(timeout=30) == 0
    assert plc.output() == SAFE
    assert running.process.returncode == 0
    page = records.query(state / "records" / "press", limit=10_000)
    assert page.records
    assert page.gaps == []


def test_a_worker_that_does_not_come_back_has_its_safe_value_written_without_it(running, bundles, plc, until):
    Path(bundles.activation(1)["model_path"]).write_bytes(b"damaged")
    os.kill(pid_of(running, "active"), signal.SIGKILL)
    until(lambda: plc.output() == SAFE, "the safe value is written")
    assert figures(running)["state"] == "backoff"


def test_the_tap_shows_a_sweep_after_every_stage(running):
    taps = running.ask("tap", count=12)["taps"]
    assert "source plc" in {tap["stage"] for tap in taps}
    assert len({tap["stage"] for tap in taps}) >= 3


def test_the_right_is_one_processs_and_the_kernel_frees_it_at_its_death(state, until):
    work_dir = state / "press"
    code = (
        "import asyncio, time; from pathlib import Path; from nodeagent.worker.plant_right import PlantRight\n"
        f"right = PlantRight(Path({str(work_dir)!r})); asyncio.run(right.take()); print('held', flush=True)\n"
        "time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    right = PlantRight(work_dir)
    with pytest.raises(RightHeld):
        asyncio.run(right.take(0.05))
    holder.kill()
    holder.wait()
    holder.stdout.close()
    asyncio.run(right.take(10.0))
    assert right.held
    right.leave()


def test_outputs_that_were_a_dry_run_in_the_trial_act_from_the_commit_on(running, bundles, plc, until):
    new = bundles.pipeline(2, pipeline(plc), bindings=BINDINGS)
    running.ask("prepare", activation=new | {"trial": True})
    running.ask("switch")
    pid = pid_of(running, "active")
    plc.write(SAFE)
    until(lambda: "would write" in told_of_the_output(running), "the new one decides and only says what it would")
    assert plc.output() == SAFE
    running.ask("commit", activation=new | {"write_back": "armed"})
    until(lambda: plc.output() == UNSAFE, "the same worker writes")
    assert pid_of(running, "active") == pid
    os.kill(pid, signal.SIGKILL)
    plc.write(SAFE)
    until(lambda: plc.output() == UNSAFE, "and so does the next one")


def test_outputs_are_not_armed_under_a_hold(running, bundles, plc, until):
    running.ask("ensure", activation=(new := bundles.pipeline(2, pipeline(plc), bindings=BINDINGS)))
    until(lambda: "would write" in told_of_the_output(running), "it decides and only says what it would")
    running.ask("hold", on=True)
    plc.write(UNSAFE)
    running.ask("commit", activation=new | {"write_back": "armed"})
    assert plc.output() == SAFE
    running.ask("hold", on=False)
    until(lambda: plc.output() == UNSAFE, "released")


def test_a_worker_that_is_told_to_disarm_leaves_the_safe_value(running, bundles, plc, until):
    pid = pid_of(running, "active")
    running.ask("ensure", activation=bundles.pipeline(1, pipeline(plc), bindings=BINDINGS))
    assert (plc.output(), pid_of(running, "active")) == (SAFE, pid)
    until(lambda: "would write" in told_of_the_output(running), "it is a dry run")
    assert plc.output() == SAFE


def told_of_the_output(node) -> str:
    return next((sink["reason"] for sink in figures(node)["sinks"] if sink["type"] == "modbus.write"), "")

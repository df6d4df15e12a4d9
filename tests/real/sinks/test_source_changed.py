"""A server that comes back as another one takes write-back away until a person accepts it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np

from nodeagent.clock import SystemClock
from nodeagent.pipeline.config import load
from nodeagent.pipeline.drift import Drift
from nodeagent.pipeline.engine import Engine
from nodeagent.sources.device import accept
from nodeagent.sources.doors import Doors
from nodeagent.spec import Activation
from nodeagent.worker.loading import ModelInput
from nodeagent.worker.plant import Plant
from nodeagent.worker.stats import WorkerStats
from store.recorder import Recorder

PIPELINE = """schema = 1
name = "press"
[[source]]
id = "press"
type = "opcua"
url = "opc.tcp://127.0.0.1:{port}"
every = "100ms"
timeout = "2s"
silence = "2s"
tags = [{{ name = "still", node = "ns=1;s=Still" }}]
[model]
inputs = ["still"]
[decide]
use = "alarm"
score = "y"
high = 1.0
[[sink]]
type = "opcua.write"
url = "opc.tcp://127.0.0.1:{port}"
node = "ns=1;s=Valve"
when = "alarm"
value = 1
safe = 3
timeout = "2s"
guard = {{ allow = "${{allow}}", low = 0, high = 5, dry_run = false, heartbeat_every = "50ms" }}
"""


def activation(folder: Path) -> Activation:
    text = dict.fromkeys(("bundle", "model", "version", "digest", "model_path", "pipeline_path", "model_digest"), "p")
    text |= dict.fromkeys(("pipeline_digest", "node_id", "node_name", "site"), "p")
    return Activation(
        **text,
        revision=1,
        baseline_path=None,
        golden_path=None,
        bindings={},
        binding_revision=1,
        peak_memory_bytes=0,
        boot_number=1,
        trial=False,
        write_back="armed",
        records_dir=str(folder),
        work_dir=str(folder),
    )


def test_write_back_is_taken_away_until_a_person_accepts_the_changed_server(opcua: Any, tmp_path: Path, until) -> None:
    clock = SystemClock()
    config = load(PIPELINE.format(port=opcua.port), bindings={"allow": ["ns=1;s=Valve"]})
    engine = Engine(
        config,
        run_model=lambda feeds: {"y": np.array([[5.0]], np.float32)},
        model_inputs=[ModelInput("x", "FP32", (-1, 1))],
        clock=clock,
    )
    failed: list[BaseException] = []
    plant = Plant(
        activation(tmp_path),
        config,
        engine,
        Drift(None, ["still"]),
        doors=Doors(),
        clock=clock,
        stats=WorkerStats(),
        on_frames=lambda frames: None,
        on_said=lambda say: None,
        failed=failed.append,
    )

    def told() -> str:
        return plant.sinks()[0].reason

    async def scenario(recorder: Recorder) -> None:
        plant.start()
        await plant.open(recorder, held=False)
        await until(lambda: told() == "armed; ns=1;s=Valve reads 1", "the decision is written")
        opcua.kill()
        opcua.start("3", opcua.folder, "2.0")
        await until(lambda: "source changed" in told(), "it is taken away")
        assert told() == "dry run: press: source changed: version 1.0 -> 2.0; would write 1 to ns=1;s=Valve"
        accept(tmp_path, "press")
        await until(lambda: told() == "armed; ns=1;s=Valve reads 1", "it is given back")
        await plant.end_sweep()
        await plant.close(safe=False)
        await plant.stop()

    recorder = Recorder(
        tmp_path, bundle="p", revision=1, digest="p", config="p", boot_number=1, clock_us=clock.boottime_us
    )
    try:
        asyncio.run(scenario(recorder))
    finally:
        recorder.close()
    assert not failed

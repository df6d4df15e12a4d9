"""What a sweep costs, counted and not timed: calls of functions in the pump's pipeline, and in a sweep over Modbus.

The figures are those of the day with a margin; who goes over one has made the hot path longer, and says why.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nodeagent.clock import SystemClock
from nodeagent.frame import good
from nodeagent.model.inference import Model
from nodeagent.pipeline import config as pipeline_config
from nodeagent.sources.modbus_link import ModbusLink
from nodeagent.sources.modbus_poll import Poll
from nodeagent.sources.registers import Item, address
from nodeagent.worker.loading import engine_of

EXAMPLE = Path("examples/pump")
NAMES = ("speed", "q_in", "p_suc", "p_dis", "power", "t_brg", "vib")
MEANS = np.array([1480.0, 95.0, 1.1, 6.2, 22.0, 48.0, 2.1])
SWEEPS = 256
PIPELINE_CALLS_A_SWEEP = {1: 153.0, SWEEPS: 24.2}
TAGS, BLOCK_REGISTERS = 1_000, 124
MODBUS_CALLS_A_SWEEP = 2_817  # of both ends, 17 requests
MARGIN = 1.1


def calls(work: Callable[[], object]) -> int:
    """Calls of Python functions while `work` runs."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_a_sweep_among_many_costs_few_calls_and_one_alone_no_more_than_ever() -> None:
    clock = SystemClock()
    values = MEANS * (1 + 0.001 * np.random.default_rng(1).standard_normal((2 * SWEEPS, len(MEANS))))
    text = (EXAMPLE / "pipeline.toml").read_text().replace("[model]\n", f"[model]\nbatch_max = {SWEEPS}\n")
    for batch, expected in PIPELINE_CALLS_A_SWEEP.items():
        config = pipeline_config.load(text, bindings={"plc": "tcp://127.0.0.1:1"})
        engine = engine_of(config, Model.load(EXAMPLE / "model.onnx"), {}, clock)
        frames = [good(NAMES, row, source_us=at, received_us=at, source="plc") for at, row in enumerate(values)]
        engine.push_many(frames[:SWEEPS])  # every window is full now
        turns = [frames[at : at + batch] for at in range(SWEEPS, 2 * SWEEPS, batch)]
        counted = calls(lambda turns=turns, engine=engine: [engine.push_many(turn) for turn in turns])  # type: ignore[misc]
        assert counted / SWEEPS <= expected * MARGIN, f"{counted / SWEEPS:.1f} calls a sweep at {batch}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A device whose registers are 0: function 3 and 4 alone."""
    try:
        while True:
            head = await reader.readexactly(12)
            count = struct.unpack(">H", head[10:])[0]
            writer.write(head[:4] + struct.pack(">HBBB", 3 + 2 * count, head[6], head[7], 2 * count) + bytes(2 * count))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
        await writer.wait_closed()


def test_a_sweep_over_modbus_costs_calls_by_its_requests_and_not_by_its_tags() -> None:
    items = [Item(f"t{at}", address(f"holding:{2 * at}"), "float32", "ABCD") for at in range(TAGS)]

    async def scenario() -> int:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answer(reader, writer)
            ended.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        poll = Poll(
            items,
            lambda: ModbusLink.open(f"tcp://127.0.0.1:{port}", unit_id=1, timeout_s=30.0),
            SystemClock(),
            asyncio.sleep,
            max_gap=8,
            block_max=BLOCK_REGISTERS,
            pause_s=0.0,
        )
        await poll.connect()
        await poll.sweep()
        count = 0

        def profile(frame: Any, event: str, argument: Any) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(profile)
        try:
            values, reasons = await poll.sweep()
        finally:
            sys.setprofile(None)
        assert not reasons
        assert np.isfinite(values).all()
        poll.drop()
        server.close()
        await ended.wait()
        return count

    counted = asyncio.run(scenario())
    assert counted <= MODBUS_CALLS_A_SWEEP * MARGIN, f"{counted} calls a sweep"

"""A worker: one active bundle's whole data plane in its own process. `python -m nodeagent.worker --spec FILE`.

It ends with a text on stderr when it cannot load or something in it failed; the supervisor decides what comes next.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Final

import msgspec

from nodeagent.clock import Clock, SystemClock
from nodeagent.model.golden import GoldenMismatch
from nodeagent.model.inference import ModelRefused, RunFailed, RunPolicy
from nodeagent.pipeline.drift import BaselineRefused
from nodeagent.pipeline.errors import ConfigError
from nodeagent.spec import WorkerDocument
from nodeagent.worker.bundle_worker import BundleWorker
from nodeagent.worker.control import WorkerControl
from nodeagent.worker.loading import load, read_pipeline
from nodeagent.worker.outputs import Outputs
from nodeagent.worker.plant import sink_context
from nodeagent.worker.plant_right import PlantRight, RightHeld
from store import durable

EXIT_REFUSED: Final = 3
EXIT_FAILED: Final = 4
# Longer than a killed worker needs to end; who still holds the right then is alive and has the outputs in hand.
SAFE_RIGHT_S_MAX: Final = 1.0
CANNOT_START: Final = (ModelRefused, RunFailed, GoldenMismatch, ConfigError, BaselineRefused, RightHeld, OSError)


def read_document(path: Path) -> WorkerDocument:
    """The document behind `--spec`; an inherited descriptor is closed, since it holds secrets."""
    document = msgspec.json.decode(path.read_bytes(), type=WorkerDocument)
    if path.parent == Path("/dev/fd"):
        os.close(int(path.name))
    return document


async def work(document: WorkerDocument, clock: Clock) -> int:
    """Works until SIGTERM. Returns the exit status. Raises CANNOT_START."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    def end(error: BaseException | None = None) -> None:
        if not ended.done():
            ended.set_result(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    durable.make_dir(Path(document.activation.work_dir))
    control = WorkerControl(socket.socket(fileno=document.fds["control"]))
    controlling = asyncio.create_task(control.run(), name="control")
    controlling.add_done_callback(lambda task: end(None if task.cancelled() else task.exception()))
    loaded = await asyncio.to_thread(load, document.activation, clock, RunPolicy(deadline_s=document.deadline_s))
    worker = BundleWorker(
        document.activation,
        loaded,
        socket.socket(fileno=document.fds["model"]),
        clock=clock,
        held=document.hold,
        on_frames=control.frames,
        on_said=control.said,
        failed=end,
        log=control.log,
    )
    try:
        if document.role == "active" and not ended.done():
            await worker.activate()
        control.begin(worker)
        error = await ended
    finally:
        await worker.stop()
        controlling.cancel()
        await asyncio.wait([controlling])
    if error is not None:
        traceback.print_exception(error)
        return EXIT_FAILED
    return 0


async def write_safe_values(document: WorkerDocument, clock: Clock) -> int:
    """Sinks only, no model: writes the safe values and ends. Raises CANNOT_START."""
    activation = document.activation
    durable.make_dir(Path(activation.work_dir))
    config = read_pipeline(activation)
    if config is None:
        return 0
    right = PlantRight(Path(activation.work_dir))
    await right.take(SAFE_RIGHT_S_MAX)
    outputs = Outputs.create(config, sink_context(activation, config, clock, None))
    problems = await outputs.safe()
    for problem in problems:
        print(problem, file=sys.stderr)
    return EXIT_FAILED if problems else 0


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="nodeagent.worker", description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="the worker's document, JSON")
    document = read_document(parser.parse_args(arguments).spec)
    run = write_safe_values if document.role == "safe" else work
    try:
        return asyncio.run(run(document, SystemClock()))
    except CANNOT_START as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return EXIT_FAILED


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())

"""`outstation demo`: the app over a plant on this machine, or the same without a person, or the plant alone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from console.demo.aside import aside
from console.demo.plan import DEGRADING_NODE, NODES
from console.demo.plant import PlantFailed
from console.demo.provision import OPERATOR
from console.demo.running import Demo, running_demo
from console.demo.scenario import play
from console.demo.scene import Claim, Scene
from console.demo.seventh import ActFailed, how_to, kit_made

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
BREAKABLE = ("plc", "jump", "bundle")
APP_DEFAULTS = {"operate": False, "ascii": False, "link": None, "look": "", "record": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `outstation demo`."""
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--headless", type=float, metavar="SECONDS", help="act without a person, print JSON, exit 0 if all was seen"
    )
    mode.add_argument("--serve", action="store_true", help="run the plant alone; one line of JSON a node")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="use this new folder and leave it there")
    parser.add_argument(
        "--break",
        dest="broken",
        choices=BREAKABLE,
        help="break one thing on purpose, to see that the headless demo then fails",
    )


def run(options: argparse.Namespace) -> int:
    """Runs the demo; the exit code."""
    folder = options.keep.absolute() if options.keep else ROOT / "build" / f"d{secrets.token_hex(2)}"
    try:
        if options.serve:
            return asyncio.run(_serve(folder, keep=options.keep is not None))
        if options.headless is not None:
            return asyncio.run(_headless(folder, options.headless, options.keep is not None, options.broken))
        return _app(folder, keep=options.keep is not None)
    except PlantFailed as error:
        print(f"outstation: the demo's plant did not start:\n{error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _headless(folder: Path, seconds: float, keep: bool, broken: str | None) -> int:
    began_s = time.monotonic()
    _tell("starting six agents, five PLCs, an OPC UA server, a broker and eight SSH servers ...")
    async with _ending_on_signals(), running_demo(folder, _tell, keep=keep) as demo:
        bundles = replace(demo.bundles, bad=demo.bundles.good) if broken == "bundle" else demo.bundles
        if broken == "plc":
            await demo.plant.command(do="stop-device", device=_device_of(DEGRADING_NODE))
        if broken == "jump":
            await demo.plant.command(do="unplug-jump")
        watching = asyncio.ensure_future(demo.fleet.run())
        try:
            scene = Scene(demo.fleet, demo.plant, demo.home, bundles, time.monotonic() + seconds)
            claims = await play(scene, seventh=broken is None)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        states = {line["name"]: line["state"] for line in demo.plant.nodes}
    print(json.dumps(_report(claims, states, time.monotonic() - began_s), indent=2))
    return 0 if all(claim.ok for claim in claims) else 1


def _device_of(node: str) -> str:
    return next(plan.device for plan in NODES if plan.name == node)


def _report(claims: list[Claim], states: dict[str, str], took_s: float) -> dict[str, object]:
    return {
        "ok": all(claim.ok for claim in claims),
        "seconds": round(took_s, 1),
        "states": states,
        "claims": [asdict(claim) for claim in claims],
    }


async def _serve(folder: Path, *, keep: bool) -> int:
    async with _ending_on_signals(), running_demo(folder, _tell, keep=keep) as demo:
        await demo.fleet.aclose()
        for line in demo.plant.nodes:
            print(json.dumps(line), flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await demo.plant.process.wait()
    return 0


@asynccontextmanager
async def _ending_on_signals() -> AsyncIterator[None]:
    """SIGTERM, SIGINT and SIGHUP end the block in order, so that the plant is taken down."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _app(folder: Path, *, keep: bool) -> int:
    from console.seat.launch import run_app

    _tell("starting six agents, five PLCs, an OPC UA server, a broker and eight SSH servers ...")
    with _leaving_on_signals(), aside(_demo_with_kit(folder, keep=keep)) as demo:
        return run_app(argparse.Namespace(home=str(demo.home.path), operator=OPERATOR, **APP_DEFAULTS))


@asynccontextmanager
async def _demo_with_kit(folder: Path, *, keep: bool) -> AsyncIterator[Demo]:
    """The demo, with the kit for its seventh machine in the console's folder some seconds later."""
    async with running_demo(folder, _tell, keep=keep) as demo:
        bare = demo.plant.nodes[-1]
        making = asyncio.ensure_future(kit_made(folder, demo.home.path))
        _tell(how_to(folder, demo.home.path, bare["bindings"]))
        try:
            yield demo
        finally:
            making.cancel()
            with contextlib.suppress(asyncio.CancelledError, ActFailed):
                await making


@contextmanager
def _leaving_on_signals() -> Iterator[None]:
    """Until the app has set its own, SIGTERM and SIGHUP leave as ctrl-c does."""

    def leave(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

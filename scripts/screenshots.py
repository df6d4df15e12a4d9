"""Makes every picture in screenshots/: the app over a running plant, walked with keys. `make screenshots`.

One plant serves all pictures; what happens to it (a good bundle, a bad one, a PLC that dies) is real.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parents[1]
os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
os.environ.pop("NO_COLOR", None)

from rich.console import Console  # noqa: E402
from rich.text import Text  # noqa: E402
from textual.pilot import Pilot  # noqa: E402  (Textual reads the environment when it is imported)

from console.demo.plan import BAD_NODE, BARE, DEGRADING_NODE, GOOD_NODE  # noqa: E402
from console.demo.provision import OPERATOR  # noqa: E402
from console.demo.running import Demo, running_demo  # noqa: E402
from console.demo.seventh import command, kit_made  # noqa: E402
from console.fleet.view import LinkState  # noqa: E402
from console.seat.live import LiveOperations  # noqa: E402
from console.seat.opening import Opened  # noqa: E402
from console.seat.seat import Seat  # noqa: E402
from console.terminal.terminal import detect  # noqa: E402
from console.times import SystemClock  # noqa: E402
from widgets.picture import aligned  # noqa: E402

OUT = ROOT / "screenshots"
SIZES = {"80x24": (80, 24), "140x40": (140, 40)}
PLC = "plc-01"
SEEN_S = 60.0
DRAWN_S = 1.2
LIVED_S = 60.0  # so that trends have something to show

Walk = Callable[[Pilot[object], Callable[[str], Awaitable[None]]], Awaitable[None]]


def picture(seat: Seat, name: str) -> None:
    """Writes screenshots/NAME.svg, and NAME.png from it."""
    write_picture(seat.export_screenshot(title="outstation"), name)


def write_picture(svg: str, name: str) -> None:
    """SVG and PNG. Where the tree lies on this machine is nobody's business."""
    drawing = OUT / f"{name}.svg"
    here = str(ROOT)
    drawing.write_text(aligned(svg.replace(here, "/srv/plant".ljust(len(here), "-")[: len(here)])))
    subprocess.run(["rsvg-convert", "--zoom", "1.0", "-o", OUT / f"{name}.png", drawing], check=True)
    print(f"screenshots/{name}.png and .svg", flush=True)


def picture_of_text(lines: list[str], name: str, title: str) -> None:
    """The same of what the command line said: `lines`, the first one as it was given."""
    console = Console(width=100, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {lines[0]}", style="bold"))
    for line in lines[1:]:
        console.print(Text(line, style="red" if line.endswith("nothing was changed") else ""))
    console.print()  # the picture ends in the middle of its last line's descenders
    write_picture(console.export_svg(title=title), name)


async def until(pilot: Pilot[object], seen: str) -> None:
    """Waits until the text is on the screen. Raises TimeoutError."""
    seat = pilot.app
    assert isinstance(seat, Seat)
    try:
        async with asyncio.timeout(SEEN_S):
            while seen not in seat.screen_text():
                await pilot.pause(0.2)
    except TimeoutError:
        print(seat.screen_text(), file=sys.stderr)
        raise


async def press(pilot: Pilot[object], *keys: str) -> None:
    """Types keys as a person would, one after the other."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause(0.1)
    await pilot.pause(DRAWN_S)


async def type_text(pilot: Pilot[object], text: str) -> None:
    await press(pilot, *("minus" if letter == "-" else letter for letter in text))


async def to_node(pilot: Pilot[object], node: str) -> None:
    """From the fleet to one node's screen, by the filter."""
    await press(pilot, "1", "escape", "escape", "slash")
    await type_text(pilot, node)
    await press(pilot, "enter", "enter")
    await until(pilot, "Overview")


@contextlib.asynccontextmanager
async def seated(demo: Demo, size: tuple[int, int], **options: object):  # type: ignore[no-untyped-def]
    """The app over the demo's fleet, without a terminal."""
    environ = {"TERM": "xterm-256color", "COLORTERM": "truecolor"} | ({"NO_COLOR": "1"} if options.get("mono") else {})
    operations = LiveOperations(demo.fleet, demo.home.catalog, operator=OPERATOR)
    seat = Seat(
        Opened(demo.fleet, operations),
        operator=OPERATOR,
        terminal=detect(environ, "ascii" if options.get("ascii") else "utf-8", link="lan"),
        clock=SystemClock(),
        clip_file=demo.home.path / "clip.txt",
    )
    try:
        async with seat.run_test(size=size) as pilot:
            await pilot.pause(DRAWN_S)
            yield pilot, (lambda name: picture(seat, name))
    finally:
        operations.close()


async def quiet_screens(demo: Demo, label: str, size: tuple[int, int]) -> None:
    """What a person sees on a day when nothing is done."""
    async with seated(demo, size) as (pilot, take):
        await until(pilot, "pump 1.0 r1")
        take(f"fleet-{label}")
        await to_node(pilot, GOOD_NODE)
        await pilot.pause(DRAWN_S)
        take(f"node-overview-{label}")
        await press(pilot, "enter", "plus", "plus", "plus")
        take(f"chart-{label}")
        await press(pilot, "H")
        take(f"chart-latencies-{label}")
        await press(pilot, "escape", "tab")
        take(f"node-pipeline-{label}")
        await press(pilot, "tab")
        take(f"node-records-{label}")
        await press(pilot, "tab")
        take(f"node-logs-{label}")
        await press(pilot, "tab")
        take(f"node-deployments-{label}")
        await press(pilot, "2")
        take(f"alerts-{label}")
        await press(pilot, "5")
        take(f"logs-{label}")
        await press(pilot, "1", "question_mark")
        take(f"help-{label}")
        await press(pilot, "escape", "ctrl+p")
        take(f"palette-{label}")


async def other_looks(demo: Demo) -> None:
    """The fleet without colour, and in ASCII."""
    for name, options in (("mono", {"mono": True}), ("ascii", {"ascii": True, "mono": True})):
        async with seated(demo, SIZES["80x24"], **options) as (pilot, take):
            await until(pilot, "pump 1.0 r1")
            take(f"fleet-{name}-80x24")


async def deploy(
    demo: Demo, label: str, size: tuple[int, int], node: str, version: str, name: str, *, confirmed: bool
) -> None:
    """The deploy flow, each step a picture; a gate that stops it is gone past; then what became of the trial."""
    async with seated(demo, size) as (pilot, take):
        await to_node(pilot, node)
        await press(pilot, "o")
        await until(pilot, "OPERATE")
        await press(pilot, "d")
        await until(pilot, f"pump {version}")
        rows = [line for line in text_of(pilot).splitlines() if line.startswith((" pump ", " bearing ", " casting "))]
        await press(pilot, *(["down"] * next(at for at, row in enumerate(rows) if f"pump {version}" in row)))
        take(f"{name}-1-bundle-{label}")
        await press(pilot, "enter")
        await until(pilot, "does it fit")
        await pilot.pause(DRAWN_S)
        take(f"{name}-2-passport-{label}")
        await press(pilot, "enter")
        take(f"{name}-3-summary-{label}")
        await type_text(pilot, node)
        await press(pilot, "enter")
        if not confirmed:
            await until(pilot, "recorder gate: failed")
            take(f"{name}-3-verdict-{label}")
            await press(pilot, "P")
            await type_text(pilot, node)
            await press(pilot, "enter")
        await until(pilot, "TRIAL ")
        await pilot.pause(DRAWN_S)
        take(f"{name}-4-trial-{label}")
        if confirmed:
            await press(pilot, "C", "enter")
        await until(pilot, "nothing is on trial")
        await pilot.pause(DRAWN_S)
        take(f"{name}-5-ended-{label}")
        await to_node(pilot, node)
        await press(pilot, "shift+tab", "shift+tab", "shift+tab")
        await pilot.pause(DRAWN_S)
        take(f"{name}-6-history-{label}")
        if confirmed:
            await press(pilot, "c")
            await until(pilot, "cold-start")
            take(f"checks-{label}")


async def choose_row(pilot: Pilot[object], title: str) -> None:
    """Moves the cursor to the row that begins with `title`."""
    rows = [line for line in text_of(pilot).splitlines() if line.startswith((" pump ", " bearing ", " casting "))]
    await press(pilot, *(["down"] * next(at for at, row in enumerate(rows) if row.startswith(f" {title}"))), "enter")


async def both_sizes(pilot: Pilot[object], take: Callable[[str], None], name: str) -> None:
    """The same moment at every size."""
    for label, size in SIZES.items():
        await pilot.resize_terminal(*size)
        await pilot.pause(DRAWN_S)
        take(f"{name}-{label}")
    await pilot.resize_terminal(*SIZES["80x24"])
    await pilot.pause(DRAWN_S)


async def plan_rollout(pilot: Pilot[object], version: str) -> str:
    """Marks the pumps, plans a rollout with the quick policy; the end of its id."""
    await press(pilot, "1", "escape", "escape", "U")
    for node in (GOOD_NODE, DEGRADING_NODE, BAD_NODE):
        await press(pilot, "slash")
        await type_text(pilot, node)
        await press(pilot, "enter", "space", "escape")
    await press(pilot, "D")
    await until(pilot, f"pump {version}")
    await choose_row(pilot, f"pump {version}")
    await until(pilot, "canary, then all, quick")
    await press(pilot, "down", "enter")
    await until(pilot, f"pump-{version}-")
    line = next(line for line in text_of(pilot).splitlines() if f"pump-{version}-" in line)
    return next(word for word in line.split() if word.startswith(f"pump-{version}-")).rpartition("-")[2]


async def order(pilot: Pilot[object], key: str, typed: str) -> None:
    await press(pilot, key)
    await type_text(pilot, typed)
    await press(pilot, "enter")


async def rollouts(demo: Demo) -> None:
    """A plan as it is read, a rollout with its canary on trial, and one that a node's own records stopped."""
    async with seated(demo, SIZES["80x24"]) as (pilot, take):
        await until(pilot, "pump 1.0 r1")
        await press(pilot, "o")
        await until(pilot, "OPERATE")
        mark = await plan_rollout(pilot, "2.0")
        await until(pilot, "planned")
        await both_sizes(pilot, take, "rollouts-plan")
        await order(pilot, "c", mark)
        await until(pilot, "on trial for")
        await both_sizes(pilot, take, "rollouts-running")
        await order(pilot, "V", mark)
        await until(pilot, "aborted")
        mark = await plan_rollout(pilot, "2.1")
        await order(pilot, "c", mark)
        await until(pilot, "on its own records")
        await both_sizes(pilot, take, "rollouts-stopped")


async def wizard(demo: Demo) -> None:
    """What a node's own records say to a bad bundle, before anything on the line is switched."""
    async with seated(demo, SIZES["80x24"]) as (pilot, take):
        await until(pilot, "pump 1.0 r1")
        await press(pilot, "o")
        await until(pilot, "OPERATE")
        await press(pilot, "slash")
        await type_text(pilot, DEGRADING_NODE)
        await press(pilot, "enter", "d")
        await until(pilot, "pump 2.1")
        await choose_row(pilot, "pump 2.1")
        await until(pilot, "trial window")
        await both_sizes(pilot, take, "deploy-passport")
        await press(pilot, "enter")
        await type_text(pilot, DEGRADING_NODE)
        await press(pilot, "enter")
        await until(pilot, "recorder gate: failed")
        await both_sizes(pilot, take, "deploy-verdict")


async def faults(demo: Demo, label: str, size: tuple[int, int]) -> None:
    """A worn pump, a PLC that is gone, and what the alerts say."""
    await demo.plant.command(do="stop-device", device=PLC)
    try:
        async with seated(demo, size) as (pilot, take):
            await press(pilot, "2")
            await until(pilot, "source plc")
            await until(pilot, "raises an alarm")
            take(f"alerts-fault-{label}")
            await press(pilot, "1")
            take(f"fleet-fault-{label}")
            await to_node(pilot, DEGRADING_NODE)
            take(f"node-fault-{label}")
            await to_node(pilot, GOOD_NODE)
            await press(pilot, "tab")
            take(f"node-pipeline-fault-{label}")
    finally:
        await demo.plant.command(do="start-device", device=PLC)


async def checked(demo: Demo) -> None:
    """What a node finds when it looks at itself while its PLC is gone."""
    await demo.plant.command(do="stop-device", device=PLC)
    try:
        async with seated(demo, SIZES["80x24"]) as (pilot, take):
            await press(pilot, "2")
            await until(pilot, "source plc")
            await to_node(pilot, GOOD_NODE)
            await press(pilot, "c")
            await until(pilot, "c asks again")
            await both_sizes(pilot, take, "checks-fault")
            await press(pilot, "A")
            await until(pilot, "rules in force")
            await both_sizes(pilot, take, "node-rules")
    finally:
        await demo.plant.command(do="start-device", device=PLC)


async def console_lines(*words: str) -> list[str]:
    """What the command line says, one list item a line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "--operator", OPERATOR, *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    out, _ = await process.communicate()
    return out.decode().splitlines()


async def bootstrapped(demo: Demo) -> None:
    """The machine without an agent: why it would not take one, how it gets one, and what the fleet then shows."""
    folder = demo.plant.folder
    kit = await kit_made(folder, demo.home.path)
    words = [*command(folder, demo.home.path), "--kit", str(kit)]
    shown = f"outstation node bootstrap {BARE.name} --kit agent.ostk --allow-signer release_signers"

    def short(line: str) -> str:
        return re.sub(r"started by .*", "started by init", line.replace(f"{folder}/n/7", "/home/operator"))

    state = str(folder / "n" / "7" / ("deep/" * 12) / "state")
    refused = await console_lines(*words, "--start", "systemd-user", "--state", state)
    picture_of_text([f"{shown} --start systemd-user ...", *map(short, refused)], "bootstrap-refused", "outstation")
    async with seated(demo, SIZES["80x24"]) as (pilot, take):
        await until(pilot, "no agent")
        await to_node(pilot, BARE.name)
        take("bootstrap-before-80x24")
    done = [short(line) for line in await console_lines(*words, "--yes")]
    copied = [at for at, line in enumerate(done) if line.startswith("copy")]
    picture_of_text([shown, *done[: copied[len(copied) // 2] + 1]], "bootstrap-running", "outstation")
    picture_of_text([shown, *done], "bootstrap-done", "outstation")
    async with seated(demo, SIZES["80x24"]) as (pilot, take):
        await to_node(pilot, BARE.name)
        await until(pilot, "nothing installed")
        await both_sizes(pilot, take, "bootstrap-after")


def text_of(pilot: Pilot[object]) -> str:
    assert isinstance(pilot.app, Seat)
    return pilot.app.screen_text()


async def kept_screens(demo: Demo) -> None:
    """What the console keeps: catalog, records, ledgers; the wall, the alerts that were, and the first hour."""
    async with seated(demo, SIZES["80x24"]) as (pilot, take):
        await until(pilot, "pump 1.0 r1")
        await press(pilot, "w")
        await both_sizes(pilot, take, "fleet-wall")
        await press(pilot, "w", "b")
        await both_sizes(pilot, take, "fleet-groups")
        await press(pilot, "b", "b", "b", "4")
        await until(pilot, "pump 2.0")
        await both_sizes(pilot, take, "catalog")
        await press(pilot, "enter")
        await until(pilot, "signature ")
        await both_sizes(pilot, take, "catalog-bundle")
        await press(pilot, "escape", "6")
        await until(pilot, "records of")
        await both_sizes(pilot, take, "records")
        await press(pilot, "7")
        for name in [name for name, view in demo.fleet.views().items() if view.link is LinkState.UP]:
            await cast(Seat, pilot.app).operations.verify(name)
        await until(pilot, "·OK ")
        await pilot.pause(6 * DRAWN_S)
        await both_sizes(pilot, take, "ledger")
        await press(pilot, "enter")
        await until(pilot, "one chain, verified")
        await both_sizes(pilot, take, "ledger-node")
        await press(pilot, "2", "H")
        await until(pilot, "Alerts that were: ")
        await both_sizes(pilot, take, "alerts-history")


async def main(only: str = "") -> None:
    """Everything, or only the pictures of `rollouts`, `kept` or `setup`."""
    OUT.mkdir(exist_ok=True)
    folder = ROOT / "build" / f"p{secrets.token_hex(2)}"
    try:
        async with running_demo(folder, lambda text: print(text, file=sys.stderr)) as demo:
            watching = asyncio.ensure_future(demo.fleet.run())
            try:
                if only == "kept":
                    await kept_screens(demo)
                    return
                if only == "rollouts":
                    await wizard(demo)
                    await rollouts(demo)
                    return
                if only == "setup":
                    await checked(demo)
                    await bootstrapped(demo)
                    return
                await asyncio.sleep(LIVED_S)
                for label, size in SIZES.items():
                    await quiet_screens(demo, label, size)
                await kept_screens(demo)
                await other_looks(demo)
                await wizard(demo)
                await rollouts(demo)
                await deploy(demo, "80x24", SIZES["80x24"], GOOD_NODE, "2.0", "deploy", confirmed=True)
                await deploy(demo, "140x40", SIZES["140x40"], BAD_NODE, "2.1", "bad-bundle", confirmed=False)
                for label, size in SIZES.items():
                    await faults(demo, label, size)
                await checked(demo)
                await bootstrapped(demo)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:2]))

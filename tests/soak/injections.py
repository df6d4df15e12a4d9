"""The faults. Each is done to one node, waits for what has to be seen meanwhile, and takes itself back.

A fault returns what was seen, and what should have been and was not. `within_s` is the time in which the node predicts
again after the fault has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from console import deploy
from console.demo.provision import GOOD, OPERATOR
from console.demo.scene import FAILURES
from console.view import LinkState
from nodeagent.protocol import DeploymentState
from store.archive import read_archive
from tests.soak.plantsite import ON_SMALL_DISKS, Site

SUPERVISOR, WORKER = "nodeagent.supervisor", "nodeagent.worker"
WINDOW_S = 40.0
SHORT_WINDOW_S = 12.0
CUT_S = 12.0
FROZEN_S = 6.0
SEEN_S = 30.0
CLOCK_STEPS_S = (3_600, -86_400, 10 * 365 * 86_400, -8 * 365 * 86_400, 0)
BAD = "pump/variants/2.1"


class Seen(NamedTuple):
    """What a fault showed."""

    text: str
    wrong: list[str]


class Fault(NamedTuple):
    """One kind of fault, and the nodes that it can be done to (None: any)."""

    name: str
    within_s: float
    act: Callable[[Site, str], Awaitable[Seen]]
    nodes: tuple[str, ...] | None = None


def _kill(*processes: psutil.Process) -> str:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(list(processes), timeout=10)
    return f"{len(processes)} killed"


async def kill_launcher(site: Site, node: str) -> Seen:
    """The service manager starts it again after two seconds; by then nothing of the old one may live."""
    launcher = site.launcher(node)
    everything = [launcher, *launcher.children(recursive=True)]
    launcher.kill()
    _, alive = await asyncio.to_thread(psutil.wait_procs, everything[1:], 10)
    wrong = [f"{' '.join(process.cmdline()[:4])} outlived its launcher" for process in alive]
    await asyncio.sleep(2.0)
    await site.demo.plant.command(do="start-agent", node=node)
    return Seen(f"{len(everything)} processes ended, started again", wrong)


async def kill_supervisor(site: Site, node: str) -> Seen:
    """Workers go on predicting without it."""
    killed = site.members(node, SUPERVISOR)
    _kill(*killed)
    mark = site.newest(node)
    took_s = await site.predicts(node, mark, 10.0)
    seen = f"predicted {took_s:.1f} s after it" if took_s is not None else "no prediction"
    return Seen(seen, [] if killed and took_s is not None else [f"{seen} while the supervisor was gone"])


async def kill_worker(site: Site, node: str) -> Seen:
    return Seen(_kill(*site.members(node, WORKER)), [])


async def freeze_worker(site: Site, node: str) -> Seen:
    """A worker that hangs is found and replaced by another process."""
    frozen = site.members(node, WORKER)
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    gone = await site.until(lambda: not any(process.is_running() for process in frozen), SEEN_S)
    for process in frozen:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)
    if gone is None:
        return Seen("still there", [f"a frozen worker was not replaced within {SEEN_S:g} s"])
    return Seen(f"replaced after {gone:.0f} s", [])


async def kill_sshd(site: Site, node: str) -> Seen:
    """Every connection is reset, and it listens again a second later."""
    await site.demo.plant.command(do="unplug", node=node)
    await asyncio.sleep(1.0)
    await site.demo.plant.command(do="plug", node=node)
    return Seen("listens again", [])


def _not_up(site: Site, nodes: list[str]) -> bool:
    views = site.demo.fleet.views()
    return all(views[node].link is not LinkState.UP for node in nodes)


async def _cut(site: Site, nodes: list[str], off: dict[str, str], on: dict[str, str]) -> Seen:
    marks = {node: site.newest(node) for node in nodes}
    await site.demo.plant.command(**off)
    took_s = await site.until(lambda: _not_up(site, nodes), CUT_S)
    now_s = time.monotonic()
    await asyncio.sleep(max(0.0, CUT_S - (took_s or 0.0)))
    views = site.demo.fleet.views()
    shown = [node for node in nodes if views[node].is_known(time.monotonic()) and time.monotonic() - now_s > CUT_S / 2]
    wrong = [f"I19: {node} is shown as known while it cannot be reached" for node in shown]
    wrong += [f"{node} did not predict while it was cut off" for node in nodes if site.newest(node) <= marks[node]]
    await site.demo.plant.command(**on)
    if took_s is None:
        return Seen("not seen", [*wrong, "I19: the console still shows the link as up"])
    return Seen(f"seen after {took_s:.1f} s, {len(nodes)} predicted meanwhile", wrong)


async def cut_link(site: Site, node: str) -> Seen:
    return await _cut(site, [node], {"do": "unplug", "node": node}, {"do": "plug", "node": node})


async def cut_site(site: Site, _node: str) -> Seen:
    """The jump host, and with it a whole site."""
    behind = [plan.name for plan in site.plans.values() if plan.jump]
    return await _cut(site, behind, {"do": "unplug-jump"}, {"do": "plug-jump"})


def _source_states(site: Site, node: str) -> set[str]:
    telemetry = site.demo.fleet.views()[node].telemetry
    return {source.state for bundle in (telemetry.bundles if telemetry else ()) for source in bundle.sources}


async def _silent(site: Site, node: str) -> Seen:
    took_s = await site.until(lambda: bool(_source_states(site, node) - {"up"}), SEEN_S)
    if took_s is None:
        return Seen("not seen", [f"the source is shown as up {SEEN_S:g} s after its PLC went"])
    return Seen(f"source {' '.join(_source_states(site, node))} after {took_s:.1f} s", [])


async def kill_plc(site: Site, node: str) -> Seen:
    plan = site.plans[node].plc
    assert plan is not None
    await site.demo.plant.command(do="stop-plc", plc=plan.name)
    seen = await _silent(site, node)
    await site.demo.plant.command(do="start-plc", plc=plan.name)
    return seen


async def freeze_plc(site: Site, node: str) -> Seen:
    """It keeps its connection and answers nothing."""
    plc = site.plc(node)
    plc.send_signal(signal.SIGSTOP)
    try:
        seen = await _silent(site, node)
        await asyncio.sleep(FROZEN_S)
        return seen
    finally:
        plc.send_signal(signal.SIGCONT)


async def step_clock(site: Site, _node: str) -> Seen:
    ahead_s = site.random.choice(CLOCK_STEPS_S)
    site.clock.set(ahead_s)
    return Seen(f"every node's wall clock {ahead_s:+d} s of the right one", [])


async def fill_disk(site: Site, node: str) -> Seen:
    """I9: serving goes on, deployments are refused with the reason."""
    disk = site.disks[node]
    taken = await asyncio.to_thread(disk.fill)
    try:
        await asyncio.sleep(3.0)
        status = await site.demo.fleet.client(node).status()
        states = [str(bundle.state) for bundle in status.telemetry.bundles]
        wrong = [] if set(states) == {"serving"} else [f"I9: on a full disk its bundles are {states}"]
        try:
            await _deploy(site, node, site.bundle(site.plans[node].example), WINDOW_S)
            wrong.append("I9: a deployment was taken on a full disk")
            said = "taken"
        except FAILURES as error:
            said = str(error)
            if "disk" not in said.lower() and "space" not in said.lower() and "free" not in said.lower():
                wrong.append(f"I9: refused without the reason: {said}")
        return Seen(f"{taken >> 20} MB taken; serving; {said}", wrong)
    finally:
        await asyncio.to_thread(disk.free)


async def _deploy(site: Site, node: str, path: Path, window_s: float) -> str:
    with read_archive(path) as found:
        async with site.demo.fleet.operate() as lane:
            trial = await deploy.deploy(
                lane, node, found, window_s=window_s, operator=OPERATOR, on_progress=lambda _: None, break_lease=True
            )
    return trial.id


async def good_deployment(site: Site, node: str) -> Seen:
    """A new version, tried, and confirmed by a new login."""
    try:
        id_ = await _deploy(site, node, await asyncio.to_thread(site.bundle, GOOD), WINDOW_S)
        await asyncio.sleep(2.0)
        async with site.demo.fleet.operate() as lane:
            done = await deploy.confirm(lane, node, id_, operator=OPERATOR, break_lease=True)
    except FAILURES as error:
        return Seen("failed", [f"a good bundle was not committed: {error}"])
    site.memories[node].told.append({"id": id_, "state": str(done.state)})
    wrong = [] if done.state is DeploymentState.COMMITTED else [f"a confirmed bundle is {done.state}"]
    return Seen(f"{done.version} r{done.revision} {done.state}", wrong)


async def bad_deployment(site: Site, node: str) -> Seen:
    """A bundle that cannot predict goes back by itself, before its window has passed."""
    try:
        id_ = await _deploy(site, node, await asyncio.to_thread(site.bundle, BAD), WINDOW_S)
        client = site.demo.fleet.client(node)
        for _ in range(int(WINDOW_S) + 2):
            if (row := await client.deployment(id_)).state is not DeploymentState.TRIAL:
                break
            await asyncio.sleep(1.0)
    except FAILURES as error:
        return Seen("refused", [f"the bad bundle did not come to its trial: {error}"])
    site.memories[node].told.append({"id": id_, "state": str(row.state)})
    why = row.error.message if row.error else ""
    wrong = [] if row.state is DeploymentState.ROLLED_BACK else [f"the bad bundle is {row.state}"]
    return Seen(f"{row.state} {row.reason}: {why}"[:160], wrong)


async def kill_console(site: Site, node: str) -> Seen:
    """A console is killed somewhere in a deployment; nobody confirms, and the node is back within its window."""
    path = await asyncio.to_thread(site.bundle, GOOD)
    command = ["--home", str(site.demo.home.path), "--operator", OPERATOR, "deploy", str(path), node]
    command += ["--confirm-within", f"{SHORT_WINDOW_S:.0f}s", "--break-lease", "--yes"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", *command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name not in site.clock.environment},
    )
    after_s = site.random.uniform(1.0, 6.0)
    try:
        async with asyncio.timeout(after_s):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    try:
        newest = (await site.demo.fleet.client(node).deployments()).deployments[0]
    except FAILURES as error:
        return Seen("unreachable", [f"the node does not answer after a console was killed: {error}"])
    if newest.state is DeploymentState.TRIAL:
        await asyncio.sleep(SHORT_WINDOW_S + 3.0)
    row = await site.demo.fleet.client(node).deployment(newest.id)
    wrong = ["I3: the trial that nobody confirmed stands"] if row.state is DeploymentState.TRIAL else []
    return Seen(f"killed after {after_s:.1f} s in {newest.state}, then {row.state}", wrong)


PUMPS = ("pump-01", "pump-02", "pump-03", "pump-04")
FAULTS = (
    Fault("kill launcher", 40.0, kill_launcher),
    Fault("kill supervisor", 20.0, kill_supervisor),
    Fault("kill worker", 20.0, kill_worker),
    Fault("freeze worker", 25.0, freeze_worker),
    Fault("kill sshd", 15.0, kill_sshd),
    Fault("cut link", 15.0, cut_link),
    Fault("cut site", 15.0, cut_site),
    Fault("kill PLC", 40.0, kill_plc, PUMPS),
    Fault("freeze PLC", 40.0, freeze_plc, PUMPS),
    Fault("fill disk", 30.0, fill_disk, ON_SMALL_DISKS),
    Fault("step clock", 15.0, step_clock),
    Fault("bad bundle", 25.0, bad_deployment, PUMPS),
    Fault("good deployment", 25.0, good_deployment, PUMPS),
    Fault("kill console", 25.0, kill_console, PUMPS),
)

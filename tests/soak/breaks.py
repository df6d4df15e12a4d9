"""Processes that are killed or hang, links that are cut or fall silent, PLCs that go, clocks that step."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time

import psutil

from console.fleet.view import LinkState
from tests.soak.fault import Seen
from tests.soak.plantsite import Site

SUPERVISOR, WORKER = "nodeagent.supervisor", "nodeagent.worker"
CUT_S = 12.0
FROZEN_S = 6.0
SEEN_S = 30.0
CLOCK_STEPS_S = (3_600, -86_400, 10 * 365 * 86_400, -8 * 365 * 86_400, 0)


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
    return await _freeze(site, node, WORKER)


async def freeze_supervisor(site: Site, node: str) -> Seen:
    return await _freeze(site, node, SUPERVISOR)


async def _freeze(site: Site, node: str, module: str) -> Seen:
    """What hangs is found, and another process takes its place."""
    frozen = site.members(node, module)
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    gone = await site.until(lambda: not any(process.is_running() for process in frozen), SEEN_S)
    for process in frozen:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)
    if gone is None:
        return Seen("still there", [f"what hangs was not replaced within {SEEN_S:g} s"])
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


async def silence_links(site: Site, _node: str) -> Seen:
    """Every link stands and nothing comes over it any more: no reset tells the console of it, and nobody is known."""
    servers, views = psutil.Process(site.host), site.demo.fleet.views
    servers.suspend()
    try:
        took_s = await site.until(lambda: not any(view.is_known(time.monotonic()) for view in views().values()), SEEN_S)
    finally:
        servers.resume()
    if took_s is None:
        shown = [name for name, view in views().items() if view.is_known(time.monotonic())]
        return Seen("not seen", [f"I19: {', '.join(shown)} are shown as known after {SEEN_S:g} s without a word"])
    return Seen(f"all unknown after {took_s:.1f} s", [])


def _source_states(site: Site, node: str) -> set[str]:
    telemetry = site.demo.fleet.views()[node].telemetry
    return {source.state for bundle in (telemetry.bundles if telemetry else ()) for source in bundle.sources}


async def _silent(site: Site, node: str) -> Seen:
    took_s = await site.until(lambda: bool(_source_states(site, node) - {"up"}), SEEN_S)
    if took_s is None:
        return Seen("not seen", [f"the source is shown as up {SEEN_S:g} s after its device went"])
    return Seen(f"source {' '.join(_source_states(site, node))} after {took_s:.1f} s", [])


async def kill_device(site: Site, node: str) -> Seen:
    device = site.plans[node].device
    await site.demo.plant.command(do="stop-device", device=device)
    seen = await _silent(site, node)
    await site.demo.plant.command(do="start-device", device=device)
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
    ahead_s = site.random.choice([step for step in CLOCK_STEPS_S if step != site.clock.ahead_s])
    site.clock.set(ahead_s)
    return Seen(f"every node's wall clock {ahead_s:+d} s of the right one", [])

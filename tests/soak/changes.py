"""Deployments, good and bad, onto a full disk, and by a console that is killed in the middle."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from console import deploy
from console.demo.provision import BAD, GOOD, OPERATOR
from console.demo.scene import FAILURES
from nodeagent.protocol import DeploymentState
from store.archive import read_archive
from tests.soak.fault import Seen
from tests.soak.plantsite import Site

WINDOW_S = 40.0
SHORT_WINDOW_S = 12.0


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

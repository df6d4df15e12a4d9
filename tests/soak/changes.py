"""Deployments, good and bad, onto a full disk, and by a console that is killed in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import psutil

from console.delivery import deploy
from console.demo.provision import BAD, GOOD, OPERATOR
from console.demo.scene import FAILURES
from nodeagent.protocol import DeploymentState, WorkerState
from store import db
from store.archive import read_archive
from store.node import deployments
from store.node.deployments import Deployment
from tests.faults.invariants import RANK
from tests.soak.breaks import SUPERVISOR, WORKER
from tests.soak.fault import Seen
from tests.soak.plantsite import POLL_S, Site

WINDOW_S = 40.0
SHORT_WINDOW_S = 12.0
FULL_S = 3.0
SERVES_S = 30.0
CONSOLE_S = 90.0  # its recorder gate included, on a busy machine


async def fill_disk(site: Site, node: str) -> Seen:
    """I9: serving goes on and begins again, deployments are refused with the reason."""
    taken = await asyncio.to_thread(site.disks[node].fill)
    try:
        await asyncio.sleep(FULL_S)
        wrong = [] if await _serves(site, node) else ["I9: on a full disk it stopped serving"]
        said = await _refused(site, node)
        wrong += [] if any(word in said.lower() for word in ("disk", "space", "free")) else [f"I9: deployed: {said}"]
        _kill_both(site, node)
        took_s = await _serves(site, node)
        wrong += [] if took_s else [f"I9: on a full disk it does not serve again within {SERVES_S:g} s of a kill"]
        return Seen(f"{taken >> 20} MB taken; serving; {said}; serving {took_s or 0:.1f} s after a kill", wrong)
    finally:
        await asyncio.to_thread(site.disks[node].free)


def _kill_both(site: Site, node: str) -> None:
    for process in [*site.members(node, SUPERVISOR), *site.members(node, WORKER)]:
        with contextlib.suppress(psutil.Error):
            process.kill()


async def _serves(site: Site, node: str) -> float | None:
    """Seconds until every bundle of the node serves; None: not within SERVES_S."""
    began_s = time.monotonic()
    while time.monotonic() < began_s + SERVES_S:
        with contextlib.suppress(*FAILURES):
            bundles = (await site.demo.fleet.client(node).status()).telemetry.bundles
            if bundles and all(bundle.state is WorkerState.SERVING for bundle in bundles):
                return time.monotonic() - began_s
        await asyncio.sleep(POLL_S)
    return None


async def _refused(site: Site, node: str) -> str:
    """What the node says to a deployment; "taken" where it says nothing."""
    try:
        await _deploy(site, node, await asyncio.to_thread(site.bundle, site.plans[node].example), WINDOW_S)
    except FAILURES as error:
        return str(error)
    return "taken"


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
    goal, before = site.random.choice(("STAGED", "PREFLIGHT_OK", "TRIAL")), _newest(site, node)
    command = ["--home", str(site.demo.home.path), "--operator", OPERATOR, "deploy", str(path), node]
    command += ["--confirm-within", f"{SHORT_WINDOW_S:.0f}s", "--break-lease", "--yes"]
    with (site.demo.plant.folder / "console.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", *command), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        reached_s = await site.until(
            lambda: (now := _newest(site, node)).id != before.id and RANK[now.state] >= RANK[goal], CONSOLE_S
        )
    finally:
        process.kill()
        await process.wait()
    if reached_s is None:
        return Seen("no deployment", [f"a deployment did not come to {goal} within {CONSOLE_S:g} s"])
    row = _newest(site, node)
    began, id_ = row.state, row.id
    if began == "TRIAL":
        await asyncio.sleep(SHORT_WINDOW_S + 3.0)
    row = _newest(site, node)
    wrong = [] if (row.id, row.state) != (id_, "TRIAL") else ["I3: the trial that nobody confirmed stands"]
    return Seen(f"killed after {reached_s:.1f} s in {began}, then {row.state} {row.reason or ''}".strip(), wrong)


def _newest(site: Site, node: str) -> Deployment:
    """The node's newest deployment, from its own file."""
    with contextlib.closing(db.open_reader(site.states[node] / "node.db", deadline_s=5.0)) as connection:
        return deployments.newest(connection, limit=1)[0]

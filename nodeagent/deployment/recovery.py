"""What a starting agent owes: first the rows of unfinished deployments, then the plant. Twice is as once (I6)."""

from __future__ import annotations

import asyncio
import dataclasses

from nodeagent.deployment import deployment
from nodeagent.deployment.deployer import Deployer
from nodeagent.deployment.deployment import Event
from nodeagent.deployment.rows import trial_facts
from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.deployment.transitions import NO_DETAILS
from nodeagent.health.alerts import Condition
from nodeagent.parts import AGENT, Parts
from nodeagent.protocol import DeploymentState
from nodeagent.runtime.runtime import Refused
from nodeagent.state.database import NotWritable
from store.node import deployments, revisions
from store.node.deployments import Deployment

_ON_BLOBS = (DeploymentState.STAGED, DeploymentState.PREFLIGHT_OK, DeploymentState.TRIAL)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a bundle should serve: the revision and, where that is damaged, what to serve instead, best first."""

    bundle: str
    revision: int | None
    trial: bool
    previous: int | None
    instead: tuple[int, ...]


async def settle(parts: Parts, deployer: Deployer) -> list[Deployment]:
    """Brings every unfinished row to where it belongs. Returns the trials that went back."""
    went_back: list[Deployment] = []
    for row in await parts.database.read(deployments.open_ones):
        intact = row.state not in _ON_BLOBS or await parts.activations.intact(row.digest, row.signature)
        event = deployment.recover(
            DeploymentState(row.state),
            trial_facts(row),
            intact=intact,
            boot_id=parts.clock.boot_id(),
            now_us=parts.clock.boottime_us(),
        )
        if event is not None and (moved := await _apply(parts, deployer, row, event)) is not None:
            went_back.append(moved)
    return went_back


async def wanted(parts: Parts) -> list[Wanted]:
    """What each bundle should serve by the rows. A trial that is due and could not be written counts as gone back."""
    trial = await parts.database.read(deployments.trial)
    found: list[Wanted] = []
    for active in await parts.database.read(revisions.all_active):
        revision, on_trial = active.revision, False
        if trial is not None and trial.bundle == active.bundle:
            stamp = parts.standing.stamp(AGENT)
            on_trial = not deployments.is_due(trial, stamp)
            revision = trial.revision if on_trial else trial.previous_revision
        instead = tuple(
            dict.fromkeys(number for number in (active.good, active.previous) if number not in (None, revision))
        )
        found.append(Wanted(active.bundle, revision, on_trial, active.previous, _numbers(instead)))
    return found


async def serve(parts: Parts, deployer: Deployer) -> None:
    """Starts what should serve, or adopts what does. One bundle's trouble is not another's."""
    async with parts.switcher.lock, asyncio.TaskGroup() as group:
        for item in await wanted(parts):
            group.create_task(_serve(parts, deployer, item))


async def _apply(parts: Parts, deployer: Deployer, row: Deployment, event: Event) -> Deployment | None:
    """One row's transition. Returns a row that went back."""
    try:
        async with parts.rows.lock:
            row, transition = await parts.rows.apply(row.id, event, AGENT, NO_DETAILS)
    except NotWritable as error:
        parts.log("error", "recovery", f"{row.id}: {event} cannot be written: {error}")
        if row.state == DeploymentState.TRIAL:
            deployer.trial.begin_watch(row, flip_us=None)
        return None
    parts.log("info", "recovery", f"{row.bundle} {row.version}: {event}, now {row.state}")
    if transition.state is DeploymentState.TRIAL:
        deployer.trial.begin_watch(row, flip_us=None)
        async with parts.switcher.lock:
            await parts.switcher.arm(row)
    elif transition.state is DeploymentState.ROLLED_BACK:
        parts.runtimes.disarm(row.bundle)
        return row
    return None


async def _serve(parts: Parts, deployer: Deployer, item: Wanted) -> None:
    for number in (item.revision, *item.instead):
        row = await parts.switcher.revision(item.bundle, number)
        if row is not None and not await parts.activations.intact(row.digest, row.signature):
            await deployer.trial.on_alert(_damaged(item.bundle, number))
            continue
        try:
            await parts.switcher.ensure(item.bundle, number, trial=item.trial, previous=item.previous)
            return
        except Refused as error:
            parts.log("error", "recovery", f"{item.bundle} r{number}: {error.message}")
            return
        except UNUSABLE as error:
            parts.log("error", "recovery", f"{item.bundle} r{number}: {error}")
    await parts.runtimes.stop(item.bundle, safe=True)


def _damaged(bundle: str, number: int | None) -> Condition:
    return Condition(
        code="BLOB.DAMAGED",
        subject=bundle,
        priority=1,
        message=f"a blob of {bundle} r{number} is not what it was on the disk; an earlier revision serves",
        advice="Check the disk, then deploy the bundle again.",
        latched=True,
    )


def _numbers(found: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(number for number in found if number is not None)

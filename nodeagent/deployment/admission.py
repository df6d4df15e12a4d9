"""What refuses a deployment before it begins, and the errors that several of its steps share."""

from __future__ import annotations

from nodeagent.deployment.transitions import Fence
from nodeagent.health.host import disk
from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.protocol import TRIAL_WINDOW_S_MAX, TRIAL_WINDOW_S_MIN
from store.node import deployments
from store.node.deployments import Deployment


def check_window(window_s: float) -> None:
    """Raises REQUEST.MALFORMED for a trial that is too short or too long."""
    if not TRIAL_WINDOW_S_MIN <= window_s <= TRIAL_WINDOW_S_MAX:
        text = f"a trial is {TRIAL_WINDOW_S_MIN} to {TRIAL_WINDOW_S_MAX} s long"
        raise HttpError("REQUEST.MALFORMED", text)


def admit(parts: Parts) -> None:
    """Raises what refuses every new deployment: out of service, a disk that is nearly full."""
    if (out := parts.standing.out_of_service) is not None:
        text = f"out of service by {out.by}: {out.reason}"
        raise HttpError("DEPLOYMENT.OUT_OF_SERVICE", text, f"Ask {out.by}, or lift it by name and reason.")
    _, free = disk(parts.state)
    least = parts.settings.disk.bytes_free_min
    if free is not None and free < least:
        text = f"{free / 1e6:.0f} MB free, {least / 1e6:.0f} MB are needed"
        raise HttpError("DEPLOYMENT.DISK_FULL", text, "Free space, or lower [records] bytes_max in node.toml.")


async def check_fence(parts: Parts, actor: str, fence: Fence) -> None:
    """Raises Fenced early; the transaction that changes something asks again."""
    stamp = parts.standing.stamp(actor)
    await parts.database.read(lambda connection: fence(connection, stamp))


async def one_trial(parts: Parts, row: Deployment | None) -> None:
    """Raises DEPLOYMENT.TRIAL_RUNNING where another deployment than `row` is in its trial."""
    other = await parts.database.read(deployments.trial)
    if other is not None and (row is None or other.id != row.id):
        raise trial_running(other)


def trial_running(row: Deployment) -> HttpError:
    text = f"{row.bundle} {row.version} is in its trial ({row.id})"
    return HttpError("DEPLOYMENT.TRIAL_RUNNING", text, "Confirm it or roll it back first.")


def already_back(row: Deployment) -> HttpError:
    text = f"{row.bundle} {row.version} went back: {row.reason or 'its time is over'}"
    return HttpError("DEPLOYMENT.ALREADY_ROLLED_BACK", text, "Look at its history, then deploy again.")


def wrong_state(row: Deployment, verb: str) -> HttpError:
    return HttpError("DEPLOYMENT.STATE", f"{row.id} is {row.state}, which does not allow {verb}")

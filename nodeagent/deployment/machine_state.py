"""The switch waits for the machine: a bundle's `[deploy] when` must be true of a tag of the revision that runs.

The tag is read where the active worker reads it. One that does not arrive, or is not Good, is not known, and what is
not known lets no switch through. Going back, holding and changed bindings wait for no machine.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from nodeagent.http.message import HttpError
from nodeagent.parts import Parts
from nodeagent.pipeline.condition import Condition
from nodeagent.pipeline.deploy import switch_when
from nodeagent.protocol import Quality, Tap
from nodeagent.runtime.runtime import Refused, Runtimes
from store.blobs import Blobs
from store.node import revisions
from store.node.deployments import Deployment

# Shorter than a lease lasts, which nobody renews meanwhile; the console asks again.
WAIT_S = 30.0
SOURCE = "source "
PIPELINE_BYTES_MAX = 256 << 10


async def admit(parts: Parts, blobs: Blobs, row: Deployment) -> None:
    """Returns once the machine is as the bundle asks. Raises DEPLOYMENT.MACHINE_STATE after WAIT_S; nothing changed."""
    _, facts = await parts.activations.facts(row.digest)
    active = await parts.database.read(revisions.active, row.bundle)
    if facts.pipeline_digest is None or active is None or active.revision is None:
        return
    path: Path = blobs.path(facts.pipeline_digest)
    text = (await asyncio.to_thread(path.read_bytes))[:PIPELINE_BYTES_MAX].decode("utf-8", "replace")
    when = switch_when(text)
    if when is not None:
        await wait(parts.runtimes, row.bundle, when)


async def wait(runtimes: Runtimes, bundle: str, when: Condition, *, wait_s: float = WAIT_S) -> None:
    """As `admit`, for a known condition."""
    seen = "no sweep came"
    try:
        async with asyncio.timeout(wait_s), contextlib.aclosing(runtimes.tap(bundle)) as taps:  # type: ignore[type-var]
            async for tap in taps:
                if not tap.stage.startswith(SOURCE):
                    continue
                if when.tag not in tap.names:
                    seen = f"not among what arrives: {', '.join(tap.names[:8])}"
                    break
                value, seen = look(tap, when.tag)
                if value is not None and when.holds(value):
                    return
    except TimeoutError:
        pass
    except Refused as error:
        seen = error.message
    text = f"the bundle is switched when {when}; {when.tag}: {seen}"
    raise HttpError("DEPLOYMENT.MACHINE_STATE", text, "Wait until the machine is there, then activate again.")


def look(tap: Tap, tag: str) -> tuple[float | None, str]:
    """A tag's value where it is known, and what a person is told of it."""
    at = tap.names.index(tag)
    value, quality = tap.values[at], tap.quality[at]
    if value is None or quality != Quality.GOOD:
        why = next((told for told in tap.reasons if told.startswith(f"{tag}: ")), f"{tag}: not good")
        return None, f"not known, {why}"
    return value, f"is {value:g}"

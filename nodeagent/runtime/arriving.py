"""What arrives on the node now: the newest sweeps of what runs, each tag with its unit, looked at for a moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from nodeagent.deployment.arriving import Seen
from nodeagent.protocol import BundleTelemetry, Quality, Tap, WorkerState
from nodeagent.runtime.runtime import Refused, Runtimes
from store.tags import tags_in

LOOK_S = 1.5
SWEEPS = 2


async def arriving(runtimes: Runtimes, pipeline_of: Callable[[str], Awaitable[str]]) -> dict[str, Seen]:
    """By tag name, over all bundles that serve. Never raises for one of them: what cannot be seen is not there."""
    serving = [bundle for bundle in runtimes.telemetry() if bundle.state is WorkerState.SERVING and bundle.stages]
    found = await asyncio.gather(*(_of(runtimes, bundle, pipeline_of) for bundle in serving))
    return {name: seen for each in found for name, seen in each.items()}


async def _of(
    runtimes: Runtimes, bundle: BundleTelemetry, pipeline_of: Callable[[str], Awaitable[str]]
) -> dict[str, Seen]:
    sweeps: list[Tap] = []
    with contextlib.suppress(TimeoutError, Refused):
        async with asyncio.timeout(LOOK_S), contextlib.aclosing(runtimes.tap(bundle.bundle)) as taps:  # type: ignore[type-var]
            async for tap in taps:
                if tap.stage == bundle.stages[0].name:
                    sweeps.append(tap)
                if len(sweeps) == SWEEPS:
                    break
    if not sweeps:
        return {}
    try:
        units = {tag.name: tag.unit for tag in tags_in((await pipeline_of(bundle.bundle)).encode())}
    except ValueError:
        units = {}
    last, period_s = sweeps[-1], None
    if len(sweeps) == SWEEPS and last.wall_us > sweeps[0].wall_us:
        period_s = (last.wall_us - sweeps[0].wall_us) / 1e6
    return {
        name: Seen(units.get(name, ""), value if quality == Quality.GOOD else None, quality, period_s)
        for name, value, quality in zip(last.names, last.values, last.quality, strict=True)
    }

"""Two bundles may not write one place of a plant: whoever comes second is refused, with the other's name.

Read out of the pipelines' text and the bindings, by the supervisor, which loads no pipeline. A sink that is a dry run
by its own guard writes nothing, and is in nobody's way.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.parts import Parts
from nodeagent.pipeline import references
from nodeagent.spec import Activation
from store.node import revisions
from store.node.deployments import Failure

CODE: Final = "DEPLOYMENT.WRITE_CONFLICT"
HINT: Final = "Bind one of them to another place, or make its guard a dry run; then deploy again."
PIPELINE_BYTES_MAX: Final = 256 << 10
_PORTS: Final = {"tcp": 502, "rtu+tcp": 502, "opc.tcp": 4840}
_PLACES: Final = {"modbus.write": "register", "opcua.write": "node"}


def places(pipeline: str, bindings: Mapping[str, Any]) -> list[str]:
    """Every place that a pipeline writes under these bindings, heartbeats too, one as often as it is named.

    What its sections lack or the bindings do not answer is left out: the pipeline's own check refuses it.
    """
    tables = tomllib.loads(pipeline).get("sink", [])
    return [place for table in tables for place in _of_sink(table, bindings)]


async def conflict(parts: Parts, candidate: Activation) -> Failure | None:
    """What refuses `candidate` beside the bundles that are active now; None where nothing does."""
    mine = await asyncio.to_thread(_of_activation, candidate)
    for active in await parts.database.read(revisions.all_active) if mine else []:
        row = await parts.switcher.revision(active.bundle, active.revision)
        if row is None or active.bundle == candidate.bundle:
            continue
        try:
            theirs = await asyncio.to_thread(_of_activation, await parts.activations.of(row, trial=False))
        except UNUSABLE:  # it does not run either: recovery has reported it
            continue
        if both := sorted(mine & theirs):
            return Failure(CODE, f"{both[0]} is written by the bundle {active.bundle}", HINT)
    return None


def _of_activation(activation: Activation) -> set[str]:
    if not activation.pipeline_path:
        return set()
    text = Path(activation.pipeline_path).read_bytes()[:PIPELINE_BYTES_MAX].decode("utf-8", "replace")
    try:
        return set(places(text, activation.bindings))
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, RecursionError):
        return set()  # no pipeline: the worker says so


def _of_sink(table: Mapping[str, Any], bindings: Mapping[str, Any]) -> Iterator[str]:
    key = _PLACES.get(str(table.get("type")))
    if key is None:
        return
    try:
        options = _bound(table, bindings)
        guard = options.get("guard")
        if not isinstance(guard, Mapping) or guard.get("dry_run", True) is not False:
            return
        device = _device(str(options["url"]))
    except (references.Unbound, KeyError, ValueError):
        return
    unit = f" unit {options.get('unit_id', 1)}" if key == "register" else ""
    for place in (options.get(key), guard.get("heartbeat"), guard.get("state")):
        if isinstance(place, str) and place:
            yield f"{place.strip()} of {device}{unit}"


def _bound(table: Mapping[str, Any], bindings: Mapping[str, Any]) -> dict[str, Any]:
    """The table as `nodeagent.pipeline.config` binds it: a binding that is a table brings its other entries along."""
    options: dict[str, Any] = {}
    brought: dict[str, Any] = {}
    for key, value in table.items():
        resolved = references.resolve(value, bindings)
        if references.whole(value) and isinstance(resolved, Mapping) and key not in ("guard", "security"):
            brought.update(resolved)
            resolved = resolved[key]
        options[key] = resolved
    return options | brought


def _device(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 0)}" if parts.hostname else parts.path

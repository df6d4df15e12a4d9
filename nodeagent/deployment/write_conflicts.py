"""Two bundles may not write one place of a plant: whoever comes second is refused, with the other's name.

Read out of the pipelines' text and the bindings, by the supervisor, which loads no pipeline. A sink that is a dry run
by its own guard writes nothing, and is in nobody's way. Asked by the passport, by every preflight, before a change of
bindings or a revert is kept, and in the moment before each flip. A way back is never asked: the end of a trial, by a
person or by itself, and what a start finds again, go to what ran before whoever writes what.
"""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from nodeagent.deployment.switcher import UNUSABLE
from nodeagent.parts import Parts
from nodeagent.pipeline import references
from nodeagent.spec import Activation
from store.node import revisions
from store.node.deployments import Failure
from store.node.revisions import Revision

CODE: Final = "DEPLOYMENT.WRITE_CONFLICT"
HINT: Final = "Bind one of them to another place, or make its guard a dry run; then try again."
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
    return between(candidate.bundle, mine, await written(parts)) if mine else None


async def written(parts: Parts) -> dict[str, set[str]]:
    """The places of every active bundle, as it runs now."""
    found: dict[str, set[str]] = {}
    for active in await parts.database.read(revisions.all_active):
        row = await parts.switcher.revision(active.bundle, active.revision)
        with contextlib.suppress(*UNUSABLE):  # it does not run either: recovery has reported it
            if row is not None:
                activation = await parts.activations.of(row, trial=False)
                found[active.bundle] = await asyncio.to_thread(_of_activation, activation)
    return found


async def of_change(parts: Parts, users: Iterable[Revision], new: Mapping[str, Any]) -> Failure | None:
    """What refuses new bindings before any of it is kept: `users` are tried under them, one after the other."""
    steps: list[tuple[str, set[str]]] = []
    for row in users:
        with contextlib.suppress(*UNUSABLE):  # its preflight says so
            activation = await parts.activations.of(row, trial=False)
            steps.append((row.bundle, await asyncio.to_thread(_of_activation, activation, new)))
    return one_by_one(await written(parts) if steps else {}, steps)


def one_by_one(now: Mapping[str, set[str]], steps: Iterable[tuple[str, set[str]]]) -> Failure | None:
    """The first bundle of `steps` that would come to a place where another is then: moved already, or not yet."""
    then = dict(now)
    for bundle, mine in steps:
        if (failure := between(bundle, mine, then)) is not None:
            return failure
        then[bundle] = mine
    return None


def between(bundle: str, mine: set[str], others: Mapping[str, set[str]]) -> Failure | None:
    """The refusal of a bundle that would write a place of one of `others`; its own places are no conflict."""
    for other, theirs in sorted(others.items()):
        if other != bundle and (both := sorted(mine & theirs)):
            text = f"{both[0]} is written by the bundle {other}, and {bundle} would write it too"
            return Failure(CODE, text, HINT)
    return None


def read_places(text: str, bindings: Mapping[str, Any]) -> set[str]:
    """As `places`; nothing where the text is no pipeline, which the worker says."""
    try:
        return set(places(text[:PIPELINE_BYTES_MAX], bindings))
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, RecursionError):
        return set()


def _of_activation(activation: Activation, bindings: Mapping[str, Any] | None = None) -> set[str]:
    if not activation.pipeline_path:
        return set()
    with Path(activation.pipeline_path).open("rb") as file:
        text = file.read(PIPELINE_BYTES_MAX).decode("utf-8", "replace")
    return read_places(text, activation.bindings if bindings is None else bindings)


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

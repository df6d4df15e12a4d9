"""The address space of an OPC UA server, from a node down: ids, types, values and qualities."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from nodeagent.sources.opcua_link import LinkLost, OpcuaLink
from nodeagent.sources.opcua_options import Security, split_node
from nodeagent.sources.probe import Found, Pace, ProbeFailed, Wanted

OBJECTS = "i=85"
SERVER = "i=2253"
VISITED_MAX = 200


async def look(wanted: Wanted, pace: Pace) -> AsyncIterator[Found]:
    """Who the server is, then every variable below `at` (Objects where it is empty). Raises ProbeFailed."""
    begin = wanted.at or OBJECTS
    try:
        split_node(begin)
        with tempfile.TemporaryDirectory() as folder:
            link = await OpcuaLink.open(wanted.url, Security(), Path(folder), timeout_s=4.0)
        try:
            await pace.turn()
            facts = await link.facts()
            yield Found(note="the server says: " + ", ".join(f"{key} {word}" for key, word in facts.items() if word))
            yield Found(columns=["node", "name", "type", "value", "status"])
            async for found in _below(link, begin, pace):
                yield found
        finally:
            await link.close()
    except (LinkLost, ValueError) as error:
        raise ProbeFailed(str(error)) from error


async def _below(link: OpcuaLink, begin: str, pace: Pace) -> AsyncIterator[Found]:
    waiting, seen = deque([(begin, "")]), {begin, SERVER}
    for _ in range(VISITED_MAX):
        if not waiting:
            return
        node, path = waiting.popleft()
        await pace.turn()
        children = [child for child in await link.browse(node) if child[0] not in seen]
        seen.update(child for child, _, _ in children)
        variables = [child for child in children if child[2]]
        if variables:
            await pace.turn()
            told = await link.raw([child for child, _, _ in variables])
            for (child, name, _), (kind, value, status) in zip(variables, told, strict=True):
                yield Found(row=[child, f"{path}{name}", kind, value[:60], status])
        waiting.extend((child, f"{path}{name}/") for child, name, is_variable in children if not is_variable)
    yield Found(note=f"more than {VISITED_MAX} folders; say with --at where to begin")

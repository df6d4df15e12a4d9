"""Tags of an EtherNet/IP controller, with their values."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nodeagent.sources.eip_link import EipLink
from nodeagent.sources.eip_options import endpoint
from nodeagent.sources.polled import ItemLinkLost
from nodeagent.sources.probe import Found, Pace, ProbeFailed, Wanted

TIMEOUT_S = 5.0


async def look(wanted: Wanted, pace: Pace) -> AsyncIterator[Found]:
    """The controller's tag list, or the value of the one tag `at`. Raises ProbeFailed."""
    try:
        link = await EipLink.open(endpoint(wanted.url), [wanted.at], timeout_s=TIMEOUT_S)
    except ValueError as error:
        raise ProbeFailed(str(error)) from error
    try:
        await pace.turn()
        facts = await link.facts()
        yield Found(note="the device says: " + (", ".join(f"{key} {word}" for key, word in facts.items()) or "nothing"))
        await pace.turn()
        if wanted.at:
            (answer,) = await link.read()
            yield Found(columns=["tag", "value"])
            yield Found(row=[wanted.at, answer.reason or str(answer.value)])
            return
        tags = await link.tags()
        yield Found(columns=["tag", "type"])
        for name, kind in tags:
            yield Found(row=[name, kind])
    except ItemLinkLost as lost:
        raise ProbeFailed(str(lost)) from lost
    finally:
        link.close()

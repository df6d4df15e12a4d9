"""Bytes of a data block of an S7 controller, as every type that begins there."""

from __future__ import annotations

import math
import struct
from collections.abc import AsyncIterator

from nodeagent.sources.polled import ItemLinkLost
from nodeagent.sources.probe import Found, Pace, ProbeFailed, Wanted, number
from nodeagent.sources.s7_address import Place
from nodeagent.sources.s7_link import S7Link
from nodeagent.sources.s7_options import endpoint

TIMEOUT_S = 3.0
BYTES_MAX = 400


async def look(wanted: Wanted, pace: Pace) -> AsyncIterator[Found]:
    """`at` is the block (DB1 where it is empty), `first` and `count` its bytes. Raises ProbeFailed."""
    block = (wanted.at or "DB1").upper()
    if not block.startswith("DB") or not block[2:].isdigit() or not 0 < wanted.count <= BYTES_MAX or wanted.first < 0:
        raise ProbeFailed(f"--at is a data block like DB1, and --count 1 to {BYTES_MAX}")
    places = [Place("DB", int(block[2:]), at, -1, "uint8") for at in range(wanted.first, wanted.first + wanted.count)]
    try:
        link = await S7Link.open(endpoint(wanted.url), places, timeout_s=TIMEOUT_S, max_gap=0)
    except (ItemLinkLost, ValueError) as error:
        raise ProbeFailed(str(error)) from error
    try:
        await pace.turn()
        facts = await link.facts()
        yield Found(note="the device says: " + (", ".join(f"{key} {word}" for key, word in facts.items()) or "nothing"))
        await pace.turn()
        answers = await link.read_whole()
    except ItemLinkLost as lost:
        raise ProbeFailed(str(lost)) from lost
    finally:
        link.close()
    if any(math.isnan(answer.value) for answer in answers):
        raise ProbeFailed(f"{block}: {answers[0].reason}")
    data = bytes(int(answer.value) for answer in answers)
    yield Found(columns=["byte", "hex", "bits", "INT", "DINT", "REAL"])
    for at, byte in enumerate(data):
        words = [
            number(struct.unpack_from(form, data, at)[0]) if at + size <= len(data) else ""
            for form, size in ((">h", 2), (">i", 4), (">f", 4))
        ]
        yield Found(row=[f"{block} {wanted.first + at}", f"{byte:02x}", f"{byte:08b}", *words])

"""Registers of a Modbus device, raw and as every type in every order: the one that makes sense is the tag's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import numpy as np

from nodeagent.frame import Floats
from nodeagent.sources.modbus_link import DeviceRefused, LinkLost, ModbusLink
from nodeagent.sources.probe import Found, Pace, ProbeFailed, Wanted, number
from nodeagent.sources.registers import ORDERS, TYPES, Address, Block, Decoder, Item

TIMEOUT_S = 2.0
BLOCK = 16
COLUMNS = ["register", "hex", "uint16", "int16"]


async def look(wanted: Wanted, pace: Pace) -> AsyncIterator[Found]:
    """Who the device is, its registers, then 32 bits in 4 orders and 64 bits in 8. Raises ProbeFailed."""
    if not (0 <= wanted.first <= 65_535 and 1 <= wanted.count <= 65_536 - wanted.first):
        raise ProbeFailed("registers are 0 to 65535")
    try:
        link = await ModbusLink.open(wanted.url, unit_id=wanted.unit_id, timeout_s=TIMEOUT_S)
    except (LinkLost, ValueError) as error:
        raise ProbeFailed(str(error)) from error
    try:
        await pace.turn()
        try:
            told = await link.identification()
        except LinkLost:  # many devices close the connection on a function that they do not know: that is no news
            told = {}
            link.close()
            await pace.turn()
            link = await ModbusLink.open(wanted.url, unit_id=wanted.unit_id, timeout_s=TIMEOUT_S)
        yield Found(note="the device says: " + (", ".join(f"{key} {word}" for key, word in told.items()) or "nothing"))
        words: dict[int, int] = {}
        for start in range(wanted.first, wanted.first + wanted.count, BLOCK):
            await pace.turn()
            length = min(BLOCK, wanted.first + wanted.count - start)
            try:
                answer = await link.read(Block(wanted.table, start, length, ()))
                words.update({start + at: int(word) for at, word in enumerate(answer)})
            except DeviceRefused as refused:
                yield Found(note=f"{wanted.table}:{start} to {start + length - 1}: {refused}")
        for found in _tables(wanted, words):
            yield found
    except LinkLost as lost:
        raise ProbeFailed(str(lost)) from lost
    finally:
        link.close()


def _tables(wanted: Wanted, words: dict[int, int]) -> list[Found]:
    if wanted.table in ("coil", "discrete"):
        rows = [Found(row=[f"{wanted.table}:{at}", str(int(bool(word)))]) for at, word in words.items()]
        return [Found(columns=["bit", "value"]), *rows]
    found = [Found(columns=COLUMNS)]
    for at, word in words.items():
        signed = word - 65_536 if word > 32_767 else word
        found.append(Found(row=[f"{wanted.table}:{at}", f"{word:04x}", str(word), str(signed)]))
    for length, types in ((2, ("float32", "int32")), (4, ("float64", "int64"))):
        for kind in types:
            found.append(Found(columns=[f"{kind} at", "hex", *ORDERS[length]]))
            found += [row for at in words if (row := _row(wanted.table, at, kind, length, words)) is not None]
    return found


def _row(table: str, at: int, kind: str, length: int, words: dict[int, int]) -> Found | None:
    """One place as `kind` in every order; none where a word of it was not read, or all are 0."""
    raw = [words.get(at + offset) for offset in range(length)]
    known = [word for word in raw if word is not None]
    if len(known) != length or not any(known):
        return None
    values = [number(read(known, kind, order)) for order in ORDERS[length]]
    return Found(row=[f"{table}:{at}", "".join(f"{word:04x}" for word in known), *values])


def read(words: Sequence[int], kind: str, order: str) -> float | int:
    """`words` as a value of `kind` in `order`; integers in full."""
    item = Item("", Address("holding", 0), kind, order)
    if TYPES[kind][0][1] == "f":
        with np.errstate(invalid="ignore"):
            values: Floats = Decoder([item], Block("holding", 0, len(words), (0,))).decode(words)
        return float(values[0])
    wire = b"".join(word.to_bytes(2, "big") for word in words)
    most_first = bytes(wire[order.index(letter)] for letter in sorted(order))
    return int.from_bytes(most_first, "big", signed=not kind.startswith("u"))

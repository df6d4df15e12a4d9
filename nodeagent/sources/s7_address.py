"""Addresses of a Siemens S7 controller, and which requests read all of them: DB1.DBD4, DB1.DBX0.3, MW10, I0.1, QB2."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

_ADDRESS: Final = re.compile(
    r"(?:DB(?P<db>\d{1,5})\.DB(?P<dbsize>[XBWD])|(?P<area>[MIQ])(?P<size>[XBWD])?)(?P<byte>\d{1,5})(?:\.(?P<bit>[0-7]))?"
)
TYPES: Final = {
    "int8": ">b",
    "uint8": ">B",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "float32": ">f",
    "float64": ">d",
}
_USUAL: Final = {"X": "bool", "B": "uint8", "W": "int16", "D": "float32"}
BLOCK_BYTES_MAX: Final = 400  # a PDU of 480 bytes, the least that the controllers in use agree to, less its header


class Place(NamedTuple):
    """Where a value lies. `area`: DB, M, I or Q; `bit` -1 where it is no bit."""

    area: str
    db: int
    byte: int
    bit: int
    type: str

    @property
    def length(self) -> int:
        """Bytes."""
        return 1 if self.type == "bool" else struct.calcsize(TYPES[self.type])


class Block(NamedTuple):
    """One request: `length` bytes from `byte`, holding the items at `items`."""

    area: str
    db: int
    byte: int
    length: int
    items: tuple[int, ...]


def place(text: str, kind: str = "") -> Place:
    """Reads an address; `kind` one of TYPES or bool, "" the usual one of its size. Raises ValueError."""
    match = _ADDRESS.fullmatch(text.upper())
    if match is None:
        raise ValueError(f"{text!r} is not an address like DB1.DBD4, DB1.DBX0.3, MW10, I0.1 or QB2")
    size = match["dbsize"] or match["size"] or "X"
    if (size == "X") != (match["bit"] is not None):
        raise ValueError(f"{text!r}: a bit is written DB1.DBX0.3 or M0.3, and only a bit is")
    kind = kind or _USUAL[size]
    if (kind == "bool") != (size == "X") or (kind != "bool" and kind not in TYPES):
        known = "bool" if size == "X" else ", ".join(TYPES)
        raise ValueError(f"the type of {text} is {known}, and not {kind!r}")
    bit = -1 if match["bit"] is None else int(match["bit"])
    return Place("DB" if match["db"] else match["area"], int(match["db"] or 0), int(match["byte"]), bit, kind)


def plan(places: Sequence[Place], max_gap: int) -> list[Block]:
    """As few requests as read all places, none longer than a PDU holds, no more than `max_gap` bytes read in vain."""
    blocks: list[Block] = []
    for at in sorted(range(len(places)), key=lambda at: places[at]):
        each = places[at]
        last = blocks[-1] if blocks else None
        if last is not None and (last.area, last.db) == (each.area, each.db):
            end = last.byte + last.length
            length = max(end, each.byte + each.length) - last.byte
            if each.byte - end <= max_gap and length <= BLOCK_BYTES_MAX:
                blocks[-1] = Block(last.area, last.db, last.byte, length, (*last.items, at))
                continue
        blocks.append(Block(each.area, each.db, each.byte, each.length, (at,)))
    return blocks


def decode(each: Place, block: Block, data: bytes) -> float:
    """The value of a place out of the bytes of its block."""
    start = each.byte - block.byte
    if each.type == "bool":
        return float(data[start] >> each.bit & 1)
    return float(struct.unpack_from(TYPES[each.type], data, start)[0])

"""Modbus addresses: where a tag lies, which requests read all tags with few round trips, what the bytes mean.

Word orders are written as letters, A the most significant byte of the value, in the order of the bytes on the wire:
"CDAB" sends the low word first. An order given for a value of another size is stretched or shortened by what it says
of words and bytes. 64-bit integers beyond 2**53 lose their last digits, since every value is a float64 here.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nodeagent.frame import Floats

REGISTERS_MAX: Final = 125  # Modbus application protocol 1.1b3, 6.3
BITS_MAX: Final = 2000  # 6.1
TYPES: Final[Mapping[str, tuple[str, int]]] = {
    "int16": (">i2", 1),
    "uint16": (">u2", 1),
    "int32": (">i4", 2),
    "uint32": (">u4", 2),
    "float32": (">f4", 2),
    "int64": (">i8", 4),
    "uint64": (">u8", 4),
    "float64": (">f8", 4),
}
ORDERS: Final[Mapping[int, tuple[str, ...]]] = {
    1: ("AB", "BA"),
    2: ("ABCD", "CDAB", "BADC", "DCBA"),
    4: (
        "ABCDEFGH",
        "GHEFCDAB",
        "BADCFEHG",
        "HGFEDCBA",
        "CDABGHEF",
        "EFGHABCD",
        "DCBAHGFE",
        "FEHGBADC",
    ),
}
_ADDRESS: Final = re.compile(r"(holding|input|coil|discrete):(\d{1,5})(?:\.(\d{1,2}))?")


@dataclasses.dataclass(frozen=True, order=True)
class Address:
    """A place in one of the four tables, from 0. `bit`: one bit of a register, 0 the lowest."""

    table: str
    number: int
    bit: int | None = None

    @property
    def is_bit_table(self) -> bool:
        """Whether the table holds bits and not registers."""
        return self.table in ("coil", "discrete")


def address(text: str) -> Address:
    """`holding:8`, `input:0`, `coil:3`, `discrete:4`, `holding:5.3`. Raises ValueError."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an address like holding:8, input:0, coil:3, discrete:4 or holding:5.3")
    bit = None if match[3] is None else int(match[3])
    found = Address(match[1], int(match[2]), bit)
    if found.number > 65_535 or (bit is not None and (bit > 15 or found.is_bit_table)):
        raise ValueError(f"there is no {text}")
    return found


def order_for(order: str, words: int) -> str:
    """The order of a value of `words` registers that `order` says. Raises ValueError for an order that there is not."""
    if order in ORDERS[words]:
        return order
    if order not in ORDERS[2] and order not in ORDERS[1]:
        known = (*ORDERS[1], *ORDERS[2], *ORDERS[4])
        raise ValueError(f"there is no order {order!r} of {2 * words} bytes; there are {', '.join(known)}")
    low_word_first = order in ("CDAB", "DCBA")
    swapped = order in ("BA", "BADC", "DCBA")
    pairs = [("ABCDEFGH"[2 * word : 2 * word + 2])[:: -1 if swapped else 1] for word in range(words)]
    return "".join(reversed(pairs) if low_word_first else pairs)


@dataclasses.dataclass(frozen=True)
class Item:
    """One tag to read: `type` is one of TYPES or bool. `unit_id`: of another device on the same line."""

    name: str
    address: Address
    type: str
    order: str
    scale: float = 1.0
    offset: float = 0.0
    unit_id: int | None = None

    @property
    def length(self) -> int:
        """How many registers or bits it takes."""
        return 1 if self.type == "bool" else TYPES[self.type][1]


@dataclasses.dataclass(frozen=True)
class Block:
    """One request: `count` registers or bits of `table` from `start`, which hold the items at `items`."""

    table: str
    start: int
    count: int
    items: tuple[int, ...]
    unit_id: int | None = None


def plan(items: Sequence[Item], *, max_gap: int, block_max: int, without: Iterable[int] = ()) -> list[Block]:
    """As few requests as read all items: nothing longer than the protocol lets, no more than `max_gap` read in vain.

    `without`: indices of items to leave out. Every other item lies whole in exactly one block.
    """
    left_out = set(without)
    wanted = sorted((at for at in range(len(items)) if at not in left_out), key=lambda at: items[at].address.number)
    units = sorted({items[at].unit_id for at in wanted}, key=lambda unit: -1 if unit is None else unit)
    blocks: list[Block] = []
    for unit_id in units:
        for table in ("holding", "input", "coil", "discrete"):
            mine = [at for at in wanted if items[at].address.table == table and items[at].unit_id == unit_id]
            longest = min(block_max, BITS_MAX if table in ("coil", "discrete") else REGISTERS_MAX)
            blocks += [
                Block(table, begin, end - begin, tuple(inside), unit_id)
                for begin, end, inside in _runs(items, mine, max_gap, longest)
            ]
    return blocks


def _runs(
    items: Sequence[Item], wanted: Sequence[int], max_gap: int, longest: int
) -> Iterator[tuple[int, int, list[int]]]:
    """Begin, end and items of each request over `wanted`, which are of one table and ordered by number."""
    begin = end = 0
    inside: list[int] = []
    for at in wanted:
        first, last = items[at].address.number, items[at].address.number + items[at].length
        if inside and (first - end > max_gap or max(last, end) - begin > longest):
            yield begin, end, inside
            inside = []
        if not inside:
            begin, end = first, last
        end = max(end, last)
        inside.append(at)
    if inside:
        yield begin, end, inside


class Decoder:
    """Turns the answers of one block into values, all of one type at once. `places`: of its items among all."""

    def __init__(self, items: Sequence[Item], block: Block) -> None:
        self._block = block
        places = np.arange(len(block.items))
        kinds: dict[str, list[int]] = {}
        for place in places.tolist():
            kinds.setdefault(items[block.items[place]].type, []).append(place)
        self._gathers = [
            (np.array(at), kind, self._indices([items[block.items[place]] for place in at]))
            for kind, at in kinds.items()
        ]
        self.places = np.array(block.items, np.intp)
        self._scale = np.array([items[at].scale for at in block.items])
        self._offset = np.array([items[at].offset for at in block.items])
        self._is_scaled = bool((self._scale != 1.0).any() or self._offset.any())

    def decode(self, answer: npt.ArrayLike) -> Floats:
        """The values in the order of the block's items; `answer` is registers, or bits of a bit table."""
        values = np.empty(len(self._block.items))
        if self._block.table in ("coil", "discrete"):
            bits = np.asarray(answer, np.float64)
            for at, _, indices in self._gathers:
                values[at] = bits[indices[:, 0]]
        else:
            registers = np.asarray(answer, ">u2")
            wire = registers.view(np.uint8)
            for at, kind, indices in self._gathers:
                if kind == "bool":
                    values[at] = registers[indices[:, 0]].astype(np.int64) >> indices[:, 1] & 1
                else:
                    values[at] = wire[indices].view(TYPES[kind][0])[:, 0]
        return np.asarray(values * self._scale + self._offset, np.float64) if self._is_scaled else values

    def _indices(self, items: Sequence[Item]) -> npt.NDArray[Any]:
        """For each item where its bytes lie in the answer, most significant first; for bits: place and bit."""
        rows = []
        for item in items:
            place = item.address.number - self._block.start
            if item.type == "bool":
                rows.append([place, item.address.bit or 0])
            else:
                order = order_for(item.order, item.length)
                letters = sorted(order)
                rows.append([2 * place + order.index(letter) for letter in letters])
        return np.array(rows, np.intp)


def encode(item: Item, value: float) -> list[int]:
    """The registers (or the one bit of a coil) that make `item` read `value`.

    Raises ValueError for a value that its type does not hold, and for a bit inside a register, which cannot be
    written without changing its neighbours.
    """
    raw = (value - item.offset) / item.scale
    if item.type == "bool":
        if not item.address.is_bit_table:
            raise ValueError(f"a bit of {item.address.table}:{item.address.number} is not written alone")
        return [int(bool(raw))]
    dtype = np.dtype(TYPES[item.type][0])
    if dtype.kind in "iu":
        raw = round(raw)
        limits = np.iinfo(dtype)
        if not limits.min <= raw <= limits.max:
            raise ValueError(f"{item.type} does not hold {raw}")
    most_first = np.array([raw], dtype).tobytes()
    order = order_for(item.order, item.length)
    letters = sorted(order)
    wire = bytes(most_first[letters.index(letter)] for letter in order)
    return [int(word) for word in np.frombuffer(wire, ">u2")]

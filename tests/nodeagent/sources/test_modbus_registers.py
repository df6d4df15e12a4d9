"""Modbus addresses, request planning and byte orders."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodeagent.pipeline.options import convert
from nodeagent.sources.modbus import ModbusOptions
from nodeagent.sources.registers import (
    ORDERS,
    TYPES,
    Address,
    Block,
    Decoder,
    Item,
    address,
    encode,
    order_for,
    plan,
)

LETTERS = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "int64": "q",
    "uint64": "Q",
    "float64": "d",
}
ALL_ORDERS = [(kind, order) for kind, (_, words) in TYPES.items() for order in ORDERS[words]]


def item(number: int, kind: str = "float32", order: str = "", table: str = "holding", **more: Any) -> Item:
    words = 1 if kind == "bool" else TYPES[kind][1]
    return Item(
        f"t{number}", Address(table, number), kind, order or ("" if kind == "bool" else ORDERS[words][0]), **more
    )


@pytest.mark.parametrize(("kind", "order"), ALL_ORDERS)
def test_every_type_in_every_order_is_read_as_it_was_sent(kind: str, order: str) -> None:
    value = {"float32": -52.8125, "float64": 3.14159}.get(kind, 0x1234 if "16" in kind else 0x12345678)
    most_first = struct.pack(f">{LETTERS[kind]}", value)
    wire = bytes(most_first["ABCDEFGH".index(letter)] for letter in order)
    words = list(struct.unpack(f">{len(wire) // 2}H", wire))
    only = item(0, kind, order)
    assert Decoder([only], Block("holding", 0, only.length, (0,))).decode(words).tolist() == [value]
    assert encode(only, value) == words


def test_libmodbus_set_float_abcd_sends_badc() -> None:
    # 52.8 written by libmodbus 3.1.6 as "abcd" arrives as the bytes 53 42 13 5d, which say 52.84.
    words = [0x5342, 0x135D]
    only = item(0, "float32", "BADC")
    assert Decoder([only], Block("holding", 0, 2, (0,))).decode(words)[0] == pytest.approx(52.84, abs=0.001)


@pytest.mark.parametrize(
    ("order", "words", "expected"),
    [
        ("ABCD", 1, "AB"),
        ("BADC", 1, "BA"),
        ("CDAB", 4, "GHEFCDAB"),
        ("DCBA", 4, "HGFEDCBA"),
        ("BA", 2, "BADC"),
        ("CDABGHEF", 4, "CDABGHEF"),
    ],
)
def test_one_order_for_a_device_fits_values_of_every_size(order: str, words: int, expected: str) -> None:
    assert order_for(order, words) == expected


def test_an_order_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no order 'ACBD'"):
        order_for("ACBD", 2)


@pytest.mark.parametrize(
    "text", ["holding", "holding:-1", "holding:65536", "coil:1.2", "holding:1.16", "4:1", "Holding:1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an address|there is no"):
        address(text)


def test_a_bit_of_a_register_is_read_from_the_right_end() -> None:
    bits = [Item(f"b{bit}", Address("holding", 3, bit), "bool", "") for bit in (0, 7, 15)]
    block = Block("holding", 3, 1, (0, 1, 2))
    assert Decoder(bits, block).decode([0x8001]).tolist() == [1.0, 0.0, 1.0]


_items = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from([*TYPES, "bool"]),
        st.sampled_from(["holding", "input"]),
    ),
    min_size=1,
    max_size=30,
    unique=True,
).map(
    lambda rows: [
        item(number, kind, table=("coil" if table == "holding" else "discrete") if kind == "bool" else table)
        for number, kind, table in rows
    ]
)


@settings(max_examples=50, deadline=None)
@given(_items, st.integers(0, 20), st.integers(4, 124))
def test_every_item_lies_whole_in_one_request_that_the_protocol_allows(
    items: Any, max_gap: int, block_max: int
) -> None:
    blocks = plan(items, max_gap=max_gap, block_max=block_max)
    assert sorted(at for block in blocks for at in block.items) == list(range(len(items)))
    for block in blocks:
        assert 1 <= block.count <= block_max
        for at in block.items:
            assert items[at].address.table == block.table
            assert block.start <= items[at].address.number
            assert items[at].address.number + items[at].length <= block.start + block.count
        covered = {
            number
            for at in block.items
            for number in range(items[at].address.number, items[at].address.number + items[at].length)
        }
        gaps = [number for number in range(block.start, block.start + block.count) if number not in covered]
        longest = run = 0
        for before, number in zip([None, *gaps], gaps, strict=False):
            run = run + 1 if before is not None and number == before + 1 else 1
            longest = max(longest, run)
        assert longest <= max_gap


@settings(max_examples=50, deadline=None)
@given(_items)
def test_what_is_left_out_is_not_read(items: Any) -> None:
    blocks = plan(items, max_gap=8, block_max=124, without=[0])
    assert 0 not in [at for block in blocks for at in block.items]


def test_a_thousand_floats_in_a_row_are_seventeen_requests() -> None:
    assert len(plan([item(2 * at) for at in range(1000)], max_gap=8, block_max=124)) == 17


@pytest.mark.parametrize(("kind", "value"), [("uint16", -1), ("uint16", 65_536), ("int32", 2**31)])
def test_a_value_that_its_type_does_not_hold_is_not_written(kind: str, value: int) -> None:
    with pytest.raises(ValueError, match="does not hold"):
        encode(item(0, kind), value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"type": "float23"}, "not 'float23'"),
        ({"register": "coil:1"}, "bool"),
        ({"order": "ABDC"}, "no order"),
        ({"register": ""}, "no register"),
    ],
)
def test_a_tag_that_cannot_be_read_is_refused_by_its_name(change: dict[str, str], text: str) -> None:
    tag = {"name": "speed", "register": "holding:0", "type": "float32"} | change
    with pytest.raises(ValueError, match=f"'speed'.*{text}"):
        convert({"url": "tcp://10.0.0.5", "tags": [tag]}, ModbusOptions)

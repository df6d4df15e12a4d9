"""Sparkplug B as Eclipse Tahu's own JavaScript encoder (npm sparkplug-payload 1.0) writes it, read by ours."""

from __future__ import annotations

import pytest

from nodeagent.sources.sparkplug_edge import Change, Dead, Edge
from nodeagent.sources.sparkplug_payload import Undecodable, decode, rebirth

TAHU = {
    "NBIRTH": bytes.fromhex(
        "0880d095ffbc3112120a0562645365711880d095ffbc312004580712210a144e6f646520436f6e74726f6c2f52656269"
        "7274681880d095ffbc31200b700012190a07616d6269656e7410011880d095ffbc312009650000ac411800"
    ),
    "DBIRTH": bytes.fromhex(
        "0880d095ffbc31121b0a05706f77657210021880d095ffbc31200a69000000000000f43f12180a05636f756e74100318"
        "80d095ffbc31200350fbffffff0f12160a0772756e6e696e6710041880d095ffbc31200b700112180a05737461746510"
        "051880d095ffbc31200c7a0469646c65121b0a05746f74616c10061880d095ffbc31200858ffffffffffffff0f12180a"
        "05736d616c6c10071880d095ffbc31200150fdffffff0f1801"
    ),
    "DDATA": bytes.fromhex(
        "08e8d795ffbc311214100218e8d795ffbc31200a690000000000000440120d100318e8d795ffbc31200338011802"
    ),
    "QUALITY": bytes.fromhex(
        "08d0df95ffbc311226100218d0df95ffbc31200a4a100a075175616c6974791205080318f403690000000000000c4012"
        "1e100318d0df95ffbc3120034a0f0a075175616c69747912040803180050091803"
    ),
    "HISTORY": bytes.fromhex("08b8e795ffbc31121b0a05706f7765721880d095ffbc31200a2801690000000000c058401804"),
    "GAP": bytes.fromhex("08a0ef95ffbc311214100218a0ef95ffbc31200a6900000000000012401809"),
    "NDEATH": bytes.fromhex("0888f795ffbc3112120a0562645365711880d095ffbc3120045807"),
    "NDEATH_OLD": bytes.fromhex("0888f795ffbc3112120a0562645365711880d095ffbc3120045806"),
}


def edge(*born: str) -> Edge:
    alive = Edge()
    for kind in born:
        alive.take(kind, "" if kind == "NBIRTH" else "pump", decode(TAHU[kind]))
    return alive


def samples(changes: list[Change | Dead]) -> dict[str, object]:
    return {change.name: change.metric.value for change in changes if isinstance(change, Change)}


def test_a_birth_carries_every_scalar_with_its_sign() -> None:
    changes = edge("NBIRTH").take("DBIRTH", "pump", decode(TAHU["DBIRTH"]))
    assert samples(changes) == {
        "power": 1.25,
        "count": -5.0,
        "running": 1.0,
        "state": "idle",
        "total": 2.0**53 - 1,
        "small": -3.0,
    }


def test_data_by_alias_finds_its_name_and_null_is_no_value() -> None:
    assert samples(edge("NBIRTH", "DBIRTH").take("DDATA", "pump", decode(TAHU["DDATA"]))) == {
        "power": 2.5,
        "count": None,
    }


def test_data_before_the_birth_asks_for_it() -> None:
    unborn = edge("NBIRTH")
    assert not unborn.wants_birth
    assert samples(unborn.take("DDATA", "pump", decode(TAHU["DDATA"]))) == {}
    assert unborn.wants_birth


def test_a_gap_in_the_sequence_asks_for_a_birth_and_keeps_the_values() -> None:
    alive = edge("NBIRTH", "DBIRTH")
    assert samples(alive.take("DDATA", "pump", decode(TAHU["GAP"]))) == {"power": 4.5}
    assert alive.wants_birth


def test_the_quality_property_is_read() -> None:
    changes = edge("NBIRTH", "DBIRTH").take("DDATA", "pump", decode(TAHU["QUALITY"]))
    assert [change.metric.quality for change in changes if isinstance(change, Change)] == [500, 0]


def test_history_is_counted_and_is_no_live_value() -> None:
    alive = edge("NBIRTH", "DBIRTH")
    assert alive.take("DDATA", "pump", decode(TAHU["HISTORY"])) == []
    assert alive.historical_total == 1


def test_a_death_kills_all_unless_it_is_of_an_earlier_session() -> None:
    alive = edge("NBIRTH", "DBIRTH")
    assert alive.take("NDEATH", "", decode(TAHU["NDEATH_OLD"])) == []
    assert alive.take("NDEATH", "", decode(TAHU["NDEATH"])) == [Dead("", "the edge node is away (NDEATH)")]


@pytest.mark.parametrize("kind", TAHU)
def test_a_payload_cut_anywhere_is_refused_or_read_and_never_breaks_the_reader(kind: str) -> None:
    whole = TAHU[kind]
    for length in range(len(whole)):
        for data in (whole[:length], whole[:length] + b"\xff" + whole[length + 1 :]):
            try:
                decode(data)
            except Undecodable:
                continue


def test_the_command_for_a_birth_reads_back() -> None:
    (metric,) = decode(rebirth(1_700_000_000_000)).metrics
    assert (metric.name, metric.value) == ("Node Control/Rebirth", 1.0)

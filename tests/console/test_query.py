"""The filter grammar and the orders of the fleet."""

from __future__ import annotations

import pytest

from console.fleet.board import survey
from console.fleet.query import ORDERS, QueryError, order, parse
from console.sample.plant import NOW_S, WALL_S, plant

BOARD = survey(plant(), NOW_S, WALL_S)


def found(text: str) -> list[str]:
    query = parse(text)
    return sorted(name for name, state in BOARD.nodes.items() if query.matches(state))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("site:graz state:warn", ["pump-04"]),
        ("state:alarm", ["press-07"]),
        ("state:fault", ["cast-05", "dock-01", "press-07", "pump-04"]),
        ("model:casting", ["cast-01", "cast-02"]),
        ("press", ["press-01", "press-02", "press-07"]),
        ("press !state:alarm", ["press-01", "press-02"]),
        ("!site:graz !site:linz", ["mill-11", "mill-12", "mill-13"]),
        ("trial:yes", ["mill-11"]),
        ("version:2.2", ["mill-11"]),
        ("host key", ["dock-01"]),
        ("link:refused", ["dock-01"]),
    ],
)
def test_words_and_pairs_must_all_hold(text: str, names: list[str]) -> None:
    assert found(text) == names


def test_an_empty_filter_lets_everything_through() -> None:
    assert len(found("  ")) == len(BOARD.nodes)


def test_a_state_may_be_half_typed() -> None:
    assert found("state:w") == ["pump-04"]


@pytest.mark.parametrize(("text", "word"), [("sight:graz", "sight"), ("state:broken", "broken")])
def test_what_does_not_exist_is_said_with_what_does(text: str, word: str) -> None:
    with pytest.raises(QueryError, match=word):
        parse(text)


def test_a_model_that_is_not_known_now_does_not_match() -> None:
    assert "cast-05" not in found("bundle:casting")


@pytest.mark.parametrize("by", ORDERS)
def test_an_order_does_not_depend_on_how_the_nodes_came(by: str) -> None:
    states = list(BOARD.nodes.values())
    assert [s.view.name for s in order(states, by)] == [s.view.name for s in order(states[::-1], by)]


def test_the_worst_come_first() -> None:
    assert [s.view.name for s in order(BOARD.nodes.values())][:4] == ["press-07", "pump-04", "cast-05", "dock-01"]


@pytest.mark.parametrize("by", ["rate", "p95", "cpu", "disk"])
def test_what_is_not_known_is_last_in_both_directions(by: str) -> None:
    for reverse in (False, True):
        names = [s.view.name for s in order(BOARD.nodes.values(), by, reverse)]
        assert {"cast-05", "dock-01"} <= set(names[-3:])

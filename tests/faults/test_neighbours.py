"""Each kind of hostile model beside a good one: it costs itself. `make faults` measures what the neighbour waits."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import neighbours


@pytest.fixture(scope="module")
def pair() -> Iterator[neighbours.Pair]:
    with neighbours.a_pair(hang_s=3.0) as made:
        yield made


@pytest.mark.parametrize("kind", neighbours.HARMS)
def test_i8_a_hostile_model_harms_neither_the_agent_nor_its_neighbour(pair: neighbours.Pair, kind: str) -> None:
    found, wrong = neighbours.harmed(pair, kind)
    assert wrong == []
    assert found.done > 0


@pytest.mark.parametrize(
    ("make", "says"), [(neighbours.nested, "nested deeper"), (neighbours.external, "external data")]
)
def test_a_model_that_must_not_be_loaded_says_why_on_the_node(
    pair: neighbours.Pair, make: Callable[[Path], None], says: str
) -> None:
    assert says in pair.refuse(make)


def test_a_neighbour_that_dies_is_found(pair: neighbours.Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pair.pid_of("lathe")
    monkeypatch.setitem(neighbours.HARMS, "murder", ("loop", lambda one: os.kill(first, signal.SIGKILL)))
    with pytest.raises((OSError, AssertionError)):
        neighbours.harmed(pair, "murder")
    neighbours.NODE.eventually(lambda: pair.pid_of("lathe") != first, "the death is seen")
    neighbours.NODE.eventually(lambda: pair.state_of("lathe") == "serving", "the good one serves again")


@pytest.mark.parametrize(
    ("quiet", "beside", "says"),
    [
        ([1.0, 1.1, 1.2], [1.1, 1.2, 1.3], ""),
        ([1.0, 1.1, 1.2], [1.3, 1.4, 1.5], "more than 20% longer"),
        ([1.0, 3.0, 1.2], [1.0, 3.0, 1.2], "NOT MEASURED"),
    ],
)
def test_a_neighbour_that_waits_longer_is_told_and_so_is_a_machine_that_cannot_measure_it(
    quiet: list[float], beside: list[float], says: str
) -> None:
    told = neighbours.Turns("hang", quiet, beside, 1).judged()
    assert says in "".join(told)
    assert bool(told) == bool(says)

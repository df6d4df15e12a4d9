"""An upload over real SSH that is cut: what is on the wire. `make faults` sends 200 MB with 20 cuts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import cuts


@pytest.fixture
def lab() -> Iterator[Any]:
    with cuts.a_lab() as made:
        yield made


def test_a_cut_upload_becomes_whole_and_little_of_it_is_sent_again(lab: Any, make_agents: Any) -> None:
    found = cuts.run(lab, make_agents().start(), size=24 << 20, cuts=4)
    assert found.whole
    assert found.cuts == 4
    assert found.re_sent < 0.2  # Half a megabyte a cut, at loopback's speed; of 200 MB that is under 5 %.

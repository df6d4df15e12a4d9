"""Every named attack is refused for its own reason, and its unmutated twin is taken in the same run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import attacks
from tests.faults.attack_desk import Desks
from tests.faults.attacks import Attack


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> Desks:
    return Desks(tmp_path_factory.mktemp("desks"), workshop)


def test_i17_every_attack_is_refused_for_its_own_reason_and_its_twin_is_taken(desks: Desks) -> None:
    tried, wrong = attacks.run(desks)
    assert wrong == []
    assert tried >= 60
    assert len({attack.name for attack in attacks.ATTACKS}) == tried


def test_an_attack_that_passes_is_found(desks: Desks) -> None:
    harmless = Attack("nothing is changed", "TRUST.MIXED", lambda _: None, False)
    _, wrong = attacks.run(desks, [harmless])
    assert wrong == [
        "nothing is changed: STAGED, not TRUST.MIXED",
        "nothing is changed: ssh-keygen takes the signature",
    ]

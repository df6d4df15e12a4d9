"""Deployments on a real node: launcher, supervisor, intake and workers as on a plant."""

from __future__ import annotations

from typing import Any


def test_a_signed_bundle_is_staged_tried_confirmed_and_serves(agent: Any, workshop: Any) -> None:
    trial = agent.deploy(workshop.bundle(2), "d1")
    assert trial["state"] == "TRIAL"
    assert trial["revision"] == 1
    assert agent.answer() == 2.0
    done = agent.change("/deployments/d1/confirm")
    assert done["state"] == "COMMITTED"
    assert done["reachability"] == "claimed"
    assert agent.change("/deployments/d1/confirm") == done

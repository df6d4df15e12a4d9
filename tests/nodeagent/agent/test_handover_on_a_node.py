"""What a person takes over from the last shift, on a real node: a name in the ledger, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest


def test_what_is_taken_over_stands_in_the_ledger_under_the_persons_name(agent: Any) -> None:
    items = ["hold since 12", "trial dep-2", "hold since 12"]
    said = agent.post("/handover", {"items": items, "note": "bob told me"}, headers={"X-Outstation-Operator": "carol"})
    assert said["items"] == ["hold since 12", "trial dep-2"]
    assert said["by"].startswith("carol (claimed, ")
    entries = [e for e in agent.get("/ledger?limit=1000")["entries"] if e["action"] == "handover.take"]
    assert [(e["actor"], e["subject"], e["detail"]) for e in entries] == [
        (said["by"], item, {"note": "bob told me"}) for item in said["items"]
    ]
    for wrong in ([], [""], ["x" * 201], [str(n) for n in range(101)]):
        with pytest.raises(agent.refusal) as refused:
            agent.post("/handover", {"items": wrong})
        assert refused.value.code == "REQUEST.MALFORMED"

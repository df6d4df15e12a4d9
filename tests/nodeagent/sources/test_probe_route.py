"""The node's route to a probe: a real short-lived process looks, its answer is typed, its failure has words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nodeagent.api import Call
from nodeagent.handlers.probe import ProbeHandlers
from nodeagent.http.message import HttpError
from nodeagent.protocol import Probe, ProbeRequest


def ask(url: str, **options: Any) -> Probe:
    request: Any = None
    call = Call(request, {}, ProbeRequest(node_id="n", url=url, **options))
    return asyncio.run(ProbeHandlers().probe(call))


def test_what_a_probe_tells_arrives_in_order(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b\n1,2\n")
    rows = ask(f"file://{tmp_path}/log.csv", count=2).rows
    assert [(row.note, row.columns, row.row) for row in rows] == [
        ("8 bytes", [], []),
        ("", ["line"], []),
        ("", [], ["a,b"]),
        ("", [], ["1,2"]),
    ]


@pytest.mark.parametrize("url", ["--help", "file:///no/such/file"])
def test_a_probe_that_fails_says_why_and_no_address_is_an_option(url: str) -> None:
    with pytest.raises(HttpError) as refused:
        ask(url)
    assert refused.value.code == "SOURCE.PROBE_FAILED"
    assert "probe:" in str(refused.value)


def test_two_probes_at_a_time_are_one_too_many(tmp_path: Path) -> None:
    handlers = ProbeHandlers()
    request: Any = None
    call = Call(request, {}, ProbeRequest(node_id="n", url=f"file://{tmp_path}"))

    async def scenario() -> list[Any]:
        return await asyncio.gather(handlers.probe(call), handlers.probe(call), return_exceptions=True)

    first, second = asyncio.run(scenario())
    assert isinstance(first, Probe)
    assert isinstance(second, HttpError)
    assert second.code == "LIMIT.BUSY"

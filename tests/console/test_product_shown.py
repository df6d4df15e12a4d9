"""What a pipeline did under each product is seen on its node, and which one is at work now."""

from __future__ import annotations

import asyncio

import pytest

from console.sample.fleet import sample_seat
from console.screens.panes import PipelinePane


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_the_pipeline_tells_its_products_apart_and_the_one_at_work(size: tuple[int, int]) -> None:
    async def run() -> str:
        seat = sample_seat(None)
        async with seat.run_test(size=size) as pilot:
            await pilot.press("enter")
            await pilot.pause()
            await pilot.press("tab")
            await pilot.pause()
            (pane,) = seat.screen.query(PipelinePane)
            pane.at = next(at for at, key in enumerate(pane.keys) if "/context/" in key)
            assert pane.stage() is None, "a product is no stage that could be tapped"
            return seat.screen_text()

    lines = asyncio.run(run()).splitlines()
    at = next(at for at, line in enumerate(lines) if "product=A7 shift=2" in line)
    assert lines[at].split()[2] == "now"
    assert "product=B2 shift=2" in lines[at + 1]
    assert "now" not in lines[at + 1]
    assert "p95" in lines[at]

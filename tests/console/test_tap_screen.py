"""The tap of one stage: values, quality, reasons, and a picture that can be held still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from console.sample.fleet import sample_seat
from console.screens.tap import TapView
from nodeagent.protocol import Tap


def sweep(at: int, value: float | None) -> Tap:
    return Tap(
        stage="clean.clip", wall_us=at * 1_000_000, names=["vib", "temp"], values=[float(at), value],
        quality=[0, 2 if value is None else 0], reasons=[] if value is not None else ["temp: stale"],
    )  # fmt: skip


def test_a_stage_under_the_cursor_is_tapped_and_shows_value_quality_and_reason() -> None:
    async def run() -> str:
        seat = sample_seat()
        async with seat.run_test(size=(80, 24)) as pilot:
            seat.go("node", "press-07")
            await pilot.pause()
            await pilot.press("tab")
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause(0.6)
            return seat.screen_text()

    text = asyncio.run(run())
    assert "press-07: bearing, behind " in text
    assert "40 sweeps" in text
    assert "vibration" in text


def test_p_holds_the_picture_still_while_sweeps_go_on_and_a_bad_value_says_why() -> None:
    async def run() -> tuple[str, str, str]:
        seat = sample_seat()
        sweeps: asyncio.Queue[Tap] = asyncio.Queue()

        async def tap(node: str, bundle: str, stage: str) -> AsyncGenerator[Tap, None]:
            while True:
                yield await sweeps.get()

        async with seat.run_test(size=(80, 24)) as pilot:
            seat.operations.tap = tap  # type: ignore[method-assign]
            view = TapView(seat.look, "press-07", "bearing", "clean.clip")
            seat.push_screen(view)
            await pilot.pause()

            async def after(each: Tap) -> str:
                count = view.count
                sweeps.put_nowait(each)
                while view.count == count:
                    await pilot.pause()
                view._flush()
                return seat.screen_text()

            bad = await after(sweep(1, None))
            await pilot.press("p")
            held = await after(sweep(2, 61.5))
            await pilot.press("p")
            on = await after(sweep(3, 62.5))
            return bad, held, on

    bad, held, on = asyncio.run(run())
    assert "bad" in bad
    assert "temp: stale" in bad
    assert "paused" in held
    assert "2 sweeps" in held
    assert "61.5" not in held
    assert "62.5" in on
    assert "stale" not in on

"""The node's rules on its screen: what is looked at, since when it counts, where it is from, what it has raised."""

from __future__ import annotations

import asyncio

from console.sample.fleet import sample_seat
from console.sample.rules import sample_rules
from console.screens.node import RULES, NodePage
from console.screens.rulelines import rule_lines
from nodeagent.protocol import Alert, AlertRules, AlertState
from widgets.look import mono


def text(rules: AlertRules | None, *standing: Alert, plain: bool = False) -> str:
    lines = rule_lines(rules, standing, "press-07", 80, mono(ascii=plain))
    return "\n".join("".join(words for words, _ in line) for line in lines)


def alert(shelved_s: float | None) -> Alert:
    return Alert(
        id=3,
        code="HOST.TEMPERATURE",
        priority=2,
        state=AlertState.SHELVED if shelved_s else AlertState.RAISED,
        subject="processor",
        message="the processor has 79 °C",
        advice="",
        raised_us=0,
        shelved_by="alice" if shelved_s else "",
        shelved_s_left=shelved_s,
        note="fan is ordered" if shelved_s else "",
    )


def test_each_rule_says_its_limit_delays_and_origin() -> None:
    told = text(sample_rules())
    assert "3 rules in force, 1 set here" in told
    assert "the processor has over 75 °C, clears 4 °C within" in told
    assert "priority 2  operator    on 10 s  off 60 s" in told
    assert "bundle press" in told
    assert "switched off" in told


def test_what_stands_and_what_is_kept_quiet_is_said_at_its_rule() -> None:
    assert "stands now: the processor has 79 °C" in text(sample_rules(), alert(None))
    assert "shelved by alice for 59:00 more: fan is ordered" in text(sample_rules(), alert(3_540.0))


def test_an_older_agent_is_named_instead_of_an_empty_list() -> None:
    assert "older" in text(AlertRules(text="", defaults=""))
    assert "▲" in text(sample_rules(), alert(None))
    assert "▲" not in text(sample_rules(), alert(None), plain=True)


def test_the_key_opens_the_rules_of_the_node_under_the_cursor() -> None:
    async def run() -> None:
        seat = sample_seat()
        async with seat.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            await pilot.press("A")
            await pilot.pause(0.3)
            page = seat.screen
            assert isinstance(page, NodePage)
            assert page.tab == RULES
            assert "rules in force" in seat.screen_text()

    asyncio.run(run())

"""`outstation report`: what is known is told, what is not is said, and hostile words stay words in every form."""

from __future__ import annotations

import asyncio
import json
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from console.__main__ import main
from console.home import Home, row_of
from console.sample.trend import sample_trend
from console.shift.markdown import markdown
from console.shift.page import page
from console.shift.report import NodeShift, Seen, ShiftReport, gaps, node_shift
from nodeagent.protocol import Alert, AlertState, ClockReading, LedgerEntry, LedgerPage, Record, RecordsPage, Trend
from store.ledger import GENESIS, Entry, entry_hash

LAST_S = 1_764_000_000.0
FIRST_S = LAST_S - 8 * 3_600
EVIL = "<img src=x onerror=alert(1)>\"'&amp;| `x` [a](javascript:1) \x1b]0;t\x07 </table><script>"


def chained(first_s: float) -> list[Entry]:
    facts: list[tuple[float, str, str, str, dict[str, Any]]] = [
        (
            -900,
            "bob",
            "deployment.receive",
            "dep-1",
            {"version": "2.1", "digest": "sha256:" + "a" * 64, "signer": "rel"},
        ),
        (-800, "bob", "deployment.trial", "dep-1", {"bundle": "bearing", "revision": 14, "previous_revision": None}),
        (-700, "bob", "deployment.committed", "dep-1", {"bundle": "bearing"}),
        (600, EVIL, "hold.set", "node", {"reason": EVIL, "change_number": "CHG-17"}),
        (700, "agent", "alert.raise", "plc", {"code": "SOURCE.SILENT"}),
    ]
    entries: list[Entry] = []
    for seq, (at_s, actor, action, subject, detail) in enumerate(facts, 1):
        wall_us = round((first_s + at_s) * 1e6)
        previous = entries[-1].hash if entries else GENESIS
        one = Entry(seq, "b", seq, wall_us, actor, action, subject, detail, previous, "")
        entries.append(one._replace(hash=entry_hash(one)))
    return entries


def alert(first_s: float) -> Alert:
    return Alert(
        id=1, code="SOURCE.SILENT", priority=2, state=AlertState.CLEARED, subject="plc", message=EVIL, advice="",
        raised_us=round((first_s - 600) * 1e6), cleared_us=round((first_s + 300) * 1e6), acknowledged_by="bob",
    )  # fmt: skip


def record(key: int, decision: str, at_s: float) -> Record:
    return Record(
        key=key, bundle="bearing", revision=14, wall_us=round(at_s * 1e6), source_us=None, latency_us=900, score=0.1,
        label="", decision=decision, quality=0, reason="",
    )  # fmt: skip


def shift(agent: Any, **more: Any) -> ShiftReport:
    records = [record(n, EVIL if n == 3 else "normal", LAST_S - n) for n in range(4)]
    told: dict[str, Any] = {
        "status": agent.status(), "offset_s": 0.0, "entries": chained(FIRST_S), "ledger": "verified, 5 entries",
        "alerts": [alert(FIRST_S)], "alerts_all": True,
        "trends": {"bearing": sample_trend("bearing", wall_s=LAST_S, hours=8, points_max=480)},
        "records": {"bearing": records}, "records_all": {"bearing": True}, "unknown": [EVIL],
    }  # fmt: skip
    node = node_shift("press-07", "graz", Seen(**{**told, **more}), FIRST_S, LAST_S)
    lost = NodeShift(node="far-1", site="", reached=False, unknown=[EVIL])
    return ShiftReport(first_s=FIRST_S, last_s=LAST_S, by="alice", nodes=[node, lost])


def test_a_shift_is_what_ran_what_changed_what_alarmed_and_how_the_models_did(tiny_agent: Any) -> None:
    node = shift(tiny_agent()).nodes[0]
    assert [(one.bundle, one.version, one.revision, one.state) for one in node.ran] == [
        ("bearing", "2.1", 14, "COMMITTED")
    ]
    (change,) = node.changes
    assert (change.what, change.number) == ("hold.set", "CHG-17")
    (span,) = node.alerts
    assert span.stood_s == pytest.approx(300)
    (bundle,) = node.bundles
    assert bundle.predictions is not None
    assert bundle.predictions == pytest.approx(412 * 8 * 3_600 * 0.93, rel=0.02)
    assert (bundle.decided_of, bundle.decisions["normal"]) == (4, 3)
    (gap,) = bundle.gaps
    assert gap[1] - gap[0] == pytest.approx(0.07 * 8 * 3_600, rel=0.05)


def test_a_node_without_a_trend_is_unknown_for_the_whole_shift(tiny_agent: Any) -> None:
    node = shift(tiny_agent(), trends={}, records={}).nodes[0]
    assert (node.bundles[0].predictions, node.bundles[0].unknown_s) == (None, 8 * 3_600)
    assert gaps(Trend(bundle="b", step_s=60.0, points=[]), 0.0, 100.0, 0.0) == []
    text = page(shift(tiny_agent(), trends={}, records={}))
    assert "<svg" not in text
    assert "not known:</b> from" in text


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_holds_only_its_own_tags_and_loads_nothing(tiny_agent: Any) -> None:
    text = page(shift(tiny_agent()))
    tags = Tags()
    tags.feed(text)
    assert not tags.found & {"img", "script", "link", "a", "iframe", "object"}
    assert not tags.attributes & {"onerror", "src", "href"}
    assert "\x1b" not in text
    for picture in re.findall(r"<svg.*?</svg>", text, re.S):
        ElementTree.fromstring(picture)
    assert text.count("<svg") == 5
    assert "NOT REACHED" in text


def test_markdown_has_a_line_of_braille_a_figure_and_no_markup_of_a_nodes_own(tiny_agent: Any) -> None:
    text = markdown(shift(tiny_agent()))
    assert re.search(r"- latency p95: `[\u2800-\u28ff ]+` ", text)
    assert not re.search(r"(?<!\\)\[a\]", text)
    assert "<img" not in text
    assert "\x1b" not in text
    assert len({line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| far")}) == 1
    assert "**Not reached: nothing is known of it.**" in text


def test_the_verb_writes_the_form_that_the_name_ends_in_and_says_who_was_not_reached(
    in_plant: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def body(plant: Any) -> None:
        now_s = time.time()
        home = Home(tmp_path / "home")
        for name in ("press-07", "gone-1"):
            address = await plant.node(name)
            key = (plant.folder / f"{name}.key.pub").read_text().split()
            with home.open_catalog() as catalog:
                catalog.put_node(row_of(address))
            with home.known_hosts.open("a") as file:
                file.write(f"[{address.host}]:{address.port} {key[0]} {key[1]}\n")
        agent = plant.agents["press-07"]
        entries = chained(now_s - 3_600)

        def ledger(query: str, body: bytes) -> LedgerPage:
            after = int(query.partition("after=")[2].partition("&")[0])
            new = [LedgerEntry(**entry._asdict()) for entry in entries if entry.seq > after]
            return LedgerPage(entries=new, head_seq=entries[-1].seq, head_hash=entries[-1].hash)

        agent.handle["GET", "/ledger"] = ledger
        agent.handle["GET", "/clock"] = lambda q, b: ClockReading(
            boot_id="b", boottime_us=1, wall_us=round(time.time() * 1e6)
        )
        agent.handle["GET", "/alerts"] = lambda q, b: [alert(now_s - 3_600)]
        agent.handle["GET", "/trend"] = lambda q, b: sample_trend("bearing", wall_s=now_s, hours=1, points_max=60)
        agent.handle["GET", "/records"] = lambda q, b: RecordsPage(records=[record(1, "normal", now_s - 5)])
        await plant.servers["gone-1"].unplug()

        async def run(*words: str) -> tuple[int, str, str]:
            capsys.readouterr()
            code = await asyncio.to_thread(main, ["--home", str(home.path), "--operator", "alice", "report", *words])
            told = capsys.readouterr()
            return code, told.out, told.err

        code, out, _ = await run("--since", "1h", "-o", str(tmp_path / "s.html"))
        assert (code, "NOT REACHED: gone-1" in out) == (3, True)
        assert (tmp_path / "s.html").read_text().startswith("<!doctype html>")
        code, out, _ = await run("press-07", "--since", "1h")
        assert (code, out.startswith("# Shift report")) == (0, True)
        assert "CHG" in out
        code, out, _ = await run("press-07", "--since", "1h", "--json")
        assert json.loads(out)["nodes"][0]["bundles"][0]["decisions"] == {"normal": 1}
        assert (await run("--since", "40d"))[0] == 2

    in_plant(body)


def test_a_time_that_no_calendar_holds_does_not_end_the_report(tiny_agent: Any) -> None:
    late = msgspec.structs.replace(alert(FIRST_S), raised_us=10**18, cleared_us=None)
    assert "| ? | STANDS |" in markdown(shift(tiny_agent(), alerts=[late]))


def test_the_report_can_be_read_by_a_program(tiny_agent: Any) -> None:
    found = shift(tiny_agent())
    assert msgspec.json.decode(msgspec.json.encode(found), type=ShiftReport) == found
